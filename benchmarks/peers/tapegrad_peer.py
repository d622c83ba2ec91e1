"""tapegrad, eager, written as for PyTorch."""

from __future__ import annotations

from cases import BETA1, BETA2, EPSILON, LEARNING_RATE, TrainData, TrainStep


def start(threads: int) -> None:
    global tg
    import tapegrad as tg

    tg.set_num_threads(threads)


def versions() -> dict[str, str]:
    return {"tapegrad": tg.__version__, "isa": tg.active_isa()}


class Step:
    def __init__(self, case: TrainStep, data: TrainData) -> None:
        self.data = data
        layers = []
        for fan_in, fan_out in zip(case.sizes[:-1], case.sizes[1:], strict=True):
            layers += [tg.nn.Linear(fan_in, fan_out), tg.nn.ReLU()]
        self.model = tg.nn.Sequential(*layers[:-1])
        self.criterion = tg.nn.CrossEntropyLoss()
        self.x, self.y = tg.from_numpy(data.x), tg.from_numpy(data.y)
        self.reset()

    def reset(self) -> None:
        linears = [layer for layer in self.model if isinstance(layer, tg.nn.Linear)]
        with tg.no_grad():
            for layer, weight, bias in zip(linears, self.data.weights, self.data.biases, strict=True):
                layer.weight.copy_(tg.from_numpy(weight))
                layer.bias.copy_(tg.from_numpy(bias))
        self.optimizer = tg.optim.Adam(self.model.parameters(), lr=LEARNING_RATE, betas=(BETA1, BETA2), eps=EPSILON)

    def step(self) -> None:
        self.optimizer.zero_grad()
        loss = self.criterion(self.model(self.x), self.y)
        loss.backward()
        self.optimizer.step()
        self.last_loss = loss

    def loss(self) -> float:
        return self.last_loss.item()

    def wait(self) -> None:
        """Eager ops are done when they return."""


def train_step(case: TrainStep, data: TrainData) -> Step:
    return Step(case, data)
