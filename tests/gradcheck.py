"""autograd.gradcheck with the tolerances of the op tests: every element where there are few, a direction where many."""

from __future__ import annotations

import numpy as np

import tapegrad as tg
from tapegrad import autograd

STEP = 1e-5  # the error of a central difference is about f''' * 1e-10 from the step and 1e-11 from rounding
FULL = 40


def _check(check, f, arrays, rtol, atol, full):
    leaves = tuple(tg.tensor(np.array(a, dtype=np.float64)).requires_grad_() for a in arrays)
    results = f(*leaves)
    results = results if isinstance(results, (tuple, list)) else [results]
    values = [r.detach().numpy() for r in results if r.dtype is tg.float64]
    scale = max([1.0, *(float(np.sum(np.abs(v))) for v in values)])
    fast = max(a.detach().numel() for a in [*leaves, *results]) > full
    check(f, leaves, eps=STEP, rtol=rtol, atol=atol * scale, fast_mode=fast)


def gradcheck(f, arrays, *, rtol: float = 1e-6, atol: float = 1e-8, full: int = FULL) -> None:
    """Raises GradcheckError unless the gradients of f at the float64 arrays agree with central differences."""
    _check(autograd.gradcheck, f, arrays, rtol, atol, full)


def gradgradcheck(f, arrays, *, rtol: float = 1e-5, atol: float = 1e-7, full: int = FULL) -> None:
    """The same for the gradient as a function of the inputs and the incoming gradients."""
    _check(autograd.gradgradcheck, f, arrays, rtol, atol, full)
