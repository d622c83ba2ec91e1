"""Gradients against central differences in float64: element by element when small, along random directions when not."""

from __future__ import annotations

import numpy as np

import tapegrad as tg

STEP = 1e-5  # the error of a central difference is about f''' * 1e-10 from the step and 1e-11 from rounding
FULL = 40
RTOL, ATOL = 1e-6, 1e-8


def _outputs(result) -> list:
    """The outputs that carry a gradient."""
    results = result if isinstance(result, (tuple, list)) else [result]
    return [r for r in results if r.requires_grad]


def _values(result) -> list[np.ndarray]:
    """The float outputs as arrays."""
    results = result if isinstance(result, (tuple, list)) else [result]
    arrays = [r.detach().numpy() for r in results]
    return [a.copy() for a in arrays if a.dtype.kind == "f"]


def gradients(f, arrays, cotangents=None):
    """Gradients of sum(cotangent * output) for each array; f takes one tensor for each array."""
    leaves = [tg.tensor(a).requires_grad_() for a in arrays]
    outputs = _outputs(f(*leaves))
    if not outputs:
        raise AssertionError("no output requires a gradient")
    seeds = None if cotangents is None else [tg.tensor(c) for c in cotangents]
    got = tg._core.grad(outputs, leaves, seeds, allow_unused=True)
    return [np.zeros_like(a) if g is None else g.detach().numpy().copy() for g, a in zip(got, arrays, strict=True)]


def gradcheck(f, arrays, *, seed: int = 0, rtol: float = RTOL, atol: float = ATOL, full: int = FULL) -> None:
    """Raises AssertionError unless the gradients of f at the float64 arrays agree with central differences.

    One random cotangent v stands for all outputs: the number differentiated is sum(v * f(x)). Inputs of at most `full`
    elements are checked element by element, larger ones along three random directions.
    """
    rng = np.random.RandomState(seed)
    arrays = [np.array(a, dtype=np.float64) for a in arrays]
    with tg.no_grad():
        cotangents = [np.asarray(rng.uniform(0.5, 1.5, v.shape)) for v in _values(f(*map(tg.tensor, arrays)))]
    got = gradients(f, arrays, cotangents)
    for g, a in zip(got, arrays, strict=True):
        assert g.shape == a.shape, f"gradient of shape {g.shape} for an input of shape {a.shape}"
        assert g.dtype == np.float64, f"gradient of dtype {g.dtype} for a float64 input"

    def projected(points) -> float:
        with tg.no_grad():
            values = _values(f(*map(tg.tensor, points)))
        return float(sum(np.sum(v * c) for v, c in zip(values, cotangents, strict=True)))

    def slope(k: int, direction: np.ndarray) -> float:
        ends = []
        for sign in (1, -1):
            moved = list(arrays)
            moved[k] = arrays[k] + sign * STEP * direction
            ends.append(projected(moved))
        return (ends[0] - ends[1]) / (2 * STEP)

    scale = max(1.0, abs(projected(arrays)))
    for k, a in enumerate(arrays):
        if a.size <= full:
            basis = np.eye(a.size).reshape(a.size, *a.shape)
            want = np.array([slope(k, e) for e in basis]).reshape(a.shape)
            have = got[k]
        else:
            directions = rng.uniform(-1, 1, (3, *a.shape))
            want = np.array([slope(k, u) for u in directions])
            have = np.array([np.sum(got[k] * u) for u in directions])
        np.testing.assert_allclose(have, want, rtol=rtol, atol=atol * scale, err_msg=f"gradient of input {k}")


def gradgradcheck(f, arrays, *, seed: int = 0, rtol: float = 1e-5, atol: float = 1e-7) -> None:
    """The same for the gradient as a function of the inputs and the incoming gradients."""
    arrays = [np.array(a, dtype=np.float64) for a in arrays]
    rng = np.random.RandomState(seed + 1)
    with tg.no_grad():
        shapes = [v.shape for v in _values(f(*map(tg.tensor, arrays)))]
    cotangents = [np.asarray(rng.uniform(0.5, 1.5, s)) for s in shapes]
    n = len(arrays)

    def first(*tensors):
        leaves = [t if t.requires_grad else t.detach().requires_grad_() for t in tensors[:n]]
        outputs = _outputs(f(*leaves))
        with tg.enable_grad():
            grads = tg._core.grad(outputs, leaves, list(tensors[n:]), create_graph=True, allow_unused=True)
        return tuple(g for g in grads if g is not None)

    def value(*tensors):
        with tg.enable_grad():
            return first(*tensors)

    gradcheck(value, arrays + cotangents, seed=seed, rtol=rtol, atol=atol)
