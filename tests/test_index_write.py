"""Writing by index: in-place forms, assignment with gradients to base and value, the same bits for any threads."""

from __future__ import annotations

import numpy as np
import pytest

import op_cases_index_write
import op_cases_masked
import tapegrad as tg
from op_case import flat, is_float, map_arrays, tensors

CASES = [*op_cases_index_write.CASES, *op_cases_masked.CASES]
IN_PLACE = [c for c in CASES if hasattr(tg.Tensor, c.name + "_")]


def fits(sample):
    """Whether the result has the shape of the tensor that is written: a mask may broadcast it."""
    x, mask = sample.args[:2]
    is_mask = isinstance(mask, np.ndarray) and mask.dtype == bool
    return not is_mask or np.broadcast_shapes(mask.shape, x.shape) == x.shape


def samples(case, rng):
    return [s for s in case.samples(rng) if fits(s)]


@pytest.mark.parametrize("case", IN_PLACE, ids=lambda c: c.name)
def test_in_place(case, rng):
    """f_() returns its tensor, with the values and gradients of f()."""
    for sample in samples(case, rng):
        results = []
        for name in (case.name, case.name + "_"):
            args = map_arrays(lambda a: tg.tensor(a).requires_grad_() if is_float(a) else tg.tensor(a), sample.args)
            x = args[0] * 1 if name.endswith("_") else args[0]
            y = getattr(x, name)(*args[1:], **sample.kwargs)
            assert y is x or not name.endswith("_")
            (y * y.detach()).sum().backward()
            leaves = [a for a in args if isinstance(a, tg.Tensor) and a.requires_grad]
            results.append(
                [y.detach().numpy(), *(0 * t.detach().numpy() if t.grad is None else t.grad.numpy() for t in leaves)]
            )
        for a, b in zip(*results, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=case.name)


@pytest.mark.parametrize("case", IN_PLACE, ids=lambda c: c.name)
def test_in_place_in_strided_memory(case, rng):
    for sample in samples(case, rng):
        want = case(tg, *tensors(tg, sample.args), **sample.kwargs)
        args = tensors(tg, sample.args)
        room = tg.zeros(*(2 * n + 1 for n in reversed(want.shape)), dtype=tg.float64)
        x = room[(slice(1, None, 2),) * want.ndim].permute(*reversed(range(want.ndim)))
        x.copy_(args[0])
        getattr(x, case.name + "_")(*args[1:], **sample.kwargs)
        np.testing.assert_allclose(x.numpy(), want.numpy(), rtol=1e-12, atol=1e-12)


def test_a_wrong_index_leaves_the_tensor_alone():
    x, one = tg.zeros(3), tg.ones(2)
    bad = tg.tensor([0, 3])
    for write in (
        lambda: x.scatter_(0, bad, one),
        lambda: x.scatter_add_(0, bad, one),
        lambda: x.index_add_(0, bad, one),
        lambda: x.index_copy_(0, bad, one),
        lambda: x.index_fill_(0, bad, 1),
        lambda: x.index_put_((bad,), one),
        lambda: x.__setitem__(bad, one),
    ):
        with pytest.raises(IndexError, match="3"):
            write()
        assert x.tolist() == [0, 0, 0]


def test_indices_in_the_tensor_that_is_written():
    x = tg.tensor([2, 0, 1])
    x[x] = tg.tensor([10, 20, 30])
    assert x.tolist() == [20, 30, 10]
    y = tg.tensor([1, 0])
    y.scatter_(0, y, y)
    assert y.tolist() == [0, 1]


@pytest.mark.parametrize("shape", [(5000, 40), (40, 5000), (200000,)])
def test_sums_do_not_depend_on_threads(shape, rng):
    x = tg.tensor(rng.randn(*shape).astype("f4"))
    rows = tg.tensor(rng.randint(0, shape[0] // 3, shape[0]))
    each = tg.tensor(rng.randint(0, shape[0] // 3, shape))
    results = []
    for threads in (1, 2, 3, 8):
        tg.set_num_threads(threads)
        sums = [
            tg.zeros(shape).index_add_(0, rows, x),
            tg.zeros(shape).scatter_add_(0, each, x),
            tg.zeros(shape).index_put_((rows,), x, accumulate=True),
            tg.zeros(shape).index_copy_(0, rows, x),
            tg.zeros(shape).scatter_(0, each, x),
        ]
        if x.ndim == 2:
            sums.append(tg.zeros(shape).scatter_add_(1, tg.tensor(each.numpy() % shape[1]), x))
        results.append([s.numpy().tobytes() for s in sums])
    assert all(r == results[0] for r in results)
    want = np.zeros(shape)
    np.add.at(want, rows.numpy(), x.numpy().astype(float))
    np.testing.assert_allclose(tg.zeros(shape).index_add_(0, rows, x).numpy(), want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_sums_and_products_of_integers_wrap(dtype):
    values = np.full(2, np.iinfo(dtype).max, dtype)
    x, zero = tg.tensor(values), tg.tensor([0, 0])
    sums, products = values.copy(), values.copy()
    np.add.at(sums, zero.numpy(), values)
    np.multiply.at(products, zero.numpy(), values)
    assert x.index_add(0, zero, x).tolist() == sums.tolist()
    assert x.index_put([zero], x, accumulate=True).tolist() == sums.tolist()
    assert x.scatter_add(0, zero, x).tolist() == sums.tolist()
    assert x.scatter(0, zero, x, reduce="multiply").tolist() == products.tolist()


def test_scatter_from_a_larger_source():
    """The source's part beyond the index has no gradient. (PyTorch's backward fails here.)"""
    x, src = tg.zeros(2, 3), tg.arange(12.0).view(3, 4).requires_grad_()
    y = x.scatter(1, tg.tensor([[2, 0]]), src)
    assert y.tolist() == [[1, 0, 0], [0, 0, 0]]
    y.sum().backward()
    assert src.grad.tolist() == [[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_scatter_spellings():
    x, at = tg.zeros(1, 3), tg.tensor([[2]])
    for y in (
        x.scatter(1, at, 5.0),
        x.scatter(1, at, value=5.0),
        tg.scatter(x, dim=1, index=at, src=tg.full((1, 1), 5.0)),
        x.scatter(-1, at.int(), 5),
    ):
        assert y.tolist() == [[0, 0, 5]]
    with pytest.raises(RuntimeError, match="multiply"):
        w = tg.ones(1, 3, requires_grad=True)
        w.scatter(1, at, 5.0, reduce="multiply").sum().backward()


# Assignment with gradients


def assigned(key):
    """x[key] = value for x computed from a leaf and value a leaf: the gradients of both, against where()."""

    def run(x, value):
        y = x * 1
        y[key] = value
        return y

    return run


N = slice(None)
KEYS = [
    1,
    -1,
    (1, 2),
    (0, N, 1),
    slice(1, 3),
    slice(None, None, 2),
    slice(3, 1),
    (N, slice(1, 4, 2), 0),
    Ellipsis,
    (Ellipsis, 1),
    (None, 1),
    (N, None, 2),
    (),
    True,
    np.array([0, 3]),
    (N, np.array([0, 3])),
    (np.array([0, 3]), np.array([1, 2])),
    (np.array([0, 3]), N, np.array([1, 2])),
    (slice(1, 4), np.array([[0], [3]])),
    (2, np.array([0, 3])),
    (None, slice(1, 3), np.array([0, 1])),
    [0, 2],
    (Ellipsis, [2, 0]),
    np.random.RandomState(1).rand(4, 5) < 0.5,
    np.random.RandomState(1).rand(4, 5, 3) < 0.5,
    (N, np.array([True, False, True, False, True])),
    (1, np.array([True, False, True, False, True])),
    range(2),
]


@pytest.mark.parametrize("form", ["full", "number", "last", "leading one"])
@pytest.mark.parametrize("k", range(len(KEYS)))
def test_assignment_has_gradients(k, form):
    torch = pytest.importorskip("torch")
    key, rng = KEYS[k], np.random.RandomState(5)
    a = rng.randn(4, 5, 3)
    selected = torch.tensor(a)[map_arrays(torch.tensor, key) if not isinstance(key, list) else key].shape
    shapes = {"full": selected, "number": (), "last": selected[-1:], "leading one": (1, *selected)}
    value = rng.randn(*shapes[form])
    grads = []
    for T in (tg, torch):
        x, v = (T.tensor(np.asarray(t)).requires_grad_() for t in (a, value))
        y = assigned(tensors(T, key) if not isinstance(key, list) else key)(x, v)
        (y * y * T.tensor(a)).sum().backward()
        grads.append([y.detach().numpy(), x.grad.numpy(), v.grad.numpy()])
    for ours, theirs in zip(*grads, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_assignment_in_a_loop():
    """A buffer filled row by row, as recurrences are written."""
    w = tg.tensor(1.5, requires_grad=True)
    out = tg.zeros(4)
    state = tg.tensor(1.0)
    for i in range(4):
        state = state * w
        out[i] = state
    out.sum().backward()
    assert w.grad.item() == pytest.approx(1 + 2 * 1.5 + 3 * 1.5**2 + 4 * 1.5**3)


def test_assignment_to_a_leaf_or_beside_a_view_is_refused():
    leaf = tg.zeros(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        leaf[0] = 1
    y = leaf * 1
    view = y[1:]
    with pytest.raises(RuntimeError, match="whose memory another tensor or the graph still uses"):
        y[0] = 1
    assert view.tolist() == [0, 0]


def test_uint8_indices_are_refused():
    x, index = tg.arange(3), tg.tensor([1, 0, 1], dtype=tg.uint8)
    with pytest.raises(IndexError, match="uint8"):
        x[index]
    with pytest.raises(IndexError, match="uint8"):
        x[index] = 0
    assert x[index.bool()].tolist() == [0, 2] and x[index.long()].tolist() == [1, 0, 1]


def test_nonzero_spellings():
    x = tg.tensor([[0, 1], [2, 0]])
    assert x.nonzero().tolist() == [[0, 1], [1, 0]]
    assert [t.tolist() for t in x.nonzero(as_tuple=True)] == [[0, 1], [1, 0]]
    assert x[x.nonzero(as_tuple=True)].tolist() == [1, 2]
    assert len(flat(tg.nonzero(tg.tensor(3), as_tuple=True))) == 1


def test_one_hot_is_found_under_functional():
    hot = tg.nn.functional.one_hot(tg.tensor([1, 0]), num_classes=3)
    assert hot.tolist() == [[0, 1, 0], [1, 0, 0]] and hot.dtype is tg.int64
