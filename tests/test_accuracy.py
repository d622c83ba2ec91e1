"""Accuracy where it is promised: float32 functions in units in the last place, sums and means of many numbers."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg

COUNT = 1_000_000


def any_bits(rng) -> np.ndarray:
    """Finite float32 values of every magnitude: random bit patterns."""
    x = rng.randint(0, 2**32, COUNT, dtype=np.uint64).astype(np.uint32).view(np.float32)
    return x[np.isfinite(x)]


def between(low, high):
    return lambda rng: rng.uniform(low, high, COUNT).astype(np.float32)


def sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def ulps(got: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Error in units in the last place of the truth; for a denormal, in those of the smallest normal number."""
    with np.errstate(all="ignore"):
        rounded = truth.astype(np.float32)
        unit = np.spacing(np.maximum(np.abs(rounded), np.finfo("f4").tiny)).astype(np.float64)
        error = np.abs(got.astype(np.float64) - truth) / unit
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    return np.where(same, 0, np.where(np.isfinite(error), error, np.inf))


@pytest.mark.parametrize(
    ("name", "truth", "bound"),
    [
        ("exp", np.exp, 1),
        ("log", np.log, 1),
        ("tanh", np.tanh, 2),
        ("sigmoid", sigmoid, 2),
        ("sqrt", np.sqrt, 0.5),
        ("reciprocal", np.reciprocal, 0.5),
    ],
)
@pytest.mark.parametrize(
    "inputs", [any_bits, between(-10, 10), between(-100, 100), between(0.5, 2), between(-0.01, 0.01)]
)
def test_float32_functions(name, truth, bound, inputs, rng):
    x = inputs(rng)
    with np.errstate(all="ignore"):
        want = truth(x.astype(np.float64))
    error = ulps(getattr(tg, name)(tg.from_numpy(x)).numpy(), want)
    worst = int(np.argmax(error))
    assert error[worst] <= bound + 0.001, f"{name}({x[worst]!r}) is off by {error[worst]:.2f} ulp"


@pytest.mark.parametrize(("name", "truth"), [("sin", np.sin), ("cos", np.cos)])
@pytest.mark.parametrize("top", [3.2, 1e3, 1e5])
def test_sin_and_cos(name, truth, top, rng):
    """Near a zero the absolute error counts."""
    x = between(-top, top)(rng)
    got = getattr(tg, name)(tg.from_numpy(x)).numpy()
    np.testing.assert_allclose(got, truth(x.astype(np.float64)), rtol=1.5e-7, atol=6e-8)


def test_pow(rng):
    a, b = between(0.1, 10)(rng), between(-20, 20)(rng)
    error = ulps((tg.from_numpy(a) ** tg.from_numpy(b)).numpy(), a.astype(np.float64) ** b)
    assert error.max() <= 2


@pytest.mark.parametrize(
    ("shape", "dim"), [((10_000_000,), 0), ((5_000_000, 2), 0), ((2, 5_000_000), 1), ((100, 100_000), None)]
)
def test_means_of_ten_million_numbers(shape, dim):
    """A running float32 sum would stop growing at 2^24."""
    x = np.full(shape, 0.1, np.float32)
    got = tg.from_numpy(x).mean(dim=dim).numpy()
    np.testing.assert_allclose(got, np.full(got.shape, np.float64(np.float32(0.1))), rtol=3e-7)


def test_sum_of_numbers_of_both_signs(rng):
    x = rng.randn(4_000_000).astype(np.float32)
    truth = x.astype(np.float64).sum()
    assert abs(tg.from_numpy(x).sum().item() - truth) < 2e-7 * np.abs(x).astype(np.float64).sum() / 100


def test_var_far_from_zero(rng):
    x = (10_000 + rng.randn(1_000_000)).astype(np.float32)
    assert tg.from_numpy(x).var().item() == pytest.approx(x.astype(np.float64).var(ddof=1), rel=1e-4)


def test_softmax_and_cross_entropy_of_extreme_logits():
    x = tg.tensor([[1e4, 0.0, -1e4], [-1e4, -1e4, -1e4]], requires_grad=True)
    assert tg.softmax(x, 1).tolist()[0] == [1, 0, 0]
    loss = tg.cross_entropy(x, tg.tensor([1, 0]), reduction="none")
    np.testing.assert_allclose(loss.detach().numpy(), [1e4, np.log(3)], rtol=1e-6)
    loss.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [[1, -1, 0], [-2 / 3, 1 / 3, 1 / 3]], rtol=1e-6)


def test_long_products():
    """A product of 1 x k and k x 1 keeps the accuracy of a blocked sum."""
    k = 1_000_000
    x = np.full((1, k), 0.1, np.float32)
    got = (tg.from_numpy(x) @ tg.from_numpy(x.T.copy())).item()
    assert got == pytest.approx(k * np.float64(np.float32(0.1)) ** 2, rel=2e-6)
