"""A physics-informed network: a damped oscillation found from its differential equation alone, without any data.

    python -m tapegrad.examples.oscillator [--steps 2000] [--seed 0] [--plot PATH]

The equation is u'' + 2 d u' + w^2 u = 0 on [0, 1] with u(0) = 1 and u'(0) = 0. A network u(t) is trained until it holds
at 100 points, by its derivatives after t, which the tape gives and differentiates once more (create_graph=True).
First Adam, eager and by tapegrad.compile, then L-BFGS; the exact solution tells the error.

Source: Raissi, Perdikaris and Karniadakis (2019), Physics-informed neural networks, Journal of Computational Physics
378, https://doi.org/10.1016/j.jcp.2018.10.045.
"""

import argparse
import math
import time
from collections.abc import Callable

import numpy as np

import tapegrad as tg
from tapegrad import nn

from ._shared import new_figure, positive

DAMPING, FREQUENCY = 1.0, 10.0  # d and w
POINTS = 100


def exact(t: np.ndarray) -> np.ndarray:
    """The solution of the under-damped case, d < w."""
    omega = math.sqrt(FREQUENCY**2 - DAMPING**2)
    return np.exp(-DAMPING * t) * (np.cos(omega * t) + DAMPING / omega * np.sin(omega * t))


def make_net(width: int = 32) -> nn.Module:
    """t (N, 1) -> u (N, 1); smooth, as it is differentiated three times."""
    return nn.Sequential(
        nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(),
        nn.Linear(width, 1),
    )  # fmt: skip


def make_times(points: int = POINTS) -> tg.Tensor:
    return tg.linspace(0, 1, points).view(-1, 1).requires_grad_(True)


def derivative(u: tg.Tensor, t: tg.Tensor) -> tg.Tensor:
    """du/dt at every t, itself differentiable. u_i depends on t_i alone, so the sum's gradient is all of them."""
    return tg.autograd.grad(u.sum(), [t], create_graph=True)[0]


def residual_loss(net: nn.Module, t: tg.Tensor) -> tg.Tensor:
    """The mean square of what the equation lacks of 0, and the squares of what u(0) and u'(0) lack of 1 and 0.

    The equation is divided by w^2 and u' by w, so that all terms are of one size. t: (N, 1), the first is 0.
    """
    u = net(t)
    du = derivative(u, t)
    ddu = derivative(du, t)
    equation = (ddu + 2 * DAMPING * du) / FREQUENCY**2 + u
    return equation.square().mean() + (u[0] - 1).square().sum() + (du[0] / FREQUENCY).square().sum()


def adam_step(net: nn.Module, t: tg.Tensor, lr: float = 5e-3) -> Callable[[], tg.Tensor]:
    """step(): one update by Adam; returns the loss before it."""
    optimizer = tg.optim.Adam(net.parameters(), lr=lr)

    def step():
        optimizer.zero_grad()
        loss = residual_loss(net, t)
        loss.backward()
        optimizer.step()
        return loss

    return step


def train(step: Callable[[], tg.Tensor], steps: int) -> tuple[float, float]:
    """(the last loss, seconds)."""
    start = time.perf_counter()
    for _ in range(steps):
        loss = step()
    return loss.item(), time.perf_counter() - start


def polish(net: nn.Module, t: tg.Tensor, max_iter: int = 1000) -> tuple[float, float]:
    """L-BFGS from where Adam has ended, for the last digits. (the loss, seconds)."""
    optimizer = tg.optim.LBFGS(
        net.parameters(),
        max_iter=max_iter,
        history_size=50,
        tolerance_grad=1e-9,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def closure():
        optimizer.zero_grad()
        loss = residual_loss(net, t)
        loss.backward()
        return loss

    start = time.perf_counter()
    optimizer.step(closure)
    return residual_loss(net, t).item(), time.perf_counter() - start


def solution(net: nn.Module, times: np.ndarray) -> np.ndarray:
    """u at times (N,)."""
    with tg.no_grad():
        return net(tg.tensor(times[:, None], dtype=tg.float32)).numpy()[:, 0]


def max_error(net: nn.Module) -> float:
    """The largest |u - exact| at 1,001 times, most of them between the points of training."""
    times = np.linspace(0, 1, 1001)
    return float(np.abs(solution(net, times) - exact(times)).max())


def run(steps: int = 2000, seed: int = 0, *, compiled: bool = True) -> tuple[nn.Module, float, float]:
    """A network from a seed, trained by Adam: (the network, the last loss, seconds)."""
    tg.manual_seed(seed)
    net, t = make_net(), make_times()
    step = adam_step(net, t)
    return net, *train(tg.compile(step) if compiled else step, steps)


def plot(net: nn.Module, figure) -> None:
    """Draws the network's solution and the exact one into a matplotlib Figure."""
    times = np.linspace(0, 1, 1001)
    axes = figure.subplots()
    axes.plot(times, exact(times), label="exact")
    axes.plot(times, solution(net, times), "--", label="network")
    axes.set(xlabel="t", ylabel="u")
    axes.legend()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=positive, default=2000, help="steps of Adam (default: 2000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", metavar="PATH", help="draw the solution into this file (.png, .svg, .pdf)")
    options = parser.parse_args(argv)
    figure = new_figure(6, 4) if options.plot else None  # first: it may lack matplotlib
    seconds = {}
    for kind in ("eager", "compiled"):
        net, loss, seconds[kind] = run(options.steps, options.seed, compiled=kind == "compiled")
        print(
            f"Adam, {options.steps} steps, {kind:8s}  loss {loss:.2e}  max error {max_error(net):.6f}"
            f"  {seconds[kind]:.2f} s"
        )
    print(f"compiled is {seconds['eager'] / seconds['compiled']:.1f} times as fast")
    loss, time_taken = polish(net, make_times())
    print(f"then L-BFGS                  loss {loss:.2e}  max error {max_error(net):.6f}  {time_taken:.2f} s")
    if figure is not None:
        plot(net, figure)
        figure.savefig(options.plot, dpi=120)


if __name__ == "__main__":
    main()
