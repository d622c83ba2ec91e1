"""The example programs that train on real data and equations: their functions at small size, their goals at full."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.examples import from_pytorch, oscillator


def run_program(name, *args):
    command = [sys.executable, "-m", f"tapegrad.examples.{name}", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("name", ["from_pytorch", "oscillator"])
def test_programs_have_help(name):
    done = run_program(name, "--help")
    assert done.returncode == 0, done.stderr
    assert f"usage: {name}.py" in done.stdout


# oscillator


def test_exact_oscillation():
    """The closed form solves the equation, by differences."""
    t, h = np.linspace(0, 1, 11), 1e-4
    before, u, after = (oscillator.exact(t + s) for s in (-h, 0, h))
    du, ddu = (after - before) / (2 * h), (after - 2 * u + before) / h**2
    w, d = oscillator.FREQUENCY, oscillator.DAMPING
    np.testing.assert_allclose(ddu + 2 * d * du, -(w**2) * u, atol=1e-3)
    assert u[0] == 1 and abs(du[0]) < 1e-5


def test_derivatives_after_time():
    t = tg.linspace(0, 1, 5).double().view(-1, 1).requires_grad_(True)
    du = oscillator.derivative(t**4, t)
    np.testing.assert_allclose(du.detach().numpy(), 4 * t.detach().numpy() ** 3)
    np.testing.assert_allclose(oscillator.derivative(du, t).detach().numpy(), 12 * t.detach().numpy() ** 2)


def test_compiled_oscillator_takes_the_eager_path():
    """Second derivatives within the captured step."""
    paths = []
    for compiled in (False, True):
        tg.manual_seed(3)
        net = oscillator.make_net(8)
        step = oscillator.adam_step(net, oscillator.make_times(20))
        step = tg.compile(step) if compiled else step
        paths.append([[step().item() for _ in range(10)], *(p.detach().numpy().tolist() for p in net.parameters())])
    assert paths[0] == paths[1]


def test_oscillator_is_found():
    net, loss, _ = oscillator.run(seed=0)
    after_adam = oscillator.max_error(net)
    assert loss < 1e-2 and after_adam < 0.1
    assert oscillator.polish(net, oscillator.make_times())[0] < loss
    assert oscillator.max_error(net) < 1e-3 < after_adam


def test_oscillator_runs_as_a_program(tmp_path):
    pytest.importorskip("matplotlib")
    done = run_program("oscillator", "--steps", 20, "--plot", tmp_path / "u.png")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "u.png").read_bytes().startswith(b"\x89PNG")
    eager, compiled, ratio, polished = done.stdout.splitlines()
    assert eager.split()[4:9] == compiled.split()[4:9]  # loss and error
    assert "times as fast" in ratio and polished.startswith("then L-BFGS")
    assert run_program("oscillator", "--steps", 0).returncode == 2


# from_pytorch


def test_pytorch_script(tmp_path, capsys):
    losses, accuracy = from_pytorch.run(20, tmp_path / "weights")
    assert losses[-1] < losses[0] / 2 and accuracy > 0.98
    assert {name: tuple(t.shape) for name, t in tg.load(tmp_path / "weights").items()}["fc2.weight"] == (64, 64)
    assert len(capsys.readouterr().out.splitlines()) == 21


def test_pytorch_script_has_the_same_losses_in_pytorch(tmp_path):
    torch = pytest.importorskip("torch")
    theirs, ours = (from_pytorch.script(backend) for backend in ("torch", "tapegrad"))
    assert theirs.torch is torch and ours.torch is tg
    losses, accuracy = theirs.run(5, tmp_path / "theirs")
    our_losses, our_accuracy = ours.run(5, tmp_path / "ours")
    np.testing.assert_allclose(our_losses, losses, rtol=1e-5)
    assert our_accuracy == pytest.approx(accuracy, abs=0.003)  # two of 750 points


def test_pytorch_script_runs_as_a_program(tmp_path):
    done = run_program("from_pytorch", "--epochs", 2, "--save", tmp_path / "w")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("epoch  1  loss 0.") and (tmp_path / "w").is_file()
