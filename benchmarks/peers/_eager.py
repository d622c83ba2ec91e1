"""What PyTorch and tapegrad share: programs written for PyTorch, in which `torch` is either."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from cases import BETA1, BETA2, EPSILON, LEARNING_RATES, MOMENTUM, Epoch, TrainStep
from data import TrainData


class Step:
    """`fused`: further arguments for the optimizer."""

    def __init__(self, torch: ModuleType, case: TrainStep, data: TrainData, fused: dict[str, bool]) -> None:
        self.torch, self.case, self.data, self.fused = torch, case, data, fused
        layers = []
        for fan_in, fan_out in zip(case.sizes[:-1], case.sizes[1:], strict=True):
            layers += [torch.nn.Linear(fan_in, fan_out), torch.nn.ReLU()]
        self.model = torch.nn.Sequential(*layers[:-1])
        self.criterion = torch.nn.CrossEntropyLoss()
        self.x, self.y = torch.from_numpy(data.x), torch.from_numpy(data.y)
        self.reset()

    def reset(self) -> None:
        torch = self.torch
        linears = [layer for layer in self.model if isinstance(layer, torch.nn.Linear)]
        with torch.no_grad():
            for layer, weight, bias in zip(linears, self.data.weights, self.data.biases, strict=True):
                layer.weight.copy_(torch.from_numpy(weight))
                layer.bias.copy_(torch.from_numpy(bias))
        params, rate = self.model.parameters(), LEARNING_RATES[self.case.optimizer]
        if self.case.optimizer == "adam":
            self.optimizer = torch.optim.Adam(params, lr=rate, betas=(BETA1, BETA2), eps=EPSILON, **self.fused)
        else:
            self.optimizer = torch.optim.SGD(params, lr=rate, momentum=MOMENTUM, **self.fused)

    def step(self) -> None:
        self.last_loss = self.train(self.x, self.y)

    def train(self, x, y):
        self.optimizer.zero_grad()
        loss = self.criterion(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss

    def loss(self) -> float:
        return self.last_loss.item()

    def wait(self) -> None:
        """Eager operations on a CPU are done when they return."""


class EpochOfSteps:
    """The loop of the tutorials around `step`, with the loss of every step added up."""

    def __init__(self, case: Epoch, step: Step, x: np.ndarray, y: np.ndarray, way: str) -> None:
        torch = step.torch
        self.step, self.batch, self.way = step, case.step.batch, way
        self.x, self.y = torch.from_numpy(x), torch.from_numpy(y)
        torch.manual_seed(0)
        self.dataset = torch.utils.data.TensorDataset(self.x, self.y)
        self.loader = torch.utils.data.DataLoader(self.dataset, batch_size=self.batch, shuffle=True)

    def reset(self) -> None:
        self.step.reset()

    def run(self) -> float:
        return {"fit": self.fit, "batches": self.batches}.get(self.way, self.loop)()

    def batches(self) -> float:
        """The loader alone; gives the share of the samples that came."""
        return sum(len(y) for _, y in self.loader) / len(self.y)

    def loop(self) -> float:
        total = 0.0
        for x, y in self.loader if self.way == "loader" else self.slices():
            total += self.step.train(x, y).item() * len(y)
        return total / len(self.y)

    def slices(self):
        for i in range(0, len(self.y), self.batch):
            yield self.x[i : i + self.batch], self.y[i : i + self.batch]

    def fit(self) -> float:
        step = self.step
        history = step.torch.fit(
            step.model, self.loader, loss=step.criterion, optimizer=step.optimizer, epochs=1, progress=False
        )
        return history["loss"][-1]


def namespace(torch: ModuleType, arrays: dict[str, np.ndarray], fused: dict[str, bool]) -> dict:
    return {"torch": torch, "fused": fused, **{name: torch.from_numpy(array) for name, array in arrays.items()}}
