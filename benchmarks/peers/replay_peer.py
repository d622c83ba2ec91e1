"""tapegrad with the whole step of the eager program, zero_grad to update, captured once by `compile` and replayed."""

from __future__ import annotations

from time import perf_counter

from cases import TrainStep
from data import TrainData

from . import _eager, tapegrad_peer
from .tapegrad_peer import start, versions  # noqa: F401


class Step(_eager.Step):
    def reset(self) -> None:
        """The optimizer is a new object, so that the program is captured anew, by the first step."""
        super().reset()
        self.train = tapegrad_peer.tg.compile(super().train)


def train_step(case: TrainStep, data: TrainData) -> Step:
    return Step(tapegrad_peer.tg, case, data, {})


def capture(case: TrainStep, data: TrainData, rounds: int) -> dict[str, list[float]]:
    """See worker.py. Two eager steps precede a capture: one for the memory the last program left, one for the time."""
    tg = tapegrad_peer.tg
    step = tapegrad_peer.train_step(case, data)
    step.step()

    def timed(train) -> float:
        begin = perf_counter()
        train(step.x, step.y)
        return perf_counter() - begin

    seconds = []
    for _ in range(rounds):
        timed(step.train)
        eager = timed(step.train)
        seconds.append(timed(tg.compile(step.train)) - eager)

    def in_use() -> int:
        step.optimizer.zero_grad()
        tg.reset_peak_memory_stats()
        return tg.memory_stats()["peak_bytes"]

    def peak(train) -> int:
        in_use()
        train(step.x, step.y)
        return tg.memory_stats()["peak_bytes"] - before

    before = in_use()
    eager = peak(step.train)
    compiled = tg.compile(step.train)
    compiled(step.x, step.y)
    return {"seconds": seconds, "tapegrad": [eager], "replay": [peak(compiled)]}
