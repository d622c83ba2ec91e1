"""Tensor as an object: creation, attributes, repr, conversions, sizes that cannot be."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest

import tapegrad as tg


def equal(tensor, values, dtype=None):
    got = tensor.numpy()
    want = np.asarray(values)
    assert got.shape == want.shape
    np.testing.assert_array_equal(got, want)
    if dtype is not None:
        assert tensor.dtype == dtype


# Creation


def test_tensor_from_python_values():
    equal(tg.tensor(2.5), 2.5, tg.float32)
    equal(tg.tensor(3), 3, tg.int64)
    equal(tg.tensor(True), True, tg.bool)
    equal(tg.tensor([1, 2]), [1, 2], tg.int64)
    equal(tg.tensor([1, 2.5]), [1, 2.5], tg.float32)
    equal(tg.tensor([True, 2]), [1, 2], tg.int64)
    equal(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), [[1, 2], [3, 4]], tg.float32)
    equal(tg.tensor(((1,), (2,))), [[1], [2]], tg.int64)
    equal(tg.tensor([]), np.zeros(0), tg.float32)
    equal(tg.tensor([[], []]), np.zeros((2, 0)), tg.float32)
    equal(tg.tensor(range(3)), [0, 1, 2], tg.int64)
    equal(tg.tensor([1, 2], dtype=tg.float64), [1, 2], tg.float64)
    equal(tg.tensor([0.0, 2.0], dtype=tg.bool), [False, True], tg.bool)
    equal(tg.tensor([np.float64(1.5), np.float64(2.5)]), [1.5, 2.5])
    equal(tg.tensor([tg.tensor(1.0), tg.tensor(2.0)]), [1, 2])


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "uint8", "bool"])
def test_tensor_from_numpy_copies_and_keeps_dtype(dtype):
    a = np.array([[0, 1], [1, 0]], dtype=dtype)
    t = tg.tensor(a)
    equal(t, a, getattr(tg, dtype))
    a[:] = 1
    assert t.numpy()[0, 0] == 0


@pytest.mark.parametrize(
    "values", [[[1, 2], [3]], [1, [2]], [[1], 2], ["a"], "a", [None], None, [1, object()], [1 + 2j]]
)
def test_tensor_from_nonsense(values):
    with pytest.raises((ValueError, TypeError)):
        tg.tensor(values)


def test_tensor_overflow_of_an_integer():
    with pytest.raises((OverflowError, ValueError, RuntimeError)):
        tg.tensor([2**63])
    with pytest.raises((OverflowError, ValueError, RuntimeError)):
        tg.tensor(300, dtype=tg.uint8)


def test_default_dtype():
    assert tg.get_default_dtype() == tg.float32
    tg.set_default_dtype(tg.float64)
    for t in (tg.tensor(1.0), tg.zeros(2), tg.rand(2), tg.tensor([1, 2]) / 2, tg.linspace(0, 1, 3)):
        assert t.dtype == tg.float64
    with pytest.raises((TypeError, ValueError)):
        tg.set_default_dtype(tg.int64)


def test_filled_tensors():
    equal(tg.zeros(2, 3), np.zeros((2, 3)), tg.float32)
    equal(tg.zeros((2, 3)), np.zeros((2, 3)))
    equal(tg.zeros([2]), np.zeros(2))
    equal(tg.ones(()), 1)
    equal(tg.ones(2, dtype=tg.int64), [1, 1], tg.int64)
    equal(tg.full((2, 2), 7), [[7, 7], [7, 7]], tg.int64)
    equal(tg.full((2,), 7.5), [7.5, 7.5], tg.float32)
    equal(tg.full((2,), True), [True, True], tg.bool)
    equal(tg.full((2,), 7, dtype=tg.float64), [7, 7], tg.float64)
    assert tuple(tg.empty(3, 0, 2).shape) == (3, 0, 2)
    x = tg.ones(2, 3).double()
    equal(tg.zeros_like(x), np.zeros((2, 3)), tg.float64)
    equal(tg.ones_like(x, dtype=tg.int32), np.ones((2, 3)), tg.int32)
    equal(tg.full_like(x, 4), np.full((2, 3), 4), tg.float64)
    assert tg.empty_like(x).shape == x.shape
    for given in (tg.preserve_format, tg.contiguous_format, None):
        assert tg.zeros_like(x, memory_format=given).shape == tg.randn_like(x, memory_format=given).shape == x.shape
    with pytest.raises(ValueError, match="zeros_like: memory_format must be preserve_format or contiguous_format"):
        tg.zeros_like(x, memory_format="channels_last")
    assert tg.rand_like(x).dtype == tg.randn_like(x).dtype == tg.float64
    equal(tg.eye(3), np.eye(3), tg.float32)
    equal(tg.eye(2, 3), np.eye(2, 3))


@pytest.mark.parametrize("args", [(5,), (2, 7), (7, 2, -2), (0, 1, 0.25), (1.0, 4.0), (5, 5), (0, 10, 3), (-3, 3, 2)])
def test_arange(args):
    t = tg.arange(*args)
    equal(t, np.arange(*args).astype("int64" if all(isinstance(a, int) for a in args) else "float32"))
    assert t.dtype == (tg.int64 if all(isinstance(a, int) for a in args) else tg.float32)


def test_arange_of_large_integers():
    assert tg.arange(2**53, 2**53 + 4).tolist() == list(range(2**53, 2**53 + 4))
    assert tg.arange(2**62 + 1, 2**62 - 6, -3).tolist() == list(range(2**62 + 1, 2**62 - 6, -3))


def test_arange_of_nothing_possible():
    for args in [(0, 5, 0), (0, 5, -1), (5, 0), (0, float("nan")), (0, float("inf"))]:
        with pytest.raises((ValueError, RuntimeError)):
            tg.arange(*args)


@pytest.mark.parametrize("args", [(0, 1, 5), (100, 300, 200), (3, -3, 7), (2, 9, 1), (0, 1, 0), (-1e3, 1e3, 1001)])
def test_linspace(args):
    t = tg.linspace(*args)
    assert t.dtype == tg.float32
    np.testing.assert_allclose(t.numpy(), np.linspace(*args), rtol=2e-7, atol=2e-7 * max(abs(args[0]), abs(args[1])))
    if args[2] > 1:
        assert t[0].item() == args[0] and t[-1].item() == args[1]


# Attributes


def test_constants():
    """PyTorch's numbers by name."""
    assert (tg.pi, tg.e, tg.inf) == (math.pi, math.e, math.inf) and math.isnan(tg.nan)
    assert tg.zeros(3)[:, tg.newaxis].shape == (3, 1)


def test_attributes():
    t = tg.zeros(2, 3, 4)
    assert t.shape == (2, 3, 4) and isinstance(t.shape, tuple) and t.shape[-1] == 4
    assert t.size() == t.shape and t.size(1) == 3 and t.size(-1) == 4
    assert t.ndim == t.dim() == 3 and t.numel() == 24
    assert t.stride() == (12, 4, 1) and t.stride(0) == 12
    assert t[1].storage_offset() == 12
    assert t.is_contiguous() and not t.transpose(0, 1).is_contiguous()
    assert t.T is not None and tuple(tg.zeros(2, 3).T.shape) == (3, 2) and tuple(t.mT.shape) == (2, 4, 3)
    with pytest.raises(IndexError):
        t.size(3)


def test_dtypes():
    assert tg.float is tg.float32 and tg.double is tg.float64 and tg.long is tg.int64 and tg.int is tg.int32
    assert tg.float32 != tg.float64 and tg.float32 == tg.zeros(1).dtype
    assert hash(tg.float32) == hash(tg.zeros(1).dtype)
    assert "float32" in repr(tg.float32)
    assert isinstance(tg.float32, tg.dtype)


def test_conversions_between_dtypes():
    t = tg.tensor([0.0, 1.7, -1.7, 300.0])
    equal(t.long(), [0, 1, -1, 300], tg.int64)
    equal(t.int(), [0, 1, -1, 300], tg.int32)
    equal(t.bool(), [False, True, True, True], tg.bool)
    assert t.double().dtype == t.to(tg.float64).dtype == t.to(dtype=tg.float64).dtype == tg.float64
    assert t.float() is t or t.float().dtype == tg.float32
    equal(tg.tensor([float("nan")]).bool(), [True])
    equal(tg.tensor([1, 2]).float(), [1, 2], tg.float32)


# Conversions to Python


def test_item_and_scalars():
    assert tg.tensor(2.5).item() == 2.5 and type(tg.tensor(2.5).item()) is float
    assert type(tg.tensor(2).item()) is int and type(tg.tensor(True).item()) is bool
    assert float(tg.tensor([[2.5]])) == 2.5 and int(tg.tensor(2.9)) == 2 and bool(tg.tensor([0.0])) is False
    assert [10, 20, 30][tg.tensor(1)] == 20
    for convert in (float, int, bool, lambda t: t.item()):
        with pytest.raises((RuntimeError, ValueError, TypeError)):
            convert(tg.ones(2))
    with pytest.raises((RuntimeError, ValueError, TypeError)):
        bool(tg.zeros(0))
    with pytest.raises((TypeError, ValueError)):
        [1, 2][tg.tensor(1.0)]
    with pytest.raises((ValueError, OverflowError, RuntimeError)):
        int(tg.tensor(float("nan")))


def test_tolist():
    assert tg.tensor([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]
    assert tg.tensor(1.5).tolist() == 1.5
    assert tg.tensor([[1, 2], [3, 4]]).t().tolist() == [[1, 3], [2, 4]]
    assert tg.zeros(2, 0).tolist() == [[], []]
    assert tg.tensor([True]).tolist() == [True]


def test_len_iteration_and_membership():
    t = tg.tensor([[1, 2], [3, 4], [5, 6]])
    assert len(t) == 3
    assert [row.tolist() for row in t] == [[1, 2], [3, 4], [5, 6]]
    *_, last = t
    assert last.tolist() == [5, 6]
    assert list(reversed([x.item() for x in tg.arange(3)])) == [2, 1, 0]
    assert 5 in t and 9 not in t
    for f in (len, iter):
        with pytest.raises(TypeError):
            f(tg.tensor(1.0))


def test_format():
    assert f"{tg.tensor(1.2345): .2f}" == " 1.23"
    assert f"{tg.tensor(7):4d}" == "   7"
    assert f"{tg.tensor(0.5)}" == "0.5"
    assert f"{tg.tensor([1.0, 2.0])}" == str(tg.tensor([1.0, 2.0]))
    with pytest.raises(TypeError):
        f"{tg.ones(2):.2f}"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: tg.tensor([1.0, 2.5]), "tensor([1.0000, 2.5000])"),
        (lambda: tg.tensor([1.0, 2.0]), "tensor([1., 2.])"),
        (lambda: tg.tensor([1, 20]), "tensor([ 1, 20])"),
        (lambda: tg.tensor(3.0), "tensor(3.)"),
        (lambda: tg.tensor(3), "tensor(3)"),
        (lambda: tg.tensor([True, False]), "tensor([ True, False])"),
        (lambda: tg.tensor([[1.0, -2.0], [3.0, 4.0]]), "tensor([[ 1., -2.],\n        [ 3.,  4.]])"),
        (lambda: tg.tensor([1.0, 2.0], dtype=tg.float64), "tensor([1., 2.], dtype=torch.float64)"),
        (lambda: tg.tensor([1, 2], dtype=tg.int32), "tensor([1, 2], dtype=torch.int32)"),
        (lambda: tg.tensor([]), "tensor([])"),
        (lambda: tg.zeros(2, 0), "tensor([], size=(2, 0))"),
        (lambda: tg.tensor([1.0], requires_grad=True), "tensor([1.], requires_grad=True)"),
        (lambda: tg.tensor([float("nan"), float("inf"), 1.5]), "tensor([   nan,    inf, 1.5000])"),
        (lambda: tg.tensor([1e-8, 1.0]), "tensor([1.0000e-08, 1.0000e+00])"),
    ],
)
def test_repr(make, text):
    assert repr(make()).replace("tapegrad.", "torch.") == text


def test_repr_of_results_and_of_large_tensors():
    y = tg.ones(1, requires_grad=True) * 2
    assert repr(y).startswith("tensor([2.], grad_fn=<")
    big = repr(tg.arange(5000))
    assert "..." in big and "4999" in big and len(big) < 200
    assert len(repr(tg.zeros(100, 100, 100))) < 5000
    repr(tg.zeros(*[1] * 20))


def test_copies():
    t = tg.tensor([1.0, 2.0], requires_grad=True)
    for make in (copy.copy, copy.deepcopy):
        c = make(t)
        assert c.tolist() == [1, 2] and c.requires_grad
    d = copy.deepcopy(t)
    with tg.no_grad():
        d.zero_()
    assert t.tolist() == [1, 2]


def test_hash_and_identity():
    t = tg.ones(2)
    assert len({t, t, tg.ones(2)}) == 2
    assert (t == t).all().item() and (t == "text") is False and (t != "text") is True


def test_operators():
    a, b = tg.tensor([6.0, 8.0]), tg.tensor([2.0, 4.0])
    for got, want in [
        (a + b, [8, 12]), (a - b, [4, 4]), (a * b, [12, 32]), (a / b, [3, 2]), (a**2, [36, 64]), (-a, [-6, -8]),
        (+a, [6, 8]), (abs(-a), [6, 8]), (1 + a, [7, 9]), (1 - a, [-5, -7]), (2 * a, [12, 16]), (24 / a, [4, 3]),
        (2**b, [4, 16]), (a @ b, 44), (a > 6, [False, True]), (a >= 6, [True, True]), (a == 6, [True, False]),
        (a != 6, [False, True]), (a <= 6, [True, False]), (~(a > 6), [True, False]), ((a > 6) & (b > 2), [False, True]),
        ((a > 6) | (b < 9), [True, True]), ((a > 6) ^ (b < 9), [True, False]),
    ]:  # fmt: skip
        equal(got, want)
    for f in (lambda: a + "x", lambda: a + None, lambda: "x" * a, lambda: a - [1, 2], lambda: a < "x"):
        with pytest.raises(TypeError):
            f()


# Sizes that cannot be


@pytest.mark.parametrize(
    "make",
    [
        lambda: tg.zeros(2**31, 2**31, 4),
        lambda: tg.zeros(2**62, 8),
        lambda: tg.zeros(-1),
        lambda: tg.zeros(2, -3),
        lambda: tg.ones(1).expand(2**40, 2**40),
        lambda: tg.ones(4).reshape(2**62, 8, 0),
        lambda: tg.zeros(*[1] * 65),
        lambda: tg.ones(1).reshape([1] * 65),
        lambda: tg.eye(2**33),
        lambda: tg.arange(10**18),
        lambda: tg.linspace(0, 1, 2**62),
        lambda: tg.randn(2**40, 2**40),
        lambda: tg.zeros(2**63),
        lambda: tg.cat([tg.ones(1).expand(2**40)] * 2),
        lambda: tg.zeros(2**21, 1).expand(2**21, 2**41) + 1,
    ],
)
def test_impossible_sizes(make):
    """An exception of Python's own, and the process goes on."""
    with pytest.raises((ValueError, MemoryError, OverflowError, RuntimeError, TypeError)):
        make()
    assert tg.ones(3).sum().item() == 3


@pytest.mark.parametrize(
    "make",
    [
        lambda: tg.zeros(10**15, dtype=tg.uint8),
        lambda: tg.empty(10**15),
        lambda: tg.ones(10**7, 1) + tg.ones(10**8),
    ],
)
def test_what_cannot_be_allocated_is_a_memory_error(make):
    with pytest.raises(MemoryError):
        make()
    assert tg.ones(3).sum().item() == 3


def test_high_ranks_work():
    t = tg.ones([2] + [1] * 15)
    assert (t + t).sum().item() == 4
    assert t.permute(list(range(15, -1, -1))).sum(0).shape[-1] == 2
