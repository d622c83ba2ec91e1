"""The table of benchmark cases and the data each of them works on, the same bits in every process."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEARNING_RATE = 1e-3
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
DATA_SEED = 20


@dataclass(frozen=True)
class TrainStep:
    """One training step of an MLP: forward, mean cross-entropy, backward, Adam, on one fixed batch.

    `sizes` are the widths from the input to the classes; a Linear layer joins each pair and ReLU stands between layers.
    """

    name: str
    sizes: tuple[int, ...]
    batch: int

    @property
    def flops(self) -> int:
        """Floating-point operations in the matrix products (the first layer needs no gradient of its input)."""
        pairs = list(zip(self.sizes[:-1], self.sizes[1:], strict=True))
        return 2 * self.batch * (3 * sum(i * o for i, o in pairs) - pairs[0][0] * pairs[0][1])

    def describe(self) -> str:
        hidden = self.sizes[1:-1]
        if len(hidden) > 3:
            return f"{self.sizes[0]}, {len(hidden)} hidden layers of {hidden[0]}, {self.sizes[-1]}; batch {self.batch}"
        return f"{'-'.join(map(str, self.sizes))}; batch {self.batch}"


# In a name, 256x16-10 reads: input of 256, sixteen hidden layers of 256, ten classes.
CASES = (
    TrainStep("2-16-16-2", (2, 16, 16, 2), 32),
    TrainStep("64-64-64-4", (64, 64, 64, 4), 64),
    TrainStep("784-10", (784, 10), 256),
    TrainStep("784-256-10", (784, 256, 10), 256),
    TrainStep("784-512-256-10", (784, 512, 256, 10), 128),
    TrainStep("256x16-10", (256,) * 17 + (10,), 64),
    TrainStep("1024x4-10", (1024,) * 5 + (10,), 256),
    TrainStep("2048x4-10", (2048,) * 5 + (10,), 512),
)


def case_named(name: str) -> TrainStep:
    for case in CASES:
        if case.name == name:
            return case
    raise ValueError(f"no case {name!r}; there are {', '.join(case.name for case in CASES)}")


@dataclass(frozen=True)
class TrainData:
    """Batch `x` (batch, inputs) float32, labels `y` (batch,) int64, weights (outputs, inputs) and biases float32."""

    x: np.ndarray
    y: np.ndarray
    weights: list[np.ndarray]
    biases: list[np.ndarray]


def make_data(case: TrainStep) -> TrainData:
    """Standard normal inputs, uniform labels, He-normal weights, small biases."""
    rng = np.random.default_rng(DATA_SEED)
    x = rng.standard_normal((case.batch, case.sizes[0]), np.float32)
    y = rng.integers(0, case.sizes[-1], case.batch)
    weights, biases = [], []
    for fan_in, fan_out in zip(case.sizes[:-1], case.sizes[1:], strict=True):
        weights.append(rng.standard_normal((fan_out, fan_in), np.float32) * np.float32(np.sqrt(2 / fan_in)))
        biases.append(rng.uniform(-0.1, 0.1, fan_out).astype(np.float32))
    return TrainData(x, y, weights, biases)
