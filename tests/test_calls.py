"""What stands between Python and the ops: Size, numbers read from lists, calls of modules, lists of parameters."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import _core, nn


def test_size_is_a_tuple():
    size = tg.zeros(2, 3, 4).shape
    assert type(size) is tg.Size and size == (2, 3, 4) and hash(size) == hash((2, 3, 4))
    assert size[0] == 2 and size[-1] == 4 and list(size) == [2, 3, 4] and size.index(3) == 1
    assert type(size[1:]) is tg.Size and size[::-1] == (4, 3, 2)
    more = (5,)
    assert type(size + more) is tg.Size and size + list(more) == (2, 3, 4, 5) and more + size == (5, 2, 3, 4)
    assert size.numel() == 24 and tg.Size().numel() == 1 and tg.Size([2, 0]).numel() == 0
    assert repr(size) == "tapegrad.Size([2, 3, 4])" and repr(tg.zeros(()).shape) == "tapegrad.Size([])"
    assert pickle.loads(pickle.dumps(size)) == size and type(copy.deepcopy(size)) is tg.Size
    with pytest.raises(IndexError):
        size[3]
    with pytest.raises(TypeError):
        size["a"]
    with pytest.raises(TypeError):
        size + 1
    with pytest.raises(TypeError):
        tg.Size(["a"]).numel()


LISTS = [
    1.5,
    7,
    True,
    [1, 2, 3],
    [True, False],
    (1.0, 2),
    [[1, 2.5], [True, -3]],
    [[True, 2], [3, 4]],
    [[[1.0], [2.0]], [[3.0], [4.0]]],
    [2**62, -(2**63)],
    [2**53 + 1, 0.5],
    [float("nan"), float("inf"), 1e300],
    [[]],
    [[1.0], []][:1],
    [np.float32(1.5), 2.0],
    [[[[[[[[[[1.0]]]]]]]]]],
]


@pytest.mark.parametrize("data", LISTS, ids=repr)
@pytest.mark.parametrize("dtype", [None, tg.float32, tg.float64])
def test_numbers_in_lists_are_read_as_numpy_reads_them(data, dtype):
    with np.errstate(over="ignore"):
        expected = np.array(data)
        if dtype or expected.dtype.kind == "f" or expected.size == 0:
            expected = expected.astype(np.float64 if dtype == tg.float64 else np.float32)
    t = tg.tensor(data, dtype=dtype)
    assert t.numpy().dtype == expected.dtype
    np.testing.assert_array_equal(t.numpy(), expected)
    assert str(t.tolist()) == str(expected.tolist())


def test_lists_that_are_no_tensors():
    for data in ([[1.0], [2.0, 3.0]], [1.0, [2.0]], [[1.0], 2.0], ["a"], [None], {}, [object()]):
        with pytest.raises((TypeError, ValueError)):
            tg.tensor(data)
    endless: list = []
    endless.append(endless)
    with pytest.raises((TypeError, ValueError, RecursionError)):
        tg.tensor(endless)


def test_tolist_of_views():
    t = tg.arange(6).reshape(2, 3)
    assert t.T.tolist() == [[0, 3], [1, 4], [2, 5]] and t[:, ::2].tolist() == [[0, 2], [3, 5]]
    assert t[0, 1].tolist() == 1 and tg.zeros(0, 2).tolist() == [] and tg.zeros(2, 0).tolist() == [[], []]
    assert tg.tensor([[0.0, 2.0]]).bool().tolist() == [[False, True]]


def test_filled_tensors_take_sizes_in_every_form():
    for make in (tg.zeros, tg.ones, tg.empty, tg.rand, tg.randn):
        for sizes in ((2, 3), ((2, 3),), ([2, 3],), (tg.Size((2, 3)),), (np.int64(2), 3)):
            assert make(*sizes).shape == (2, 3)
        assert make(size=(2, 3)).shape == (2, 3) and make(4).shape == (4,) and make(()).shape == ()
        assert make(2, dtype=tg.float64, requires_grad=True).requires_grad
        with pytest.raises(TypeError):
            make("ab")
        with pytest.raises(TypeError):
            make(2, 3.5)


class Record(nn.Module):
    def forward(self, *args, **kwargs):
        return args, kwargs


def test_calling_a_module_calls_forward():
    module = Record()
    assert module() == ((), {}) and module(1) == ((1,), {}) and module(1, b=2) == ((1,), {"b": 2})
    assert module(*range(20)) == (tuple(range(20)), {})
    module.forward = lambda x: x + 1  # an attribute of the instance goes first
    assert module(1) == 2

    class Louder(Record):
        def __call__(self, *args):
            return "called", super().__call__(*args)

    assert Louder()(3) == ("called", ((3,), {}))
    with pytest.raises(NotImplementedError):
        nn.Module()(1)
    with pytest.raises(TypeError):
        nn.ReLU()()
    module.forward = module
    with pytest.raises(RecursionError):
        module(1)


def test_lists_of_parameters():
    a, b, c = (tg.zeros(2, requires_grad=True) for _ in range(3))
    a.grad, c.grad = tg.ones(2), tg.full((2,), 2.0)
    params = [a, b, c]
    having, grads = _core._with_gradients(params)
    assert having == [a, c] and [g is p.grad for g, p in zip(grads, having, strict=True)] == [True, True]
    b.grad = tg.ones(2)
    having, grads = _core._with_gradients(params)
    assert having is params and len(grads) == 3
    assert _core._with_gradients([]) == ([], [])
    with pytest.raises(TypeError):
        _core._with_gradients([a, 1])
    assert _core._same_objects(params, [a, b, c]) and _core._same_objects([], [])
    assert not _core._same_objects(params, [a, b]) and not _core._same_objects(params, [a, b, tg.zeros(2)])


def test_plain_indices_in_graphs():
    x = tg.arange(24.0).reshape(2, 3, 4).requires_grad_()
    (x[1, :, 2] * tg.tensor([1.0, 2.0, 3.0])).sum().backward()
    expected = np.zeros((2, 3, 4), np.float32)
    expected[1, :, 2] = 1, 2, 3
    np.testing.assert_array_equal(x.grad.numpy(), expected)
    assert x[-1, -1, -1].item() == 23 and x[0, 1:3, 1].tolist() == [5, 9] and x[:].shape == x.shape
    for key in (2, (0, 3), (0, 0, 4), (0, 0, 0, 0), (slice(None),) * 4, 2**70):
        with pytest.raises((IndexError, ValueError)):
            x[key]
    with pytest.raises(ValueError):
        x[::-1]
    with pytest.raises((IndexError, TypeError)):
        tg.zeros(())[0]


def test_forms_of_calls_that_pytorch_has():
    x = tg.arange(6.0).reshape(2, 3)
    start = tg.tensor([])
    assert tg.cat([start, x, start], 1).tolist() == x.tolist() and tg.cat([start, start]).shape == (0,)
    assert tg.cat([start, tg.arange(2)]).dtype == tg.float32
    assert tg.var(x, False).item() == x.var(correction=0).item() and x.std(True).item() == x.std().item()
    assert [t.shape for t in tg.var_mean(x, True)] == [(), ()]
    assert tg.arange(0, 3.1, dtype=tg.int64).tolist() == [0, 1, 2] and tg.arange(3.9, dtype=tg.int32).tolist() == [
        0,
        1,
        2,
    ]
    assert tg.linspace(0.9, 4.2, 5, dtype=tg.int64).tolist() == [0, 1, 2, 3, 4]
    assert tg.tril_indices(2, 2, device="cpu").tolist() == tg.tril_indices(2, 2).tolist()
    with pytest.raises(ValueError, match="cuda"):
        tg.triu_indices(2, 2, device="cuda")
    whole = tg.arange(6).reshape(2, 3)
    assert nn.functional.linear(whole, whole, tg.tensor([1, 2])).tolist() == [[6, 16], [15, 52]]
    from_nothing = tg.from_numpy(np.zeros((1, 0, 3)))
    assert from_nothing.exp_() is from_nothing


def test_products_and_scans_in_place():
    a, b, v = tg.ones(2, 2), tg.full((2, 2), 2.0), tg.ones(2)
    assert a.addmm_(b, b, beta=2).tolist() == [[10, 10], [10, 10]]
    assert v.addmv_(b, tg.ones(2), alpha=0.5).tolist() == [3, 3]
    assert a.addr_(v, v, beta=0).tolist() == [[9, 9], [9, 9]]
    assert a.tril_().tolist() == [[9, 0], [9, 9]] and a.triu_().tolist() == [[9, 0], [0, 9]]
    assert a.cumsum_(0).tolist() == [[9, 0], [9, 9]]
    with pytest.raises(RuntimeError, match="addmm_"):
        tg.ones(2).addmm_(b, b)
