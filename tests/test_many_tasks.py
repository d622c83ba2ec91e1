"""Indexing, joining and creation ops on tensors of more than one task: NumPy's results, for any number of threads."""

import numpy as np
import pytest

import tapegrad as tg

RNG = np.random.default_rng(3)


def both_thread_counts(compute):
    """The result on one thread and on three, as arrays; they must be the same bits."""
    results = []
    for threads in (1, 3):
        tg.set_num_threads(threads)
        results.append(compute().numpy())
    np.testing.assert_array_equal(*results)
    return results[0]


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int64"])
@pytest.mark.parametrize(
    ("shape", "key"),
    [
        ((1000, 70), np.s_[RNG.integers(-1000, 1000, 900)]),
        ((40, 900), np.s_[:, RNG.integers(-900, 900, 1001)]),
        ((7, 50, 33), np.s_[:, RNG.integers(0, 50, 300)]),
        ((50000,), np.s_[RNG.integers(0, 50000, (300, 171))]),
        ((30, 5, 40, 9), np.s_[:, :, RNG.integers(-40, 40, (20, 3)), RNG.integers(-9, 9, (20, 3))]),
        ((30, 5, 40, 9), np.s_[RNG.integers(0, 30, 700), :, RNG.integers(0, 40, 700)]),
    ],
)
def test_index(shape, key, dtype):
    x = RNG.integers(0, 200, shape).astype(dtype)
    ours = (
        tuple(tg.tensor(k) if isinstance(k, np.ndarray) else k for k in key)
        if isinstance(key, tuple)
        else tg.tensor(key)
    )
    np.testing.assert_array_equal(both_thread_counts(lambda: tg.tensor(x)[ours]), x[key])


@pytest.mark.parametrize(
    ("shape", "dim", "count"),
    [((300, 40), 0, 5000), ((3000, 1), 0, 90000), ((200, 90), 1, 700), ((3, 100, 8), 1, 9000)],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_index_select_backward_adds_in_order(shape, dim, count, dtype):
    index = RNG.integers(0, shape[dim], count)
    g = RNG.standard_normal((*shape[:dim], count, *shape[dim + 1 :])).astype(dtype)

    def compute():
        x = tg.zeros(shape, dtype=getattr(tg, dtype), requires_grad=True)
        x.index_select(dim, tg.tensor(index)).backward(tg.tensor(g))
        return x.grad

    expected = np.zeros(shape, dtype)
    np.add.at(expected, (slice(None),) * dim + (index,), g)
    np.testing.assert_array_equal(both_thread_counts(compute), expected)


@pytest.mark.parametrize(
    ("shape", "size", "dim"),
    [
        ((300, 200), (290, 150), 1),
        ((300, 200), (900, 190), 0),
        ((20, 30, 50), (20, 99, 40), 1),
        ((40000,), (70000,), 0),
        ((5000, 10), (5000, 1), 1),
    ],
)
def test_gather(shape, size, dim):
    x, index = RNG.standard_normal(shape, dtype=np.float32), RNG.integers(0, shape[dim], size)
    g = RNG.standard_normal(size, dtype=np.float32)
    within = x[tuple(slice(None) if d == dim else slice(n) for d, n in enumerate(size))]
    y = both_thread_counts(lambda: tg.tensor(x).gather(dim, tg.tensor(index)))
    np.testing.assert_array_equal(y, np.take_along_axis(within, index, dim))

    def compute():
        leaf = tg.tensor(x).requires_grad_(True)
        leaf.gather(dim, tg.tensor(index)).backward(tg.tensor(g))
        return leaf.grad

    where = list(np.indices(size))
    where[dim] = index
    expected = np.zeros(shape, np.float32)
    np.add.at(expected, tuple(where), g)
    np.testing.assert_array_equal(both_thread_counts(compute), expected)


@pytest.mark.parametrize("at", [0, 40000, 69999])
@pytest.mark.parametrize("bad", [-1, 700, 2**62, -(2**62)])
def test_one_bad_index_among_many(at, bad):
    index = RNG.integers(0, 700, 70000)
    index[at] = bad
    x = tg.zeros(700, 2)
    for call in (
        lambda: x.index_select(0, tg.tensor(index)),
        lambda: x.gather(0, tg.tensor(index).reshape(-1, 1)),
        lambda: x.T.gather(1, tg.tensor(index).reshape(1, -1)),
        lambda: x[tg.tensor(index)] if bad != -1 else x[700],
    ):
        with pytest.raises(IndexError, match="index"):
            call()


@pytest.mark.parametrize("density", [0, 0.02, 0.5, 1])
@pytest.mark.parametrize("shape", [(200001,), (300, 700), (60, 50, 70)])
def test_masks(shape, density):
    mask = RNG.random(shape) < density
    x = RNG.standard_normal(shape, dtype=np.float32)
    m, t = tg.tensor(mask), tg.tensor(x)
    np.testing.assert_array_equal(both_thread_counts(m.nonzero), np.argwhere(mask))
    np.testing.assert_array_equal(both_thread_counts(tg.tensor(np.where(mask, x, 0)).nonzero), np.argwhere(mask))
    np.testing.assert_array_equal(both_thread_counts(lambda: t[m]), x[mask])
    t[m] = 7.0
    np.testing.assert_array_equal(t.numpy(), np.where(mask, np.float32(7), x))


def test_mask_over_leading_dimensions():
    x, mask = RNG.standard_normal((30, 40, 5), dtype=np.float32), RNG.random((30, 40)) < 0.3
    leaf = tg.tensor(x).requires_grad_(True)
    y = leaf[tg.tensor(mask)]
    np.testing.assert_array_equal(y.detach().numpy(), x[mask])
    y.sum().backward()
    np.testing.assert_array_equal(leaf.grad.numpy(), np.broadcast_to(mask[..., None], x.shape).astype(np.float32))
    t = tg.tensor(x).permute(0, 2, 1)
    t.permute(0, 2, 1)[tg.tensor(mask)] = -1.0
    np.testing.assert_array_equal(t.numpy(), np.where(mask[..., None], np.float32(-1), x).transpose(0, 2, 1))


def test_masked_assignment_reads_before_it_writes():
    x = tg.arange(6, dtype=tg.float32)
    x[x > 1] = x[3]
    assert x.tolist() == [0, 1, 3, 3, 3, 3]
    flags = tg.tensor([True, True, False, True])
    flags[1:][flags[:-1]] = False
    assert flags.tolist() == [True, False, False, True]
    rows = tg.arange(8).reshape(4, 2)
    rows[tg.tensor([1, 2, 3])] = rows[:3]
    assert rows.tolist() == [[0, 1], [0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "bool"])
@pytest.mark.parametrize(
    ("shapes", "dim"),
    [
        ([(300, 200), (1, 200), (0, 200), (411, 200)], 0),
        ([(999, 3), (999, 100), (999, 1)], 1),
        ([(200, 7, 30), (200, 0, 30), (200, 11, 30)], 1),
        ([(60000, 1)] * 3, 1),
        ([(70001,)] * 2, 0),
    ],
)
def test_cat(shapes, dim, dtype):
    arrays = [RNG.integers(0, 2, shape).astype(dtype) for shape in shapes]
    y = both_thread_counts(lambda: tg.cat([tg.tensor(a) for a in arrays], dim))
    np.testing.assert_array_equal(y, np.concatenate(arrays, dim))
    strided = [tg.tensor(np.ascontiguousarray(a.T)).permute(*range(a.ndim)[::-1]) for a in arrays]
    np.testing.assert_array_equal(tg.cat(strided, dim).numpy(), np.concatenate(arrays, dim))


def test_ranges():
    np.testing.assert_array_equal(both_thread_counts(lambda: tg.arange(-5, 99999, 3)), np.arange(-5, 99999, 3))
    y = both_thread_counts(lambda: tg.arange(100000, dtype=tg.float32))
    np.testing.assert_array_equal(y, np.arange(100000, dtype=np.float32))
    y = both_thread_counts(lambda: tg.arange(0, 10, 1e-4, dtype=tg.float64))
    np.testing.assert_array_equal(y, np.arange(100000) * 1e-4)
    y = both_thread_counts(lambda: tg.linspace(-1, 1, 100001))
    np.testing.assert_allclose(y, np.linspace(-1, 1, 100001), atol=1e-7)
    for n, m in ((400, 300), (300, 400), (0, 5), (5, 0), (1, 1)):
        np.testing.assert_array_equal(tg.eye(n, m).numpy(), np.eye(n, m, dtype=np.float32))
