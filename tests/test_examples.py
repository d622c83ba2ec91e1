"""The example programs print the numbers their sources state."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.examples import (
    backprop_by_hand,
    fashion_mnist,
    gradient_descent,
    linear_regression,
    optimizers,
    regression,
)

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


@pytest.mark.parametrize("kind", ["from scratch", *linear_regression.NETS])
def test_linear_regression(kind):
    random.seed(0)
    np.random.seed(0)
    features, labels = linear_regression.make_data()
    if kind == "from scratch":
        losses, w, b = linear_regression.from_scratch(features, labels)
    else:
        losses, w, b = linear_regression.concise(features, labels, kind)
    assert len(losses) == 3
    assert losses[-1] < 0.001
    np.testing.assert_allclose(w, linear_regression.TRUE_W, atol=0.01)
    assert b == pytest.approx(linear_regression.TRUE_B, abs=0.01)


@pytest.mark.parametrize("name", optimizers.RULES)
def test_optimizers(name):
    """By hand and by torch.optim the same; the book prints where plain descent and momentum end."""
    rule = optimizers.RULES[name]
    hand, optim = optimizers.path_by_hand(rule.by_hand), optimizers.path_by_optim(rule.by_optim)
    assert hand.shape == optim.shape == (21, 2)
    np.testing.assert_allclose(optim, hand, rtol=1e-9, atol=1e-12)
    end = {
        "gradient descent, lr 0.4": "-0.943467 -0.000073",
        "momentum 0.5, lr 0.4": "-0.062843 0.001202",
        "momentum 0.5, lr 0.6": "0.007188 0.002553",
    }
    for path in (hand, optim):
        assert f"{path[-1][0]:f} {path[-1][1]:f}" == end.get(name, f"{hand[-1][0]:f} {hand[-1][1]:f}")


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", fashion_mnist.PROGRAMS)
def test_fashion_mnist_small(name, compiled, capsys):
    """Images that are easily told apart: class k has bright rows from 2 k on."""
    labels = tg.arange(1000) % 10
    images = tg.rand(1000, 1, 28, 28) * 0.2
    for image, label in zip(images, labels.tolist(), strict=True):
        image[0, 2 * label : 2 * label + 4] += 0.8
    data = tg.utils.data.TensorDataset(images, labels)
    loaders = [tg.utils.data.DataLoader(data, 256, shuffle=shuffle) for shuffle in (True, False)]
    history = fashion_mnist.run(name, *loaders, num_epochs=15, compiled=compiled)
    assert history[-1][0] < history[0][0] / 2
    assert history[-1][1:] == (1, 1)
    assert capsys.readouterr().out.splitlines()[-1].startswith("epoch 15, loss 0.")


# As the book prints them: train loss, train accuracy, and the last test accuracy.
FASHION_MNIST = {
    "softmax_from_scratch": ([0.7878, 0.5702, 0.5252, 0.5010, 0.4858], [0.749, 0.814, 0.827, 0.833, 0.836], 0.815),
    "softmax_concise": ([0.0031, 0.0022, 0.0021, 0.0020, 0.0019], [0.748, 0.813, 0.824, 0.833, 0.837], 0.806),
    "mlp_from_scratch": ([0.0030, 0.0019, 0.0017, 0.0015, 0.0014], [0.714, 0.821, 0.842, 0.857, 0.865], 0.845),
    "mlp_concise": ([0.0031, 0.0019, 0.0016, 0.0015, 0.0014], [0.703, 0.824, 0.845, 0.855, 0.865], 0.846),
}


@pytest.fixture(scope="module")
def fashion_mnist_batches(data_root):
    if not (data_root / "fashion-mnist").is_dir():
        pytest.skip(f"{data_root / 'fashion-mnist'} is not there")
    return fashion_mnist.load_data_fashion_mnist(data_root)


@pytest.mark.slow
@pytest.mark.parametrize("name", FASHION_MNIST)
def test_fashion_mnist(name, fashion_mnist_batches):
    """Losses within 2% and half a printed digit, accuracies from epoch 2 on within .005, the last test within .03."""
    losses, accuracies, test_accuracy = FASHION_MNIST[name]
    history = fashion_mnist.run(name, *fashion_mnist_batches, seed=11)  # the book's runs have none
    np.testing.assert_allclose([loss for loss, _, _ in history], losses, rtol=0.02, atol=0.00005)
    np.testing.assert_allclose([accuracy for _, accuracy, _ in history][1:], accuracies[1:], atol=0.005)
    assert history[-1][2] == pytest.approx(test_accuracy, abs=0.03)


@pytest.mark.parametrize(
    "name", ["regression", "gradient_descent", "backprop_by_hand", "linear_regression", "optimizers", "expressions"]
)
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
        "expressions": "parabola: 0.2677, 0.0945, 1.9726, sum of squared errors 2.09631452052",
        "linear_regression": "the points were made from w = [2, -3.4]",
        "optimizers": "-0.943467   -0.000073    -0.943467   -0.000073",
    }
    assert wanted[name] in done.stdout


def run_fashion_mnist(*args):
    command = [sys.executable, "-m", "tapegrad.examples.fashion_mnist", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_fashion_mnist_runs_as_a_program(data_root):
    done = run_fashion_mnist("--data", data_root, "--epochs", 1, "--compile", "softmax_concise")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("softmax_concise\nepoch 1, loss 0.0031, train acc 0.7")


def test_fashion_mnist_names_what_is_missing(tmp_path):
    done = run_fashion_mnist("--data", tmp_path)
    assert done.returncode == 2
    assert "train-images-idx3-ubyte[.gz]" in done.stderr
    done = run_fashion_mnist("--data", tmp_path, "cnn")
    assert done.returncode == 2
    assert "no program cnn; choose of softmax_from_scratch" in done.stderr
