"""Writes the results of every op case, forward and gradient, to an .npz: `python dump_ops.py OUT.npz`.

test_isa.py runs it once per ISA level, with TAPEGRAD_ISA set.
"""

from __future__ import annotations

import sys

import numpy as np

import tapegrad as tg
from op_case import flat, in_dtype, leaves_in, tensors
from op_cases import CASES


def results(case, sample):
    """Outputs of one call and, where there are any, the gradients for a fixed incoming gradient."""
    args = tensors(tg, sample.args, requires_grad=case.differentiable)
    outputs = flat(case(tg, *args, **sample.kwargs))
    arrays = [o.detach().numpy() for o in outputs]
    graded = [o for o in outputs if o.requires_grad]
    leaves = [t for t in leaves_in(tg, args) if t.requires_grad]
    if graded and sample.grad:
        rng = np.random.RandomState(7)
        seeds = [tg.tensor(np.asarray(rng.uniform(0.5, 1.5, tuple(o.shape)))).to(o.dtype) for o in graded]
        arrays += [g.detach().numpy() for g in tg._core.grad(graded, leaves, seeds)]
    return arrays


def calls(case):
    """(name, sample) of every call: samples, special values, integers."""
    rng = np.random.RandomState(99)
    groups = {"sample": case.samples, "special": case.specials, "integer": case.integers}
    for kind, make in groups.items():
        for k, sample in enumerate(make(rng) if make else []):
            for dtype in ("float32", "float64") if kind != "integer" else ("float32",):
                with np.errstate(over="ignore"):
                    yield f"{case.name}/{kind}{k}/{dtype}", in_dtype(sample, dtype), kind


def dump(path: str) -> None:
    out = {}
    for case in CASES:
        for name, sample, kind in calls(case):
            if kind != "sample":
                sample = type(sample)(sample.args, sample.kwargs, grad=False)
            for k, array in enumerate(results(case, sample)):
                out[f"{name}/{k}"] = array
    out["active"] = np.array(tg.active_isa())
    np.savez(path, **out)


if __name__ == "__main__":
    dump(sys.argv[1])
