"""Paths of optimizers on f(x1, x2) = 0.1 x1^2 + 2 x2^2 from (-5, -2): each rule in NumPy against torch.optim.

    python -m tapegrad.examples.optimizers

After "Dive into Deep Learning" (Zhang, Lipton, Li and Smola, https://d2l.ai), the chapter on optimization; small
constants stand where torch.optim has them. In a narrow valley plain descent is slow along it and unstable across it.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import tapegrad as torch

START = [-5.0, -2.0]


def f_2d(x1, x2):
    return 0.1 * x1**2 + 2 * x2**2


def gradient(x: np.ndarray) -> np.ndarray:
    return np.array([0.2, 4.0]) * x


# Rules: (gradient, two arrays of state that start as zeros, number of the step from 1) -> what is taken off x


def gd(eta):
    return lambda g, s, d, t: eta * g


def momentum(eta, gamma):
    def rule(g, v, _, t):
        v[:] = gamma * v + eta * g
        return v

    return rule


def adagrad(eta, eps=1e-10):
    def rule(g, s, _, t):
        s += g * g
        return eta * g / (np.sqrt(s) + eps)

    return rule


def rmsprop(eta, gamma, eps=1e-8):
    def rule(g, s, _, t):
        s[:] = gamma * s + (1 - gamma) * g * g
        return eta * g / (np.sqrt(s) + eps)

    return rule


def adadelta(rho, eps=1e-6):
    def rule(g, s, delta, t):
        s[:] = rho * s + (1 - rho) * g * g
        g = np.sqrt((delta + eps) / (s + eps)) * g
        delta[:] = rho * delta + (1 - rho) * g * g
        return g

    return rule


def adam(eta, beta1=0.9, beta2=0.999, eps=1e-8):
    def rule(g, v, s, t):
        v[:] = beta1 * v + (1 - beta1) * g
        s[:] = beta2 * s + (1 - beta2) * g * g
        return eta * (v / (1 - beta1**t)) / (np.sqrt(s / (1 - beta2**t)) + eps)

    return rule


class Rule(NamedTuple):
    """One rule twice: by hand, and as an optimizer of a list of parameters."""

    by_hand: Callable
    by_optim: Callable


RULES = {
    "gradient descent, lr 0.4": Rule(gd(0.4), lambda params: torch.optim.SGD(params, lr=0.4)),
    "momentum 0.5, lr 0.4": Rule(momentum(0.4, 0.5), lambda params: torch.optim.SGD(params, lr=0.4, momentum=0.5)),
    "momentum 0.5, lr 0.6": Rule(momentum(0.6, 0.5), lambda params: torch.optim.SGD(params, lr=0.6, momentum=0.5)),
    "Adagrad, lr 0.4": Rule(adagrad(0.4), lambda params: torch.optim.Adagrad(params, lr=0.4)),
    "Adagrad, lr 2": Rule(adagrad(2), lambda params: torch.optim.Adagrad(params, lr=2)),
    "RMSprop 0.9, lr 0.4": Rule(rmsprop(0.4, 0.9), lambda params: torch.optim.RMSprop(params, lr=0.4, alpha=0.9)),
    "Adadelta 0.9": Rule(adadelta(0.9), lambda params: torch.optim.Adadelta(params, rho=0.9)),
    "Adam, lr 0.4": Rule(adam(0.4), lambda params: torch.optim.Adam(params, lr=0.4)),
}


def path_by_hand(rule: Callable, steps: int = 20) -> np.ndarray:
    """The points from START on, (steps + 1, 2) float64."""
    x, first, second = np.array(START), np.zeros(2), np.zeros(2)
    path = [x.copy()]
    for t in range(1, steps + 1):
        x -= rule(gradient(x), first, second, t)
        path.append(x.copy())
    return np.array(path)


def tape_step(x: torch.Tensor, optimizer: torch.optim.Optimizer) -> Callable[[], torch.Tensor]:
    """step(): updates x (2,), returns the value of f before."""

    def step():
        optimizer.zero_grad()
        y = f_2d(x[0], x[1])
        y.backward()
        optimizer.step()
        return y

    return step


def path_by_optim(make: Callable, steps: int = 20) -> np.ndarray:
    """The same with the gradient from the tape and the rule from torch.optim."""
    x = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    step = tape_step(x, make([x]))
    path = [x.detach().numpy().copy()]
    for _ in range(steps):
        step()
        path.append(x.detach().numpy().copy())
    return np.array(path)


def main() -> None:
    print("after 20 steps", " " * 12, "x1 by hand  x2 by hand   x1 by optim x2 by optim")
    for name, rule in RULES.items():
        hand, optim = path_by_hand(rule.by_hand)[-1], path_by_optim(rule.by_optim)[-1]
        print(f"{name:27s}  {hand[0]:f}   {hand[1]:f}    {optim[0]:f}   {optim[1]:f}")


if __name__ == "__main__":
    main()
