"""Matrix products over every way a matrix can lie in memory, at sizes around the edges of tiles, blocks and cuts."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg

SIZES = [
    (1, 257, 300),
    (2, 300, 65),
    (3, 33, 500),
    (7, 129, 31),
    (12, 64, 257),
    (13, 31, 15),
    (14, 32, 32),
    (15, 1025, 33),
    (29, 7, 64),
    (64, 784, 256),
    (150, 100, 1),
    (257, 65, 10),
    (300, 2100, 47),
    (1000, 3, 40),
    (40, 20, 1500),
    (5, 0, 4),
]
TOLERANCE = {np.float32: 2e-5, np.float64: 1e-13}


def layouts(rng, rows, cols, dtype):
    """The same kind of matrix by rows, by columns, with steps along both dimensions, unaligned, and with stride 0."""

    def random(*shape):
        return tg.tensor(rng.standard_normal(shape).astype(dtype))

    return {
        "rows": random(rows, cols),
        "columns": random(cols, rows).T,
        "steps": random(2 * rows, 3 * cols)[::2, ::3],
        "unaligned": random(rows, cols + 3)[:, 1 : cols + 1],
        "one row": random(1, cols).expand(rows, cols),
    }


@pytest.fixture
def threads():
    before = tg.get_num_threads()
    yield
    tg.set_num_threads(before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_matmul(size, dtype, threads):
    m, k, n = size
    rng = np.random.default_rng(m * n + k)
    left, right = layouts(rng, m, k, dtype), layouts(rng, k, n, dtype)
    pairs = [(a, "rows") for a in left] + [("rows", b) for b in right] + [(a, "columns") for a in left]
    for i, j in pairs:
        a, b = left[i], right[j]
        exact = a.double().numpy() @ b.double().numpy()
        results = []
        for count in (1, 2, 3, 4):
            tg.set_num_threads(count)
            results.append(tg.matmul(a, b).numpy())
        for r in results[1:]:
            assert np.array_equal(r, results[0]), f"{i} x {j}: the bits depend on the number of threads"
        error = np.abs(results[0] - exact).max(initial=0) / (np.sqrt(k) + 1)
        assert error < TOLERANCE[dtype], f"{i} x {j}: error {error}"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_linear_adds_the_bias_once(size, dtype):
    m, k, n = size
    rng = np.random.default_rng(m + k + n)
    x, w, b = (rng.standard_normal(s).astype(dtype) for s in ((m, k), (n, k), (n,)))
    y = tg.nn.functional.linear(tg.tensor(x), tg.tensor(w), tg.tensor(b)).numpy()
    exact = x.astype(np.float64) @ w.T.astype(np.float64) + b
    assert np.abs(y - exact).max() / (np.sqrt(k) + 1) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", [tg.float32, tg.float64])
def test_subnormal_operands_count_as_zero(dtype, threads):
    """Documented in matmul: the processor would take a hundred times as long. Other operations keep them."""
    tg.set_num_threads(2)
    tiny = 1e-40 if dtype == tg.float32 else 1e-310
    for n in (8, 256):
        small, one = tg.full((n, n), tiny, dtype=dtype), tg.ones(n, n, dtype=dtype)
        assert not (small @ one).any() and not (small @ one[0]).any()
        assert ((small + one) @ one == n).all()
        assert (small * one == small).all() and (small.sum() > 0).item()


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_linear_activates_every_element_once(size, dtype, activation, threads):
    """The bits of the activation after linear: for every layout, with a bias and without, by any number of threads."""
    m, k, n = size
    rng = np.random.default_rng(m * n + k)
    left, right = layouts(rng, m, k, dtype), layouts(rng, n, k, dtype)
    bias = tg.tensor(rng.standard_normal(n).astype(dtype))
    pairs = [(a, "rows") for a in left] + [("rows", b) for b in right] + [("columns", "columns")]
    for i, j in pairs:
        for b in (bias, None):
            expected = getattr(tg, activation)(tg.nn.functional.linear(left[i], right[j], b)).numpy()
            for count in (1, 2, 3):
                tg.set_num_threads(count)
                y = tg.nn.functional.linear(left[i], right[j], b, activation=activation).numpy()
                assert y.tobytes() == expected.tobytes(), f"{i} x {j}, {count} threads"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_weight_and_bias_gradients(size, dtype, threads):
    """Made in one product: right, and the same bits with a graph of their own and for any number of threads."""
    m, k, n = size
    rng = np.random.default_rng(m * n + k)
    x = tg.tensor(rng.standard_normal((m, k)).astype(dtype))
    w = tg.tensor(rng.standard_normal((n, k)).astype(dtype)).requires_grad_()
    b = tg.zeros(n, dtype=x.dtype).requires_grad_()
    for layout, g in layouts(rng, m, n, dtype).items():
        results = []
        for count, graph in [(1, False), (2, False), (3, False), (2, True)]:
            tg.set_num_threads(count)
            y = tg.nn.functional.linear(x, w, b)
            results.append([r.detach().numpy() for r in tg.autograd.grad(y, [w, b], g, create_graph=graph)])
        wide, others = g.double().numpy(), [x.double().numpy(), np.ones(m)]
        for got, other in zip(results[0], others, strict=True):
            error, size = np.abs(got - wide.T @ other), np.abs(wide).T @ np.abs(other)
            assert (error <= 0.3 * TOLERANCE[dtype] * size).all(), layout
        for other in results[1:]:
            assert all(np.array_equal(a, c) for a, c in zip(results[0], other, strict=True)), layout
