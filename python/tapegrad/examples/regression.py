"""Linear regression twice: with the gradient worked out by hand in NumPy, and with the tape.

    python -m tapegrad.examples.regression

The first part is the warm-up of many courses: f(x) = w x, data y = 2 x, ten steps of gradient descent. Note that the
hand-written gradient ``np.dot(2 * x, y_pred - y).mean()`` is a sum over the points: dot already added them up and the
mean of one number is that number. The tape must follow the same path for the same loss, sum((w x - y)^2).
"""

from collections.abc import Callable

import numpy as np

import tapegrad as tg


def by_hand(x: np.ndarray, y: np.ndarray, *, lr: float = 0.01, steps: int = 10) -> list[float]:
    """w after every step of gradient descent on sum((w x - y)^2) from w = 0, the gradient written out in NumPy.

    x, y: (n,) of one float dtype. Returns `steps` numbers.
    """
    w, path = x.dtype.type(0), []
    for _ in range(steps):
        y_pred = w * x
        w = w - x.dtype.type(lr) * np.dot(2 * x, y_pred - y).mean()
        path.append(float(w))
    return path


def tape_step(w: tg.Tensor, *, lr: float = 0.01, mean: bool = False) -> Callable[[tg.Tensor, tg.Tensor], tg.Tensor]:
    """step(x, y): one step of gradient descent on w with the gradient from the tape; returns the loss before it."""

    def step(x, y):
        squares = (w * x - y) ** 2
        loss = squares.mean() if mean else squares.sum()
        loss.backward()
        with tg.no_grad():
            w.sub_(lr * w.grad)
            w.grad.zero_()
        return loss

    return step


def by_tape(x: tg.Tensor, y: tg.Tensor, *, lr: float = 0.01, steps: int = 10, mean: bool = False):
    """The same with the gradient from the tape; `mean` takes the mean of the squares instead of their sum.

    x, y: (n,). Returns (w after every step, loss before every step), two lists of `steps` numbers.
    """
    w = tg.tensor(0.0, requires_grad=True)
    step = tape_step(w, lr=lr, mean=mean)
    path, losses = [], []
    for _ in range(steps):
        losses.append(step(x, y).item())
        path.append(w.item())
    return path, losses


def main() -> None:
    x = np.arange(1, 7, dtype=np.float32)
    y = 2 * x
    hand = by_hand(x, y)
    tape, _ = by_tape(tg.from_numpy(x), tg.from_numpy(y))
    print("sum of squares, x = 1..6, lr 0.01")
    for step, (a, b) in enumerate(zip(hand, tape, strict=True), start=1):
        print(f"step {step:2d}  w by hand {a:.3f}  by tape {b:.3f}")
    print(f"f(5) = {5 * tape[-1]:.3f}")

    x = tg.tensor([1.0, 2.0, 3.0, 4.0])
    path, losses = by_tape(x, 2 * x, steps=100, mean=True)
    print("\nmean of squares, x = 1..4, lr 0.01")
    for epoch in range(0, 100, 10):
        print(f"epoch {epoch + 1:2d}  w = {path[epoch]:.3f}  loss = {losses[epoch]:.8f}")


if __name__ == "__main__":
    main()
