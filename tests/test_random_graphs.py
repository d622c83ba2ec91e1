"""Random expression graphs over all elementwise ops and much of the rest, against central differences."""

from __future__ import annotations

import os

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tapegrad as tg
from gradcheck import gradcheck
from op_case import is_float
from op_cases import CASES

GRAPHS = int(os.environ.get("TAPEGRAD_GRAPHS", "2000"))  # per run
TRUE_AND_FALSE = [[True, False, True]]


def into(domain, x):
    """x brought smoothly into the middle of the domain."""
    low, high = max(domain[0], -2.0), min(domain[1], 2.0)
    return low + (high - low) * (0.1 + 0.8 * (0.7 * x).sigmoid())


def of_one(case):
    return lambda x: case(tg, into(case.domain, x))


def takes_one_tensor(case) -> bool:
    sample = case.samples(np.random.RandomState(0))[0]
    return len(sample.args) == 1 and not sample.kwargs and is_float(sample.args[0])


# Functions of a 3 x 3 matrix, and of two, with such a one as result.
ELEMENTWISE = {c.name: of_one(c) for c in CASES if c.differentiable and c.domain and takes_one_tensor(c)}
MATRICES = {
    "log of a sum": lambda x: (x * x + 1).log(),
    "square root": lambda x: (x * x + 0.5).sqrt(),
    "reciprocal": lambda x: 1 / (x * x + 1),
    "softmax": lambda x: tg.softmax(x, -1),
    "log_softmax": lambda x: tg.log_softmax(x, 0),
    "centre": lambda x: x - x.mean(0, keepdim=True),
    "sum and expand": lambda x: x.sum(1, keepdim=True).expand(3, 3),
    "transpose": lambda x: x.t(),
    "shuffle": lambda x: x.reshape(9)[[0, 2, 4, 6, 8, 1, 3, 5, 7]].view(3, 3),
    "cat": lambda x: tg.cat([x[1:], x[:1]]),
    "stack": lambda x: tg.stack([x[:, 2], x[:, 0], x[:, 1]], 1),
    "product of parts": lambda x: x[:, ::2] @ x[:2] * 0.3,
    "variance": lambda x: x / (x.var() + 1),
    "norm of layers": lambda x: tg.layer_norm(x, (3,)),
    "gather": lambda x: tg.gather(x, 1, tg.tensor([[2, 0, 1], [1, 1, 0], [0, 2, 2]])),
    "written in place": lambda x: x.clone().mul_(0.5).add_(1),
    "linear": lambda x: tg.nn.functional.linear(x, x.t() * 0.3, x[0]),
    "cross-entropy": lambda x: x * tg.cross_entropy(x, tg.tensor([0, 2, 1])),
}
JOINS = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "matmul": lambda a, b: a @ b * 0.3,
    "div": lambda a, b: a / (b * b + 1),
    "row": lambda a, b: a * b[0],
    "column and row": lambda a, b: a[:, :1] + b[1],
    "where": lambda a, b: tg.where(tg.tensor(TRUE_AND_FALSE), a, b),
    "pow": lambda a, b: (a * a + 0.5) ** (b.tanh()),
    "mse_loss": lambda a, b: a * tg.mse_loss(a, b),
    "linear": lambda a, b: tg.nn.functional.linear(a, b, b[1], activation="tanh"),
}
ONE, TWO = [*ELEMENTWISE.values(), *MATRICES.values()], list(JOINS.values())
numbers = st.integers(0, 10**6)


def test_most_elementwise_ops_take_part():
    assert len(ELEMENTWISE) >= 15


@settings(deadline=None, max_examples=GRAPHS, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    st.lists(st.tuples(st.integers(0, 2), numbers, numbers, numbers), min_size=1, max_size=12),
    st.integers(0, 2**31 - 1),
)
def test_random_graphs(plan, seed):
    """Gradients of a random graph over two 3 x 3 inputs, results reused at will."""
    rng = np.random.RandomState(seed)

    def f(a, b):
        nodes = [a, b]
        for kind, op, left, right in plan:
            x, y = nodes[left % len(nodes)], nodes[right % len(nodes)]
            new = ONE[op % len(ONE)](x) if kind else TWO[op % len(TWO)](x, y)
            nodes.append(new if new.ndim else new.expand(3, 3))
        return sum(node.sum() * (0.5 ** (len(nodes) - i)) for i, node in enumerate(nodes))

    gradcheck(f, [rng.uniform(-1.5, 1.5, (3, 3)) for _ in range(2)], rtol=1e-5, atol=1e-7, full=0)
