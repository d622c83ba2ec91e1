"""Deferred expressions: values, gradients, fit with its numbers, and that evaluating again is a replay."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

import tapegrad as tg
from captured import counted
from tapegrad.examples.expressions import POINTS, line, parabola
from tapegrad.expr import Divide, Expr, Minus, Multiply, Negative, Plus, Power, V, fit


def gradients(e, *variables):
    e.zero_gradient()
    e.compute()
    e.compute_gradient()
    return [v.gradient for v in variables]


def test_values():
    assert (V(3) + 4).compute() == 7
    assert ((V(2) + 3) * V(4)).compute() == 20
    vx, vw, vz = V(1), V(3), V(4)
    e = (vx + vw) * (vz + 3)
    assert e.compute() == 28
    assert gradients(e, vx, vw, vz) == [7, 7, 4]
    assert (e.value, e.values, e.children[0].values, e.gradient) == (28, [4, 7], [1, 3], 1)
    assert type(e.value) is type(vx.gradient) is float


def test_gradients():
    x = V(2)
    assert gradients(x * x, x) == [4]
    a, b = V(6), V(2)
    e = a / b
    assert gradients(e, a, b) == [0.5, -1.5]
    assert (e.value, e.derivate()) == (3, [0.5, -1.5])
    a, b = V(2), V(3)
    assert gradients(a**b, a, b) == [12, pytest.approx(8 * math.log(2), rel=1e-15)]
    assert (a**b).compute() == 8
    a = V(6)
    assert (-a).compute() == -6
    assert gradients(-a, a) == [-1]


def test_all_operators():
    x = V(2)
    table = {
        Plus: [(x + 3, 5, 1), (3 + x, 5, 1), (np.float64(3) + x, 5, 1)],
        Minus: [(x - 3, -1, 1), (3 - x, 1, -1), (np.float32(3) - x, 1, -1)],
        Multiply: [(x * 3, 6, 3), (3 * x, 6, 3)],
        Divide: [(x / 4, 0.5, 0.25), (4 / x, 2, -1)],
        Power: [(x**3, 8, 12), (3**x, 9, 9 * math.log(3))],
        Negative: [(-x, -2, -1)],
    }
    for kind, rows in table.items():
        for e, value, gradient in rows:
            assert type(e) is kind
            assert e.compute() == value
            assert gradients(e, x) == [pytest.approx(gradient, rel=1e-15)]


def test_value_is_stale_until_the_next_compute():
    x = V(1)
    e = x + 1
    e.compute()
    x.assign(5)
    assert (x.value, e.value) == (1, 2)
    assert e.compute() == 6
    assert x.value == 5
    assert x.compute() == 5
    x.compute_gradient(3)
    assert x.gradient == 3


def test_gradients_add_up():
    x = V(3)
    e = x * x
    for k in range(1, 4):
        e.compute()
        e.compute_gradient(2)
        assert (x.gradient, e.gradient) == (12 * k, 2 * k)
    e.zero_gradient()
    assert (x.gradient, e.gradient) == (0, 0)
    with pytest.raises(RuntimeError, match="call compute"):
        (x * x).compute_gradient()


def test_a_node_of_two_expressions():
    """compute_gradient() of one is about what its own compute() saw."""
    x = V(1)
    square, cube = x * x, x * x * x
    square.compute()
    x.assign(10)
    cube.compute()
    square.compute_gradient()
    assert x.gradient == 2
    cube.compute_gradient()
    assert x.gradient == 302
    inner = cube.children[0]
    inner.compute_gradient()  # a part of what was computed
    assert x.gradient == 322


def test_shared_parts_and_long_chains():
    e = x = V(1)
    for _ in range(60):
        e = e + e
    assert e.compute() == 2**60
    assert gradients(e, x) == [2**60]
    e = x
    for _ in range(3000):
        e = e + 1
    assert e.compute() == 3001
    assert gradients(e, x) == [1]


def test_numbers_at_the_edge():
    """As in IEEE arithmetic, where Python's floats would raise."""
    x, zero = V(1e300), V(0)
    assert (x**2).compute() == math.inf
    assert (x / zero).compute() == math.inf
    assert math.isnan((zero / zero).compute())
    x = V(-3)
    assert gradients(x**2, x) == [-6]
    x, y = V(0), V(2)
    assert gradients(x**y, x, y) == [0, 0]


@pytest.mark.parametrize("value", ["1", None, [1], 1j, tg.tensor(1.0)])
def test_what_is_no_number(value):
    with pytest.raises(TypeError, match="expected a number"):
        V(value)
    with pytest.raises(TypeError):
        V(1) + value
    with pytest.raises(TypeError):
        V(1).assign(value)


class Sin(Expr):
    def op(self):
        return tg.sin(self.values[0])


class Exp(Expr):
    """With a derivative written out, by `value`."""

    def op(self):
        return np.exp(self.values[0])

    def derivate(self):
        return [self.value]


def test_classes_of_ones_own():
    x = V(0)
    e = Exp(Sin(x) * 2)
    for number in (0.0, 0.5, -1.25):
        x.assign(number)
        assert e.compute() == pytest.approx(math.exp(2 * math.sin(number)), rel=1e-15)
        expected = math.exp(2 * math.sin(number)) * 2 * math.cos(number)
        assert gradients(e, x) == [pytest.approx(expected, rel=1e-15)]
    with pytest.raises(NotImplementedError, match="Expr"):
        Expr(x).compute()


class Half(Expr):
    """A node without children."""

    def op(self):
        return 0.5


def test_a_constant_of_ones_own():
    x, half = V(3), Half()
    e = half * x
    assert e.compute() == 1.5
    assert gradients(e, x, half) == [0.5, 3]
    assert half.value == 0.5


class MathSin(Expr):
    def op(self):
        return math.sin(self.values[0])

    def derivate(self):
        return [math.cos(self.values[0])]


def test_functions_of_floats_run_uncaptured():
    x = V(0)
    e = MathSin(x) + 1
    with pytest.warns(RuntimeWarning, match="runs uncompiled"):
        for number in (0.0, 0.5, -1.25):
            x.assign(number)
            assert e.compute() == math.sin(number) + 1
            assert gradients(e, x) == [math.cos(number)]


def test_evaluating_again_is_a_replay(monkeypatch):
    op, derivate = counted(Multiply.op), counted(Expr.derivate)
    monkeypatch.setattr(Multiply, "op", op)
    monkeypatch.setattr(Expr, "derivate", derivate)
    x, y = V(1), V(2)
    e = x * y
    for k in range(10):
        x.assign(k)
        assert e.compute() == 2 * k
        assert gradients(e, x, y) == [2, k]
    assert derivate.runs == 1
    assert op.runs == 2  # for the value and for the derivative


# fit


def test_fit_parabola():
    loss, inputs, params = parabola()
    reports = {}
    last = fit(loss, POINTS, params, inputs=inputs, report=reports.__setitem__)
    assert last == pytest.approx(2.096314520528721, rel=1e-12)
    assert list(reports) == list(range(100, 4001, 100))
    assert reports[100] == pytest.approx(15.691480263172831, rel=1e-14)
    assert reports[4000] == last
    assert [p.value for p in params] != [p._assigned for p in params]  # the last update came after the loss


def test_fit_line(capsys):
    loss, inputs, params = line()
    last = fit(loss, zip(*zip(*POINTS, strict=True), strict=True), params, inputs=inputs)
    assert last == pytest.approx(10.960358128998926, rel=1e-12)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 40
    assert lines[-1] == f"iteration 4000: loss {last}"


def test_fit_says_that_it_diverges():
    loss, inputs, params = parabola()
    reports = {}
    with pytest.warns(RuntimeWarning, match=r"the loss is inf after 119 updates: .*below 0\.01") as caught:
        last = fit(loss, POINTS, params, delta=0.01, num_iterations=1000, inputs=inputs, report=reports.__setitem__)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert math.isnan(last)
    assert reports[100] > 1e250
    assert all(not math.isfinite(reports[k]) for k in range(200, 1001, 100))


def test_fit_takes_a_number_for_every_input():
    loss, inputs, params = parabola()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError):
            fit(loss, [(1, 2, 3)], params, inputs=inputs)
    assert math.isnan(fit(loss, POINTS, params, num_iterations=0, inputs=inputs))
