"""The processes of the peers, and their turns: one works while the others sleep on their pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SETTLE_SECONDS = 0.5  # at most; OpenBLAS's threads spin for an eighth of a second before they sleep
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TAPEGRAD_NUM_THREADS")


def restrict_cpus(count: int) -> None:
    """Limits this process and those it starts to `count` of its CPUs: XLA and others size their pools by them."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


class Worker:
    """The process of one peer; see worker.py for the requests."""

    def __init__(self, peer: str, threads: int) -> None:
        self.peer = peer
        env = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads))
        command = [sys.executable, str(HERE / "worker.py"), peer, str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        self.idle_seconds = 0.0

    def ask(self, do: str, **arguments) -> dict:
        try:
            print(json.dumps({"do": do, **arguments}), file=self.process.stdin, flush=True)
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise SystemExit(f"the process of {self.peer} ended with status {self.process.wait()}")
        return json.loads(answer)

    def cpu_seconds(self) -> float:
        """Processor time used so far, 0 where /proc does not tell."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait()


class Pool:
    """The workers, each started when it is first needed."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.workers: dict[str, Worker] = {}
        self.versions: dict[str, str] = {}

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_) -> None:
        for worker in self.workers.values():
            worker.stop()

    def get(self, names: list[str]) -> list[Worker]:
        for name in names:
            if name not in self.workers:
                self.workers[name] = Worker(name, self.threads)
                self.versions |= self.workers[name].ask("versions")
        return [self.workers[name] for name in names]

    def take_turns(self, workers: list[Worker], rounds: int, seconds: float) -> dict[str, list[float]]:
        """Times `rounds` slices of each worker's case; the first place rotates."""
        times: dict[str, list[float]] = {w.peer: [] for w in workers}
        for turn in range(rounds):
            first = turn % len(workers)
            for worker in workers[first:] + workers[:first]:
                self.settle()
                others = [w for w in self.workers.values() if w is not worker]
                before = [w.cpu_seconds() for w in others]
                times[worker.peer].append(worker.ask("slice", seconds=seconds)["seconds"])
                for other, start in zip(others, before, strict=True):
                    other.idle_seconds += other.cpu_seconds() - start
        return times

    def settle(self) -> None:
        """Returns when all processes are at rest."""
        used, deadline = -1.0, time.perf_counter() + SETTLE_SECONDS
        while used != (used := sum(w.cpu_seconds() for w in self.workers.values())):
            if time.perf_counter() > deadline:
                return
            time.sleep(0.03)
