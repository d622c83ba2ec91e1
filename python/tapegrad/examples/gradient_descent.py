"""Fit a line by gradient descent three ways: Module and SGD, an update by hand under no_grad, and stochastic batches.

    python -m tapegrad.examples.gradient_descent

This is a PyTorch program with its import line changed. Started from the same seed it prints the same lines, because
``manual_seed`` gives PyTorch's stream of random numbers.
"""

from collections.abc import Callable

import tapegrad as torch


class Linear(torch.nn.Module):
    """y = a x + b with two scalar parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.a = torch.nn.Parameter(torch.zeros(()))
        self.b = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.a * x + self.b

    def string(self) -> str:
        return f"y = {self.a.item():.2f} * x + {self.b.item():.2f}"


def make_data() -> tuple[torch.Tensor, torch.Tensor]:
    """200 points of y = 10 x + 5 plus normal noise, x standardised; both (200,) float32."""
    torch.manual_seed(1024)
    x_origin = torch.linspace(100, 300, 200)
    x = (x_origin - torch.mean(x_origin)) / torch.std(x_origin)
    epsilon = torch.randn(x.shape)
    return x, 10 * x + 5 + epsilon


def sgd_update(model: Linear, lr: float) -> Callable[[torch.Tensor], None]:
    """A step by torch.optim.SGD."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)

    def update(loss: torch.Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return update


def hand_update(model: Linear, lr: float) -> Callable[[torch.Tensor], None]:
    """The same step written out."""

    def update(loss: torch.Tensor) -> None:
        loss.backward()
        with torch.no_grad():
            for param in model.parameters():
                param -= lr * param.grad
                param.grad = None

    return update


def make_step(model: Linear, update: Callable) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """step(inputs, labels): updates the model, returns the loss before."""

    def step(inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        loss = (labels - model(inputs)).pow(2).mean()
        update(loss)
        return loss

    return step


def run(update_of: Callable, *, batch: int | None = None, steps: int = 20, lr: float = 0.1) -> list[str]:
    """One printed line per step; `batch` takes contiguous batches of that size in turn instead of all points."""
    x, y = make_data()
    model = Linear()
    step = make_step(model, update_of(model, lr))
    lines = []
    for t in range(steps):
        if batch is None:
            inputs, labels = x, y
        else:
            ix = (t * batch) % len(x)
            inputs, labels = x[ix : ix + batch], y[ix : ix + batch]
        loss = step(inputs, labels)
        lines.append(f"Step {t + 1}, Loss: {loss: .2f}; Result: {model.string()}")
    return lines


def main() -> None:
    for title, lines in [
        ("gradient descent, torch.optim.SGD", run(sgd_update)),
        ("gradient descent, update by hand", run(hand_update)),
        ("stochastic gradient descent, batches of 20", run(sgd_update, batch=20)),
    ]:
        print(title, *lines, "", sep="\n")


if __name__ == "__main__":
    main()
