"""The steps of the example programs of "Dive into Deep Learning", captured and replayed, against eager."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from captured import compiled, exactly
from tapegrad.examples import fashion_mnist, linear_regression, optimizers
from test_compile_training import features

STEPS = 10


def both(make, batches, most_runs=2):
    """make() -> (step, the tensors it trains): the same results and values, eager and compiled, after every batch."""
    results = []
    for capture in (False, True):
        tg.manual_seed(0)
        np.random.seed(0)
        step, params = make()
        inner = None
        if capture:
            step, inner = compiled(step)
        results.append([(step(*batch), [p.detach().clone() for p in params]) for batch in batches])
    exactly(results[1], results[0])
    assert inner.runs <= most_runs


@pytest.mark.parametrize("name", fashion_mnist.PROGRAMS)
def test_fashion_mnist(name):
    """Parameters changed by `param.data -= ...`, their gradients zeroed by `.grad.data.zero_()`."""

    def make():
        program = fashion_mnist.PROGRAMS[name]()
        return fashion_mnist.make_step(program, 32), program.params or list(program.net.parameters())

    labels = [tg.randint(0, 10, (32,), generator=tg.Generator().manual_seed(k)) for k in range(STEPS)]
    images = [features(32, 784, k).sigmoid().view(32, 1, 28, 28) for k in range(STEPS)]
    both(make, list(zip(images, labels, strict=True)), most_runs=3)


@pytest.mark.parametrize("kind", ["from scratch", *linear_regression.NETS])
def test_linear_regression(kind):
    def make():
        if kind != "from scratch":
            net = linear_regression.NETS[kind](2)
            return linear_regression.concise_step(net), list(net.parameters())
        w, b = tg.zeros(2, 1, requires_grad=True), tg.zeros(1, requires_grad=True)
        return linear_regression.scratch_step(w, b), [w, b]

    X, y = linear_regression.make_data(10 * STEPS)
    both(make, [(X[k : k + 10], y[k : k + 10]) for k in range(0, 10 * STEPS, 10)], most_runs=3)


@pytest.mark.parametrize("name", optimizers.RULES)
def test_optimizers(name):
    """A step without arguments."""

    def make():
        x = tg.tensor(optimizers.START, dtype=tg.float64, requires_grad=True)
        return optimizers.tape_step(x, optimizers.RULES[name].by_optim([x])), [x]

    both(make, [()] * STEPS)
