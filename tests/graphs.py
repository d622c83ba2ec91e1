"""What the tests of graphs share: leaves, comparison, a Function in a cycle, programs run in a process of their own."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

import tapegrad as tg
from tapegrad.autograd import Function


def leaf(values, dtype="float64") -> tg.Tensor:
    return tg.tensor(np.array(values, dtype=dtype)).requires_grad_()


def same(tensor, values) -> None:
    """Asserts that a tensor holds these values to the precision of float64."""
    values = values.detach() if isinstance(values, tg.Tensor) else values
    np.testing.assert_allclose(tensor.detach().numpy(), values, rtol=1e-12)


class Keep(Function):
    """Twice the argument; keeps the result, which refers to it, on ctx."""

    @staticmethod
    def forward(ctx, x):
        ctx.result = x * 2
        return ctx.result

    @staticmethod
    def backward(ctx, g):
        return g * 2


def run_apart(program: str) -> str:
    """Runs a program in an interpreter of its own, asserts that it ends well and silently; what it printed."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
