"""Properties that hold for all inputs: broadcasting, reductions, views, products."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tapegrad as tg

common = settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck), derandomize=True)
shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)
seeds = st.integers(0, 2**31 - 1)


@st.composite
def broadcast_pair(draw):
    """Two shapes that broadcast, and their common shape."""
    whole = draw(shapes)
    parts = []
    for _ in range(2):
        part = tuple(1 if draw(st.booleans()) and draw(st.booleans()) else n for n in whole)
        parts.append(part[draw(st.integers(0, len(part))) :])
    return parts[0], parts[1]


def arrays(seed, *wanted):
    rng = np.random.RandomState(seed)
    return [np.asarray(rng.randn(*s), dtype=np.float32) for s in wanted]


@common
@given(broadcast_pair(), seeds)
def test_broadcasting_as_numpy(pair, seed):
    a, b = arrays(seed, *pair)
    x, y = tg.tensor(a), tg.tensor(b)
    np.testing.assert_array_equal((x + y).numpy(), a + b)
    np.testing.assert_array_equal((x * y).numpy(), a * b)
    np.testing.assert_array_equal((x < y).numpy(), a < b)
    np.testing.assert_array_equal(tg.where(x < y, x, y).numpy(), np.where(a < b, a, b))


@common
@given(shapes, shapes)
def test_shapes_that_do_not_broadcast_are_errors(s, t):
    try:
        want = np.broadcast_shapes(s, t)
    except ValueError:
        with pytest.raises((ValueError, RuntimeError)):
            tg.zeros(s) + tg.zeros(t)
    else:
        assert tuple((tg.zeros(s) + tg.zeros(t)).shape) == want


@common
@given(broadcast_pair(), seeds)
def test_gradient_of_a_broadcast_is_a_sum(pair, seed):
    a, b = arrays(seed, *pair)
    x, y = tg.tensor(a, requires_grad=True), tg.tensor(b, requires_grad=True)
    z = x + y
    z.backward(tg.ones_like(z))
    for t in (x, y):
        assert t.grad.shape == t.shape
        if t.numel():
            np.testing.assert_array_equal(t.grad.numpy(), np.full(t.shape, z.numel() // t.numel(), np.float32))


@common
@given(shapes, st.data(), seeds)
def test_reductions_over_any_axes(shape, data, seed):
    (a,) = arrays(seed, shape)
    axes = data.draw(
        st.lists(st.integers(0, max(len(shape) - 1, 0)), unique=True, min_size=1, max_size=max(len(shape), 1))
    )
    axes = tuple(i - len(shape) if data.draw(st.booleans()) and shape else i for i in axes) if shape else (0,)
    keep = data.draw(st.booleans())
    wide = a.astype(np.float64) if shape else a.astype(np.float64).reshape(1)
    want = wide.sum(axis=axes, keepdims=keep and bool(shape))
    got = tg.tensor(a).sum(dim=axes, keepdim=keep)
    assert tuple(got.shape) == (want.shape if shape else ())
    np.testing.assert_allclose(got.numpy().reshape(want.shape), want, rtol=1e-5, atol=1e-5)
    if all(wide.shape[i] for i in axes):
        top = tg.amax(tg.tensor(a), dim=axes, keepdim=keep)
        np.testing.assert_array_equal(
            top.numpy().reshape(want.shape), wide.max(axis=axes, keepdims=keep and bool(shape))
        )


@common
@given(shapes, st.data(), seeds)
def test_chains_of_views_hold_the_same_elements(shape, data, seed):
    (a,) = arrays(seed, shape)
    x = tg.tensor(a)
    for _ in range(data.draw(st.integers(1, 5))):
        kind = data.draw(st.sampled_from(["permute", "slice", "unsqueeze", "reshape", "flip", "expand"]))
        if kind == "permute":
            order = data.draw(st.permutations(range(a.ndim)))
            a, x = a.transpose(order), tg.permute(x, tuple(order))
        elif kind == "slice" and a.ndim:
            start, step = data.draw(st.integers(-3, 3)), data.draw(st.integers(1, 3))
            a, x = a[..., start::step], x[..., start::step]
        elif kind == "unsqueeze" and a.ndim < 8:
            d = data.draw(st.integers(0, a.ndim))
            a, x = np.expand_dims(a, d), x.unsqueeze(d)
        elif kind == "reshape":
            a, x = a.reshape(-1), x.reshape(-1)
        elif kind == "expand" and a.ndim < 8:
            a, x = np.broadcast_to(a, (2, *a.shape)), x.expand(2, *a.shape)
    np.testing.assert_array_equal(x.numpy(), a)
    np.testing.assert_array_equal((x + 1).numpy(), a + np.float32(1))
    np.testing.assert_array_equal(x.contiguous().numpy(), a)
    np.testing.assert_allclose(x.sum().item(), a.astype(np.float64).sum(), rtol=1e-5, atol=1e-5)


@common
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 40), st.booleans(), st.booleans(), seeds)
def test_matmul_of_any_size(m, n, k, ta, tb, seed):
    a, b = arrays(seed, (k, m) if ta else (m, k), (n, k) if tb else (k, n))
    x, y = tg.tensor(a), tg.tensor(b)
    got = (x.t() if ta else x) @ (y.t() if tb else y)
    want = (a.T if ta else a).astype(np.float64) @ (b.T if tb else b)
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-5, atol=1e-5)
