"""The example programs print the numbers their sources state."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.examples import backprop_by_hand, gradient_descent, regression

W_BY_HAND = [3.640, 0.655, 3.103, 1.096, 2.741, 1.392, 2.499, 1.591, 2.335, 1.725]


def test_regression_by_hand_and_by_tape():
    x = np.arange(1, 7, dtype=np.float32)
    hand = regression.by_hand(x, 2 * x)
    tape, _ = regression.by_tape(tg.from_numpy(x), tg.from_numpy(2 * x))
    assert [round(w, 3) for w in hand] == W_BY_HAND
    assert [round(w, 3) for w in tape] == W_BY_HAND
    np.testing.assert_allclose(tape, hand, rtol=1e-6)
    assert f"{5 * tape[-1]:.3f}" == "8.626"


def test_regression_mean_squared_error():
    x = tg.tensor([1.0, 2.0, 3.0, 4.0])
    path, losses = regression.by_tape(x, 2 * x, steps=100, mean=True)
    assert f"{path[0]:.3f} {losses[0]:.8f}" == "0.300 30.00000000"
    assert f"{path[10]:.3f} {losses[10]:.8f}" == "1.665 1.16278565"
    assert f"{path[20]:.3f} {losses[20]:.8f}" == "1.934 0.04506890"
    assert f"{path[90]:.3f}" == "2.000"


LINES = {
    1: ("125.25", "1.98", "1.02"),
    5: ("22.10", "6.66", "3.42"),
    10: ("3.38", "8.85", "4.55"),
    20: ("1.13", "9.82", "5.03"),
}


@pytest.mark.parametrize("update", [gradient_descent.sgd_update, gradient_descent.hand_update])
def test_gradient_descent(update):
    lines = gradient_descent.run(update)
    assert len(lines) == 20
    for step, (loss, a, b) in LINES.items():
        assert lines[step - 1] == f"Step {step}, Loss:  {loss}; Result: y = {a} * x + {b}"


def test_stochastic_gradient_descent():
    lines = gradient_descent.run(gradient_descent.sgd_update, batch=20)
    assert lines[0] == "Step 1, Loss:  101.19; Result: y = 3.12 * x + -1.99"
    assert lines[19] == "Step 20, Loss:  1.27; Result: y = 9.94 * x + 5.21"


@pytest.mark.parametrize("rows", [1, 20])
def test_backpropagation(rows):
    check_backpropagation((4, 6, 6, 6, 1), rows)


def test_backpropagation_through_a_large_network():
    check_backpropagation((784, 1024, 1024, 10), 32)


def check_backpropagation(sizes, rows):
    problem = backprop_by_hand.make_problem(sizes, rows)
    err, DW, Db = backprop_by_hand.by_hand(*problem)
    tape_err, GW, Gb = backprop_by_hand.by_tape(*problem, make=tg.tensor)
    assert tape_err == pytest.approx(err, rel=1e-14)
    assert backprop_by_hand.difference(GW + Gb, DW + Db) < 1e-14
    assert all(g.dtype == tg.float64 for g in GW + Gb)
    tape_err, GW, Gb = backprop_by_hand.by_tape(*problem)
    assert tape_err == pytest.approx(err, rel=1e-6)
    assert backprop_by_hand.difference(GW + Gb, DW + Db) < 1e-6
    assert all(g.dtype == tg.float32 for g in GW + Gb)


@pytest.mark.parametrize("name", ["regression", "gradient_descent", "backprop_by_hand"])
def test_examples_run_as_programs(name):
    done = subprocess.run(
        [sys.executable, "-m", f"tapegrad.examples.{name}"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    wanted = {
        "regression": "f(5) = 8.626",
        "gradient_descent": "Step 20, Loss:  1.13",
        "backprop_by_hand": "by tape, float64",
    }
    assert wanted[name] in done.stdout
