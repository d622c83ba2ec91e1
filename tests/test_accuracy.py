"""Accuracy where it is promised: functions in units in the last place at every ISA level, sums of many numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from sweep_math import ulps

SWEEP = Path(__file__).resolve().parent / "sweep_math.py"
COUNT = 1_000_000


@pytest.mark.parametrize("level", tg.isa_levels())
def test_functions(level):
    """Special values, a sample of all float32 (more of them in docs/accuracy.md), random float64."""
    done = subprocess.run(
        [sys.executable, str(SWEEP), "--stride", "10007", "--count", "2000"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "TAPEGRAD_ISA": level},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"ISA level {level}" in done.stdout


def any_bits(rng) -> np.ndarray:
    """Finite float32 values of every magnitude: random bit patterns."""
    x = rng.randint(0, 2**32, COUNT, dtype=np.uint64).astype(np.uint32).view(np.float32)
    return x[np.isfinite(x)]


@pytest.mark.parametrize(("name", "truth"), [("sqrt", np.sqrt), ("reciprocal", np.reciprocal)])
def test_correctly_rounded(name, truth, rng):
    x = any_bits(rng)
    with np.errstate(all="ignore"):
        want = truth(x.astype(np.float64))
        assert ulps(getattr(tg, name)(tg.from_numpy(x)).numpy(), want).max() <= 0.5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pow(dtype, rng):
    a, b = rng.uniform(0.1, 10, COUNT).astype(dtype), rng.uniform(-20, 20, COUNT).astype(dtype)
    a[::2] = 1 + (a[::2] - 5) / 1000  # near 1, to large powers
    b[::2] *= 400
    error = ulps((tg.from_numpy(a) ** tg.from_numpy(b)).numpy(), a.astype(np.longdouble) ** b.astype(np.longdouble))
    assert error.max() <= 2


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pow_special_values(dtype):
    """All pairs of unusual numbers, against the C library's pow, which NumPy calls for single float64 numbers."""
    big, tiny = np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal
    values = [0, 1, 2, 3, 0.5, 1.5, 2.5, 33, 1e20, 1e-30, 16777217, 2**53 - 1, big, tiny, np.inf]
    x = np.array([*values, *(-v for v in values), -0.0, np.nan], dtype)
    a, b = (np.ascontiguousarray(v) for v in np.broadcast_arrays(x[:, None], x))
    with np.errstate(all="ignore"):
        want = np.power(a.astype(np.longdouble), b.astype(np.longdouble))
    assert ulps(tg.pow(tg.tensor(a), tg.tensor(b)).numpy(), want).max() <= 1


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
