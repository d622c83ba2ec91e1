"""The table of benchmark groups with their lines and goals."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from expressions import CALLS, ELEMENTWISE, GEMM, REDUCTIONS, Expression

# Small, so that a batch seen a hundred times is not yet learnt by heart: its gradients would be denormal numbers.
LEARNING_RATES = {"adam": 1e-5, "sgd": 1e-3}
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
MOMENTUM = 0.9


@dataclass(frozen=True)
class TrainStep:
    """One training step of an MLP on a fixed batch: forward, mean cross-entropy, backward, Adam or SGD with momentum.

    `sizes` are the widths from the input to the classes; a Linear layer joins each pair and ReLU stands between layers.
    """

    name: str
    sizes: tuple[int, ...]
    batch: int
    optimizer: str = "adam"
    goals: dict[str, float] = field(default_factory=dict)
    among: tuple[str, ...] = ("numpy", "sklearn", "torch", "jax", "tapegrad")
    tolerance = 1e-3

    @property
    def layers(self) -> list[tuple[int, int]]:
        return list(zip(self.sizes[:-1], self.sizes[1:], strict=True))

    @property
    def flops(self) -> int:
        """Floating-point operations in the matrix products (the first layer needs no gradient of its input)."""
        inputs, outputs = self.layers[0]
        return 2 * self.batch * (3 * sum(i * o for i, o in self.layers) - inputs * outputs)

    @property
    def adam_bytes(self) -> int:
        """What Adam keeps: parameters and two moments, in float32."""
        return 12 * sum(i * o + o for i, o in self.layers)

    @property
    def peers(self) -> tuple[str, ...]:
        # scikit-learn gives two classes one output.
        return tuple(p for p in self.among if p != "sklearn" or self.sizes[-1] > 2)


@dataclass(frozen=True)
class Epoch:
    """One epoch over Fashion-MNIST (60,000 images) with 784-256-10, Adam, batches of 256, from the same weights.

    `ways` says for each peer how it gets its batches: "loader" (a DataLoader that shuffles), "batches" (the same, and
    no training), "fit" (the library's own loop over shuffled data), "slicing" (of arrays permuted beforehand) or
    "batched" (a list of such slices made beforehand).
    """

    name: str
    ways: dict[str, str]
    goals: dict[str, float] = field(default_factory=dict)
    step = TrainStep("784-256-10", (784, 256, 10), 256)
    tolerance = 0.1  # of the epoch's mean loss: the order of the samples differs

    @property
    def peers(self) -> tuple[str, ...]:
        return tuple(self.ways)


@dataclass(frozen=True)
class Memory:
    """How far the resident memory rises at most over three training steps in a process of their own."""

    name: str
    step: TrainStep
    goals: dict[str, float] = field(default_factory=dict)

    @property
    def peers(self) -> tuple[str, ...]:
        return self.step.peers


@dataclass(frozen=True)
class Capture:
    """What capturing a training step takes beyond an eager step, and the memory of a replayed step beside eager's."""

    name: str
    step: TrainStep
    limit: float = 0.02  # seconds
    goals: dict[str, float] = field(default_factory=lambda: {"tapegrad": 1.43})  # of the memory


@dataclass(frozen=True)
class Group:
    """Lines measured together.

    measure: "times", "memory", "capture", "imports" or "machine". ours: the peer the others' ratios are to. rounds:
    turns of every peer; seconds: length of a turn. mean_goals: least geometric mean of the ratios over the lines, by
    peer. floor: whether lines say which share of the machine's floor (machine.py) ours reaches.
    """

    cases: tuple = ()
    measure: str = "times"
    ours: str = "tapegrad"
    rounds: int = 7
    seconds: float = 0.06
    mean_goals: dict[str, float] = field(default_factory=dict)
    floor: bool = False
    note: str = ""


# In a name, 256x16-10 reads: input of 256, sixteen hidden layers of 256, ten classes. A goal is the least ratio of a
# peer's time to ours.
STEPS_ADAM = (
    TrainStep("2-16-16-2", (2, 16, 16, 2), 32, goals={"torch": 8, "numpy": 1}),
    TrainStep("64-64-64-4", (64, 64, 64, 4), 64, goals={"torch": 5, "numpy": 1}),
    TrainStep("784-10", (784, 10), 256, goals={"torch": 2.5, "numpy": 1}),
    TrainStep("784-256-10", (784, 256, 10), 256, goals={"torch": 1.4, "numpy": 1}),
    TrainStep("784-512-256-10", (784, 512, 256, 10), 128, goals={"torch": 1.7, "numpy": 1}),
    TrainStep("256x16-10", (256,) * 17 + (10,), 64, goals={"torch": 1.8, "numpy": 1}),
    TrainStep("1024x4-10", (1024,) * 5 + (10,), 256, goals={"torch": 1.6, "numpy": 1}),
    TrainStep("2048x4-10", (2048,) * 5 + (10,), 512, goals={"torch": 1.25, "numpy": 1}),
)
STEPS_SGD = tuple(replace(case, optimizer="sgd", goals={"numpy": 1}) for case in STEPS_ADAM)
REPLAY_GOALS = {  # against JAX, and the least share of the floor
    "2-16-16-2": {"jax": 6},
    "64-64-64-4": {"jax": 3},
    "784-10": {"jax": 3},
    "784-256-10": {"jax": 1.35, "floor": 0.85},
    "784-512-256-10": {"jax": 1.25, "floor": 0.85},
    "256x16-10": {"jax": 1.5, "floor": 0.85},
    "1024x4-10": {"jax": 1.12, "floor": 0.85},
    "2048x4-10": {"jax": 1.08, "floor": 0.85},
}
STEPS_REPLAY = tuple(
    replace(
        case,
        goals={"torch_compile": 1.2, **REPLAY_GOALS[case.name]},
        among=("numpy", "torch", "torch_compile", "jax", "tapegrad", "replay"),
    )
    for case in STEPS_ADAM
)
EPOCHS = (
    Epoch("DataLoader", {"torch": "loader", "tapegrad": "loader"}),
    Epoch("DataLoader alone", {"torch": "batches", "tapegrad": "batches"}),
    Epoch(
        "fit",
        {"sklearn": "fit", "torch": "loader", "jax": "batched", "tapegrad": "fit"},
        goals={"torch": 8, "jax": 1.5},
    ),
    Epoch("slicing", {"torch": "slicing", "tapegrad": "slicing"}),
)
THROUGHPUT = {"torch": 1.3, "numpy": 3}  # geometric means over elementwise operations and reductions

GROUPS = {
    "peak": Group(measure="machine", note="GFLOP/s of fused multiply-add in float32, GB/s of a = b + c"),
    "calls": Group(CALLS, note="tensors of one element where nothing else is said"),
    "elementwise": Group(ELEMENTWISE, rounds=5, mean_goals=THROUGHPUT, note="float32; the name ends in the elements"),
    "reductions": Group(REDUCTIONS, rounds=5, mean_goals=THROUGHPUT, note="float32, 10x100, 1000x100 and 4000x1000"),
    "gemm": Group(GEMM, rounds=5, seconds=0.08, mean_goals={"best": 1.05}, note="float32; rows x inner x columns"),
    "steps-adam": Group(STEPS_ADAM, rounds=7, seconds=0.12, note="forward, cross-entropy, backward, Adam"),
    "steps-sgd": Group(STEPS_SGD, rounds=5, seconds=0.12, note="forward, cross-entropy, backward, SGD with momentum"),
    "steps-replay": Group(
        STEPS_REPLAY,
        ours="replay",
        rounds=7,
        seconds=0.12,
        floor=True,
        note="forward, cross-entropy, backward, Adam, captured once and replayed; compilers get the whole step",
    ),
    "capture": Group(
        tuple(Capture(case.name, case) for case in STEPS_ADAM),
        measure="capture",
        ours="replay",
        rounds=9,
        note="a call that captures and plans, less an eager step; peak memory beyond parameters, moments and data",
    ),
    "epoch": Group(EPOCHS, rounds=5, seconds=0, note="one epoch of Fashion-MNIST, 784-256-10, Adam, batch 256"),
    "memory": Group(
        (Memory("2048x4-10", STEPS_ADAM[-1], goals={"torch": 1}),),
        measure="memory",
        rounds=3,
        note="rise of the peak resident memory over three training steps, data of the caller not counted",
    ),
    "footprint": Group(measure="imports", rounds=9, note="import after NumPy; size of the package in a wheel"),
}
IMPORT_LIMIT, WHEEL_LIMIT = 0.015, 2e6  # seconds over NumPy's import, bytes


def case_named(group: str, name: str) -> TrainStep | Epoch | Memory | Capture | Expression:
    return next(case for case in GROUPS[group].cases if case.name == name)
