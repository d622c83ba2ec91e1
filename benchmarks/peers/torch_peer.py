"""PyTorch, eager, as its tutorials have it, with the fused Adam."""

from __future__ import annotations

from cases import BETA1, BETA2, EPSILON, LEARNING_RATE, TrainData, TrainStep


def start(threads: int) -> None:
    global torch
    import torch

    torch.set_num_threads(threads)


def versions() -> dict[str, str]:
    return {"torch": torch.__version__}


class Step:
    def __init__(self, case: TrainStep, data: TrainData) -> None:
        self.data = data
        layers = []
        for fan_in, fan_out in zip(case.sizes[:-1], case.sizes[1:], strict=True):
            layers += [torch.nn.Linear(fan_in, fan_out), torch.nn.ReLU()]
        self.model = torch.nn.Sequential(*layers[:-1])
        self.criterion = torch.nn.CrossEntropyLoss()
        self.x, self.y = torch.from_numpy(data.x), torch.from_numpy(data.y)
        self.reset()

    def reset(self) -> None:
        linears = [layer for layer in self.model if isinstance(layer, torch.nn.Linear)]
        with torch.no_grad():
            for layer, weight, bias in zip(linears, self.data.weights, self.data.biases, strict=True):
                layer.weight.copy_(torch.from_numpy(weight))
                layer.bias.copy_(torch.from_numpy(bias))
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=LEARNING_RATE, betas=(BETA1, BETA2), eps=EPSILON, fused=True
        )

    def step(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.criterion(self.model(self.x), self.y)
        loss.backward()
        self.optimizer.step()
        self.last_loss = loss

    def loss(self) -> float:
        return self.last_loss.item()

    def wait(self) -> None:
        """Eager CPU ops are done when they return."""


def train_step(case: TrainStep, data: TrainData) -> Step:
    return Step(case, data)
