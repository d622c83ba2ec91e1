#!/usr/bin/env python
"""Times every installed peer against tapegrad, interleaved, and prints medians and ratios (peer's time / ours).

Every peer runs in its own process and sleeps on a pipe while another is measured. A case goes round the peers in short
slices, the first place rotating, so that a drift of the machine meets all alike; a ratio is the median over rounds of
the ratio within a round. Before it is timed, each peer's losses over a few steps must agree with the first one's.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import peers
import report
from cases import CASES, TrainStep, case_named

HERE = Path(__file__).resolve().parent
CHECK_STEPS = 5
CHECK_TOLERANCE = 1e-3
SETTLE_SECONDS = 0.5  # at most; OpenBLAS's threads spin for an eighth of a second before they sleep
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TAPEGRAD_NUM_THREADS")


class Worker:
    """The process of one peer; see worker.py for the protocol."""

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


def check_losses(case: TrainStep, losses: dict[str, list[float]]) -> None:
    reference = next(iter(losses))
    for peer, values in losses.items():
        for step, (value, expected) in enumerate(zip(values, losses[reference], strict=True), 1):
            if not abs(value - expected) <= CHECK_TOLERANCE * max(1.0, abs(expected)):
                raise SystemExit(
                    f"{case.name}: at step {step} the loss of {peer} is {value:.6g}, of {reference} {expected:.6g}"
                )


def settle(workers: list[Worker]) -> None:
    """Returns when all processes are at rest."""
    used, deadline = -1.0, time.perf_counter() + SETTLE_SECONDS
    while used != (used := sum(w.cpu_seconds() for w in workers)) and time.perf_counter() < deadline:
        time.sleep(0.03)


def measure(case: TrainStep, workers: list[Worker], rounds: int, seconds: float) -> dict:
    """Loads `case` everywhere, checks the losses and times `rounds` slices of each worker."""
    losses = {w.peer: w.ask("load", case=case.name, check=CHECK_STEPS)["losses"] for w in workers}
    check_losses(case, losses)
    times: dict[str, list[float]] = {w.peer: [] for w in workers}
    for turn in range(rounds):
        first = turn % len(workers)
        for worker in workers[first:] + workers[:first]:
            settle(workers)
            others = [w for w in workers if w is not worker]
            before = [w.cpu_seconds() for w in others]
            times[worker.peer].append(worker.ask("slice", seconds=seconds)["seconds"])
            for other, start in zip(others, before, strict=True):
                other.idle_seconds += other.cpu_seconds() - start
    return report.summarize(case, times, losses)


def chosen_peers(wanted: str | None) -> list[str]:
    """NumPy and tapegrad must be there; the others are left out when they are not installed, unless asked for."""
    names = wanted.split(",") if wanted else list(peers.MODULES)
    unknown = [name for name in names if name not in peers.MODULES]
    if unknown:
        raise SystemExit(f"no peer {', '.join(unknown)}; there are {', '.join(peers.MODULES)}")
    names = [name for name in peers.MODULES if name in names or name == "tapegrad"]
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    for name in missing:
        if wanted or name in ("numpy", "tapegrad"):
            raise SystemExit(f"{name} is not installed")
        print(f"{name} is not installed: left out", file=sys.stderr)
    return [name for name in names if name not in missing]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", metavar="A,B", help=f"of {','.join(peers.MODULES)} (default: all installed)")
    parser.add_argument("--cases", metavar="A,B", help=f"of {','.join(case.name for case in CASES)} (default: all)")
    parser.add_argument("--threads", type=int, default=2, help="threads of every peer (default: 2)")
    parser.add_argument("--rounds", type=int, default=11, help="slices of every peer per case (default: 11)")
    parser.add_argument("--seconds", type=float, default=0.15, help="length of a slice, at least a step (default: .15)")
    parser.add_argument("--quick", action="store_true", help="3 rounds of short slices: a look, not a measurement")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the results here")
    parser.add_argument("--readme", metavar="FILE", type=Path, help="only put the table of FILE into README.md")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds = 3, 0.05
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if not 1 <= options.threads <= available:
        parser.error(f"--threads must be between 1 and {available}, the CPUs this process may use")
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    if options.readme:
        report.update_readme(HERE.parent / "README.md", json.loads(options.readme.read_text()))
        return
    cases = [case_named(name) for name in options.cases.split(",")] if options.cases else CASES
    workers = [Worker(name, options.threads) for name in chosen_peers(options.peers)]
    begin = time.perf_counter()
    try:
        result = report.environment(options, [w.ask("versions") for w in workers])
        print(report.heading(result))
        if result["load_average"] and result["load_average"][0] > 0.5:
            print(f"note: other programs are running (load average {result['load_average'][0]:.1f})")
        print(report.table_header([w.peer for w in workers]), flush=True)
        for case in cases:
            result["cases"].append(measure(case, workers, options.rounds, options.seconds))
            print(report.table_row(result["cases"][-1]), flush=True)
    finally:
        for worker in workers:
            worker.stop()
    elapsed = time.perf_counter() - begin
    result["seconds_in_all"] = round(elapsed, 1)
    for worker in workers:
        if worker.idle_seconds > 0.01 * elapsed:
            print(f"note: {worker.peer} used {worker.idle_seconds:.1f} s of processor time while others were measured")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
        print(f"written to {options.json}")


if __name__ == "__main__":
    main()
