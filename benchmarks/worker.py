"""The process of one peer: reads one JSON request a line from stdin, answers with one JSON line, sleeps in between.

{"do": "versions"}                                -> {...}
{"do": "load", "group": G, "case": C}             -> {"check": [...]} for comparison, or {"lacks": WHAT}
{"do": "slice", "seconds": S}                     -> {"seconds": per run, "runs": N}
{"do": "memory", "group": G, "case": C}           -> {"bytes": rise of the peak resident memory}
{"do": "capture", "group": G, "case": C, "rounds": N}
    -> {"seconds": [of a call that captures, less those of an eager step], PEER: [peak bytes of its step], ...}
{"do": "unload"}                                  -> {}
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from time import perf_counter
from timeit import Timer

import numpy as np

import data
import peers
from cases import STEPS_ADAM, Epoch, Expression, TrainStep, case_named

# The weights are reset after so many steps: a net that has learnt its batch by heart would fill Adam's averages with
# denormal numbers, which some libraries flush to zero and others do not.
RESET_STEPS = 200
CHECK_STEPS = 5
WARM_UP_SECONDS = 0.02
MEMORY_STEPS = 3


class Steps:
    """Training steps; resets and the first step after each are not timed."""

    def __init__(self, peer, case) -> None:
        self.subject = peer.train_step(case, data.make_data(case))

    def check(self) -> list[float]:
        losses = []
        for _ in range(CHECK_STEPS):
            self.subject.step()
            losses.append(self.subject.loss())
        return losses

    def seconds(self, runs: int) -> float:
        done, spent = 0, 0.0
        while done < runs:
            chunk = min(RESET_STEPS, runs - done)
            self.subject.reset()
            self.subject.step()
            self.subject.wait()
            step = self.subject.step
            begin = perf_counter()
            for _ in range(chunk):
                step()
            self.subject.wait()
            spent += perf_counter() - begin
            done += chunk
        return spent


class Epochs:
    def __init__(self, peer, case) -> None:
        self.subject = peer.epoch(case, data.make_data(case.step), *data.fashion_mnist())

    def check(self) -> list[float]:
        self.subject.reset()
        return [self.subject.run()]

    def seconds(self, runs: int) -> float:
        spent = 0.0
        for _ in range(runs):
            self.subject.reset()
            begin = perf_counter()
            self.subject.run()
            spent += perf_counter() - begin
        return spent


class Statement:
    def __init__(self, peer, case: Expression) -> None:
        self.names = peer.namespace(data.make_arrays(case))
        setup, self.code = (case.numpy_setup, case.numpy) if "np" in self.names else (case.setup, case.eager)
        exec(setup, self.names)
        self.value = case.value or self.code

    def check(self) -> list[float]:
        """Size, mean, root mean square, first and last element."""
        value = eval(self.value, self.names)
        flat = np.asarray(value.detach() if hasattr(value, "detach") else value, np.float64).ravel()
        return [flat.size, flat.mean(), np.sqrt((flat * flat).mean()), flat[0], flat[-1]]

    def seconds(self, runs: int) -> float:
        return Timer(self.code, globals=self.names).timeit(runs)


class Bench:
    def __init__(self, subject) -> None:
        self.subject = subject
        self.values = subject.check()
        self.estimate = 0.0
        runs = 1
        while not self.estimate or (self.estimate * runs < WARM_UP_SECONDS / 2 and runs < 1e7):
            self.estimate = subject.seconds(runs) / runs
            runs *= 4

    def slice(self, seconds: float) -> dict[str, float]:
        warm_up = int(WARM_UP_SECONDS / self.estimate)
        if warm_up > 1:
            self.estimate = self.subject.seconds(warm_up) / warm_up
        runs = max(1, round(seconds / self.estimate))
        self.estimate = self.subject.seconds(runs) / runs
        return {"seconds": self.estimate, "runs": runs}


def memory_status(key: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


class Service:
    """Its public methods are the requests."""

    KINDS = {TrainStep: Steps, Epoch: Epochs, Expression: Statement}

    def __init__(self, peer) -> None:
        self.peer = peer
        self.bench = None

    def versions(self) -> dict[str, str]:
        return self.peer.versions()

    def unload(self) -> dict:
        self.bench = None
        return {}

    def load(self, group: str, case: str) -> dict:
        self.bench = None  # frees the last case first
        line = case_named(group, case)
        try:
            self.bench = Bench(self.KINDS[type(line)](self.peer, line))
        except (AttributeError, peers.Unable) as error:
            return {"lacks": str(error)}
        return {"check": [float(value) for value in self.bench.values]}

    def slice(self, seconds: float) -> dict[str, float]:
        return self.bench.slice(seconds)

    def capture(self, group: str, case: str, rounds: int) -> dict[str, list[float]]:
        self.bench = None
        step = case_named(group, case).step
        return self.peer.capture(step, data.make_data(step), rounds)

    def memory(self, group: str, case: str) -> dict[str, int]:
        """A small net is trained first, for what a library sets up once."""
        small, line = STEPS_ADAM[1], case_named(group, case).step
        self.peer.train_step(small, data.make_data(small)).step()
        arrays = data.make_data(line)
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is resident now
        before = memory_status("VmRSS")
        subject = self.peer.train_step(line, arrays)
        for _ in range(MEMORY_STEPS):
            subject.step()
        subject.wait()
        return {"bytes": memory_status("VmHWM") - before}


def main() -> None:
    name, threads = sys.argv[1], int(sys.argv[2])
    # What a library prints must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    peer = peers.load(name)
    peer.start(threads)
    service = Service(peer)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(getattr(service, request.pop("do"))(**request)), file=answers)


if __name__ == "__main__":
    main()
