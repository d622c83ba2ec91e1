"""Chains of elementwise instructions in a compiled function: the same bits as the eager run, in fewer instructions."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tapegrad as tg

GRAPHS = int(os.environ.get("TAPEGRAD_GRAPHS", "300"))  # random programs per run
common = settings(deadline=None, max_examples=GRAPHS, suppress_health_check=list(HealthCheck), derandomize=True)
DTYPES = [tg.float32, tg.float64, tg.int64, tg.bool]
DO_NOT_FIT = (ValueError, TypeError, IndexError, RuntimeError)  # shapes and dtypes of a random step
UNARY = ["relu", "neg", "abs", "square", "exp", "tanh", "sigmoid", "sqrt", "reciprocal", "gelu", "clone"]
BINARY = ["add", "sub", "mul", "div", "maximum", "minimum", "pow", "eq", "lt", "ge"]
IN_PLACE = ["add_", "sub_", "mul_", "copy_", "maximum_"]
SHAPES = [(0,), (1,), (), (33,), (2, 0), (1, 1), (3, 5), (7, 100), (4, 1000), (3, 2049), (1, 5000), (2, 3, 70)]


def bits(tensors):
    return [(t.dtype, tuple(t.shape), t.detach().numpy().tobytes()) for t in tensors]


def assert_same(function, make, calls=3):
    """The function gives the same bits eager and compiled, for arguments made anew by `make`; returns how many
    instructions it took."""
    want_arguments = make()
    want = bits(function(*want_arguments))
    compiled = tg.compile(function)
    for _ in range(calls):
        arguments = make()
        assert bits(compiled(*arguments)) == want
        assert bits(arguments) == bits(want_arguments)  # they may have been written in place
    ((captured,),) = compiled._programs.values()
    return captured.program.instructions


def rand(*shape, seed=0, dtype=np.float32):
    return tg.from_numpy(np.asarray(np.random.RandomState(seed).randn(*shape), dtype=dtype))


# ---- random programs

steps = st.one_of(
    st.tuples(st.sampled_from(UNARY), st.integers(0, 99)),
    st.tuples(st.sampled_from(BINARY), st.integers(0, 99), st.integers(0, 99)),
    st.tuples(st.sampled_from(BINARY), st.integers(0, 99), st.integers(0, 99)),
    st.tuples(st.sampled_from(IN_PLACE), st.integers(0, 99), st.integers(0, 99)),
    st.tuples(st.just("where"), st.integers(0, 99), st.integers(0, 99), st.integers(0, 99)),
    st.tuples(st.just("to"), st.integers(0, 99), st.sampled_from(DTYPES)),
    st.tuples(st.sampled_from(["flat", "first", "sum", "rows", "total", "half"]), st.integers(0, 99)),
)
programs = st.tuples(
    st.sampled_from(SHAPES),
    st.lists(st.sampled_from(DTYPES[:3]), min_size=2, max_size=2),
    st.lists(steps, min_size=2, max_size=14),
    st.lists(st.integers(0, 99), min_size=1, max_size=3),
)


def apply(step, values):
    name, *operands = step
    x = values[-1 - operands[0] % len(values)]  # small numbers: what was made last
    if name in UNARY:
        return getattr(x, name)()
    if name == "to":
        return x.to(operands[1])
    if name == "flat":
        return x.reshape(-1)
    if name == "first":
        return x[0]
    if name == "half":
        return x[..., : (x.shape[-1] + 1) // 2]
    if name == "sum":
        return x.sum(0)
    if name == "rows":
        return x.mean(-1, keepdim=True)
    if name == "total":
        return x.sum()
    others = [values[-1 - k % len(values)] for k in operands[1:]]
    if name == "where":
        return tg.where(x > 0, *others)
    return getattr(x, name)(*others) if name in IN_PLACE else getattr(tg, name)(x, *others)


def interpret(program, wanted):
    def function(*values):
        values = list(values)
        inputs = len(values)
        for step in program:
            with contextlib.suppress(*DO_NOT_FIT):
                values.append(apply(step, values))
        made = values[inputs:] or values
        return tuple(made[-1 - k % len(made)] for k in wanted)

    return function


def inputs_of(shape, dtypes):
    rng = np.random.RandomState(7)

    def make(shape, dtype):
        return tg.from_numpy(np.asarray(rng.randint(-3, 4, shape) * 0.75)).to(dtype)

    whole = [make(shape, dtype) for dtype in dtypes]
    row = make(shape[-1:], dtypes[0])
    column = make((*shape[:-1], 1) if shape else (), dtypes[0])
    return (row, column, make((), dtypes[1]), *whole)


@common
@given(programs)
def test_random_programs(program):
    shape, dtypes, steps, wanted = program
    with tg.no_grad():
        assert_same(interpret(steps, wanted), lambda: inputs_of(shape, dtypes), calls=2)


@common
@given(programs, st.integers(0, 10**6))
def test_random_gradients(program, seed):
    shape, _, steps, _ = program
    steps = [s for s in steps if s[0] not in IN_PLACE]

    def function(x, g):
        x.grad = None
        y = x * 1.0
        values = [x, y]
        for step in steps:
            with contextlib.suppress(*DO_NOT_FIT):
                values.append(apply(step, values))
        y = sum((v.sum() for v in values if v.dtype == tg.float32), (y * g).sum())
        y.backward()
        return y.detach(), x.grad

    x, g = rand(*shape, seed=seed % 1000).requires_grad_(), rand(*shape, seed=1)
    want = bits(function(x, g))
    compiled = tg.compile(function)
    for _ in range(3):
        assert bits(compiled(x, g)) == want


@pytest.mark.parametrize("level", tg.isa_levels())
def test_every_isa_level(level):
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-k", "random or threads", __file__],
        env={**os.environ, "TAPEGRAD_ISA": level, "TAPEGRAD_GRAPHS": "40"},
        cwd=Path(__file__).resolve().parent,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stdout + run.stderr


# ---- what becomes one chain


def gelu(x):
    return 0.5 * x * (1 + tg.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))


@pytest.mark.parametrize("shape", [(1,), (32,), (1000,), (64, 100), (40, 3001), (300, 2003)], ids=str)
def test_broadcasts_and_threads(shape):
    x, w, row, column = rand(*shape), rand(*shape, seed=1), rand(shape[-1], seed=2), rand(*shape[:-1], 1, seed=3)

    def function(x, w, row, column):
        d = (x - column) * w + row
        return tg.relu(d), tg.where(d > 0, gelu(x), row), (d * column).to(tg.float64)

    for threads in (1, 2, 3, 4):
        tg.set_num_threads(threads)
        assert assert_same(function, lambda: (x, w, row, column)) == 1


def test_streamed_outputs():
    x = rand(5_000_001)
    for threads in (1, 2):
        tg.set_num_threads(threads)
        assert assert_same(lambda x: (tg.relu(x * 2 + 1), (x > 0).to(tg.float64)), lambda: (x,)) == 1


def test_forward_and_backward_are_one():
    x, g = rand(50, 30).requires_grad_(), rand(50, 30, seed=1)

    def function(x, g):
        x.grad = None
        y = x * tg.sigmoid(x)
        y.backward(g)
        return y.detach(), x.grad

    assert assert_same(function, lambda: (x, g)) == 1


def test_in_place():
    def function(x, y):
        t = x * 2
        t.add_(y)
        x.mul_(t).sub_(1.0)
        u = tg.exp(t)
        t.copy_(u)
        return t, u, x

    with tg.no_grad():
        assert assert_same(function, lambda: (rand(40, 7), rand(40, 7, seed=1))) <= 2


def test_in_place_through_a_view_keeps_the_order():
    def function(x):
        t = x + 1
        row = t[0] * 2
        t[1].mul_(row)
        t[0].add_(t[1])
        u = t * row
        t.sub_(t[0])
        return u, t

    with tg.no_grad():
        assert_same(function, lambda: (rand(3, 50),))


def test_shifted_views_of_one_argument():
    def function(x):
        a, b = x[:-1], x[1:]
        y = a * 2
        b.add_(y)
        z = a + 1
        a.copy_(z)
        return z, y

    with tg.no_grad():
        assert_same(function, lambda: (rand(10_001),))


def test_memory_borrowed_twice():
    """Two arguments over one piece of NumPy's memory, of which the capture knows nothing."""

    def function(x, y):
        t = x * 2
        y.add_(1.0)
        return t + x, y * 1

    def make(apart):
        a = np.arange(10_001, dtype=np.float32)
        return tg.from_numpy(a[:-1] if not apart else a[:-1].copy()), tg.from_numpy(a[1:])

    with tg.no_grad():
        compiled = tg.compile(function)
        compiled(*make(True))
        for _ in range(2):
            assert bits(compiled(*make(False))) == bits(function(*make(False)))


def test_state_written_and_read():
    w = rand(100, 100)
    mean = tg.zeros(100, 100)

    def function(g):
        w.sub_(0.1 * g)
        mean.mul_(0.9).add_(w * 0.1)
        return (w * 2,)

    def run(f):
        w.copy_(rand(100, 100)), mean.zero_()
        for k in range(4):
            f(rand(100, 100, seed=k))
        return bits((w, mean))

    with tg.no_grad():
        assert run(function) == run(tg.compile(function))


def test_a_power_of_two_rows():
    """pow takes another way for a single exponent of 2; rows and columns of twos must not."""
    x, twos = tg.abs(rand(300, 400)), tg.ones(300, 1) * 2

    def function(x, column, row):
        return tg.pow(x, column) * 2, tg.pow(x, row) * 2, tg.pow(x, 2.0) * 2

    assert_same(function, lambda: (x, twos, tg.ones(400) * 2))


def test_reductions_between_chains():
    x, w, b = rand(60, 130), rand(130, seed=1), rand(130, seed=2)

    def layer_norm(x, w, b):
        d = x - x.mean(-1, keepdim=True)
        v = (d * d).mean(-1, keepdim=True)
        return (d / tg.sqrt(v + 1e-5) * w + b,)

    assert assert_same(layer_norm, lambda: (x, w, b)) == 4


@pytest.mark.parametrize("dim", [None, 0, -1, (0, 1)], ids=str)
@pytest.mark.parametrize("shape", [(7, 30), (300, 40), (40, 9001), (600_007, 1), (3, 300_011), (20_000, 30)], ids=str)
def test_sums_at_the_end(shape, dim):
    x, row = rand(*shape), rand(shape[-1], seed=1)

    def function(x, row):
        d = x * row + 1
        e = d.to(tg.float64)
        return d.mean(dim), tg.relu(d), (e * e).sum(dim), (d > 0).sum(dim)

    for threads in (1, 2, 4):
        tg.set_num_threads(threads)
        assert_same(function, lambda: (x, row), calls=2)


def test_a_sum_and_what_is_written_after_it():
    def function(x):
        t = x * 2
        a = t.sum()
        t.add_(1.0)
        b = x.mean()
        x.copy_(t)
        return a, b, t

    with tg.no_grad():
        for n in (100, 20_000, 300_000):
            assert_same(function, lambda n=n: (rand(n),))


def test_more_than_a_chain_can_hold():
    x = rand(5000)

    def function(x):
        values = [x * float(k) for k in range(40)]
        total = values[0]
        for v in values[1:]:
            total = tg.tanh(total + v)
        return total, *values[::7]

    assert assert_same(function, lambda: (x,)) < 40
