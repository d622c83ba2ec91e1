"""Every op, captured and replayed, against eager: the same bits, forward and backward, layouts, integers, nan."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from captured import compiled, exactly
from op_case import LAYOUTS, Case, Sample, arrays_in, flat, in_dtype, in_layout, is_float, map_arrays
from op_cases import CASES

by_name = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
CALLS = 3  # the first captures, the others replay


def of_tensors(case: Case, sample: Sample):
    """The op as a function of the sample's tensors alone; the other arguments stay."""

    def run(*given):
        supply = iter(given)
        return case(tg, *map_arrays(lambda _: next(supply), sample.args), **sample.kwargs)

    return run


def with_gradient(function, seeds):
    """The function's results and the gradients of its arguments that require one."""

    def run(*given):
        results = flat(function(*given))
        outputs = [r for r in results if r.requires_grad]
        leaves = [t for t in given if t.requires_grad]
        return results, list(tg.autograd.grad(outputs, leaves, seeds, allow_unused=True))

    return run


def rounds(case: Case, kind: str = "samples"):
    """For each sample of the case: itself with the values of several draws."""
    draws = [getattr(case, kind)(np.random.RandomState(seed)) for seed in range(CALLS)]
    return [versions for versions in zip(*draws, strict=True) if not case.reads_values(versions[0])]


def check(case: Case, function, calls, what: str) -> None:
    """Eager and compiled over the calls' arguments."""
    replayed, inner = compiled(function)
    for k, given in enumerate(calls):
        exactly(replayed(*given), function(*given), f"{case.name} {what} call {k + 1}")
    assert inner.runs == 1, f"{case.name} {what} was captured {inner.runs} times"


def given(sample: Sample, requires_grad: bool = False):
    made = [tg.tensor(a) for a in arrays_in(sample.args)]
    return [t.requires_grad_() if requires_grad and t.is_floating_point() else t for t in made]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@by_name
def test_forward(case, dtype):
    for versions in rounds(case):
        versions = [in_dtype(s, dtype) for s in versions]
        check(case, of_tensors(case, versions[0]), [given(s) for s in versions], f"{dtype} {versions[0].kwargs}")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", [c for c in CASES if c.differentiable], ids=lambda c: c.name)
def test_backward(case, dtype, rng):
    for versions in rounds(case):
        versions = [in_dtype(s, dtype) for s in versions]
        calls = [given(s, requires_grad=True) for s in versions]
        function = of_tensors(case, versions[0])
        outputs = [r for r in flat(function(*calls[0])) if r.requires_grad]
        seeds = [tg.tensor(np.asarray(rng.uniform(-1, 1, r.shape))).to(r.dtype) for r in outputs]
        check(case, with_gradient(function, seeds), calls, f"gradient {dtype} {versions[0].kwargs}")


@pytest.mark.parametrize("case", [c for c in CASES if c.integers], ids=lambda c: c.name)
def test_integers(case):
    for versions in rounds(case, "integers"):
        what = f"of {[a.dtype for a in arrays_in(versions[0].args)]}"
        check(case, of_tensors(case, versions[0]), [given(s) for s in versions], what)


@pytest.mark.parametrize("case", [c for c in CASES if c.specials], ids=lambda c: c.name)
def test_special_values(case):
    for versions in rounds(case, "specials"):
        with np.errstate(over="ignore"):
            versions = [in_dtype(s, "float32") for s in versions]
        check(case, of_tensors(case, versions[0]), [given(s) for s in versions], "special values")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", [c for c in CASES if c.layouts], ids=lambda c: c.name)
def test_layouts(case, layout):
    """Arguments of any strides, and constants of any strides beside them."""
    for versions in rounds(case)[:6]:
        calls = [[in_layout(tg, a.astype("float32") if is_float(a) else a, layout)[0] for a in arrays_in(s.args)]
                 for s in versions]  # fmt: skip
        check(case, of_tensors(case, versions[0]), calls, f"{layout} {versions[0].kwargs}")


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_results_that_depend_on_values_are_refused(case, rng):
    """No program can have a result whose shape another call would change: an error that names the line."""
    for sample in case.samples(rng):
        if case.reads_values(sample):
            with pytest.raises(tg.CaptureError, match=r"op_case\w*\.py:\d+"):
                tg.compile(of_tensors(case, sample))(*given(sample))
