"""Gradients of every op: first and second against central differences, layouts, broadcasting, conventions."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from gradcheck import gradcheck, gradgradcheck
from op_case import (
    LAYOUTS,
    Case,
    Sample,
    arrays_in,
    flat,
    in_dtype,
    in_layout,
    is_float,
    leaves_in,
    map_arrays,
    tensors,
)
from op_cases import CASES

DIFFERENTIABLE = [c for c in CASES if c.differentiable]
# Where there is nothing to do these return the tensor they were given, which may be a leaf.
MAY_RETURN_ITSELF = (
    "contiguous", "to", "dropout", "alpha_dropout", "t", "atleast_1d", "atleast_2d", "atleast_3d",
)  # fmt: skip
by_name = pytest.mark.parametrize("case", DIFFERENTIABLE, ids=lambda c: c.name)


def closed(case: Case, sample: Sample):
    """(f, arrays): the op as a function of its float inputs alone."""
    arrays = [a for a in arrays_in(sample.args) if is_float(a)]

    def f(*floats):
        supply = iter(floats)
        args = map_arrays(lambda a: next(supply) if is_float(a) else tg.tensor(a), sample.args)
        return case(tg, *args, **sample.kwargs)

    return f, arrays


def grad_samples(case, rng, limit=10_000):
    return [s for s in case.samples(rng) if s.grad and sum(a.size for a in arrays_in(s.args)) <= limit]


@by_name
def test_gradient(case, rng):
    for sample in grad_samples(case, rng):
        gradcheck(*closed(case, sample))


@pytest.mark.parametrize("case", [c for c in DIFFERENTIABLE if not c.flat], ids=lambda c: c.name)
def test_second_gradient(case, rng):
    for sample in grad_samples(case, rng, limit=60):
        gradgradcheck(*closed(case, sample))


def backward(case: Case, args, kwargs, seeds=None):
    """(results with a gradient, gradients of the float inputs) after backward with the seeds, or with ones."""
    leaves = [t for t in leaves_in(tg, args) if t.requires_grad]
    outputs = [r for r in flat(case(tg, *args, **kwargs)) if r.requires_grad]
    seeds = seeds or [tg.ones_like(o) for o in outputs]
    return outputs, [np.array(g.numpy()) for g in tg._core.grad(outputs, leaves, seeds)]


@pytest.mark.parametrize("layout", LAYOUTS)
@by_name
def test_incoming_gradient_layouts(case, layout, rng):
    """The gradient that comes in may have any strides."""
    for sample in grad_samples(case, rng, limit=300):
        args = tensors(tg, in_dtype(sample, "float64").args, requires_grad=True)
        outputs, _ = backward(case, args, sample.kwargs)
        pairs = [in_layout(tg, np.asarray(rng.uniform(0.5, 1.5, tuple(o.shape))), layout) for o in outputs]
        _, got = backward(case, args, sample.kwargs, [t for t, _ in pairs])
        _, want = backward(case, args, sample.kwargs, [tg.tensor(a) for _, a in pairs])
        for g, w in zip(got, want, strict=True):
            np.testing.assert_allclose(g, w, rtol=1e-13, atol=1e-13, err_msg=f"{case.name} {layout} {sample.kwargs}")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", [c for c in DIFFERENTIABLE if c.layouts], ids=lambda c: c.name)
def test_gradient_of_layouts(case, layout, rng):
    """Inputs of any strides have the gradients that contiguous ones have."""
    for sample in grad_samples(case, rng, limit=300):
        if not sample.args or all(a.ndim == 0 for a in arrays_in(sample.args)):
            continue
        values = map_arrays(lambda a: in_layout(tg, a, layout)[1], sample.args)
        _, want = backward(case, tensors(tg, values, requires_grad=True), sample.kwargs)

        def strided(a):
            t = in_layout(tg, a, layout)[0]
            return t.detach().requires_grad_() if is_float(a) else t

        _, got = backward(case, map_arrays(strided, sample.args), sample.kwargs)
        for g, w in zip(got, want, strict=True):
            np.testing.assert_allclose(g, w, rtol=1e-12, atol=1e-12, err_msg=f"{case.name} {layout} {sample.kwargs}")


@by_name
def test_float32_gradient(case, rng):
    """float32 gradients have dtype and shape of their inputs and agree with those in float64."""
    for sample in grad_samples(case, rng):
        narrow = in_dtype(sample, "float32")
        wide = Sample(map_arrays(lambda a: a.astype("float64") if is_float(a) else a, narrow.args), sample.kwargs)
        args = tensors(tg, narrow.args, requires_grad=True)
        shapes = [tuple(o.shape) for o in flat(case(tg, *args, **sample.kwargs)) if o.requires_grad]
        seeds = [np.asarray(rng.uniform(0.5, 1.5, s)) for s in shapes]
        _, want = backward(
            case, tensors(tg, wide.args, requires_grad=True), sample.kwargs, [tg.tensor(s) for s in seeds]
        )
        dtype = "float64" if case.result == "float64" else "float32"
        _, got = backward(case, args, sample.kwargs, [tg.tensor(s.astype(dtype)) for s in seeds])
        for g, w, a in zip(got, want, [a for a in arrays_in(narrow.args) if is_float(a)], strict=True):
            assert g.dtype == np.float32
            assert g.shape == a.shape
            top = float(np.max(np.abs(w), initial=1e-3))
            np.testing.assert_allclose(g, w, rtol=2e-5, atol=1e-5 * top, err_msg=f"{case.name} {sample.kwargs}")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", [c for c in CASES if c.gradient_at], ids=lambda c: c.name)
def test_gradient_conventions(case, dtype):
    """Kinks, ties, poles and nan: what PyTorch gives there."""
    for values in case.gradient_at:
        count = len(values) // 2
        args = [tg.tensor(np.array(v, dtype=dtype)).requires_grad_() for v in values[:count]]
        _, got = backward(case, args, {})
        for g, w in zip(got, values[count:], strict=True):
            np.testing.assert_allclose(g, np.array(w, dtype=dtype), rtol=1e-6, atol=1e-80, err_msg=case.name)


@by_name
def test_only_what_is_asked(case, rng):
    """Each float input alone may require a gradient; the others get none."""
    sample = grad_samples(case, rng)[0]
    floats = [k for k, a in enumerate(arrays_in(sample.args)) if is_float(a)]
    for asked in floats:
        position = iter(range(100))
        args = map_arrays(
            lambda a, position=position, asked=asked: tg.tensor(a).requires_grad_(next(position) == asked), sample.args
        )
        for output in flat(case(tg, *args, **sample.kwargs)):
            if output.requires_grad:
                output.sum().backward()
                break
        has = [t.grad is not None for t in leaves_in(tg, args)]
        assert has == [k == asked for k in range(len(has))], case.name


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_requires_grad_of_results(case, rng):
    """Float results of a differentiable op require a gradient when an input does, nothing does under no_grad."""
    for sample in [s for s in case.samples(rng) if s.grad][:3]:
        args = tensors(tg, sample.args, requires_grad=True)
        results = flat(case(tg, *args, **sample.kwargs))
        for k, r in enumerate(results):
            wanted = case.differentiable and r.is_floating_point()
            assert r.requires_grad == wanted, f"{case.name} output {k}"
            assert (r.grad_fn is not None) == wanted or case.name in MAY_RETURN_ITSELF
        with tg.no_grad():
            for r in flat(case(tg, *args, **sample.kwargs)):
                assert not r.requires_grad or any(r is a for a in leaves_in(tg, args)), case.name
