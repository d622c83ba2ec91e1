#!/usr/bin/env python
"""Times every installed peer against tapegrad, interleaved, and prints medians and ratios (peer's time / ours).

Every peer runs in its own process and sleeps on a pipe while another is measured. A line goes round the peers in short
slices, the first place rotating, so that a drift of the machine meets all alike; a ratio is the median over rounds of
the ratio within a round. Before it is timed, the values each peer computes must agree with the first one's.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from fnmatch import fnmatchcase
from pathlib import Path

import footprint
import machine
import peers
import report
import tables
from cases import GROUPS, Epoch, Group
from data import fashion_mnist_folder
from processes import Pool, Worker, restrict_cpus

ROOT = Path(__file__).resolve().parent.parent
OURS = report.OURS
FOREIGN_LOAD = 0.1  # processors that other programs may keep busy before a line says so


class Run:
    """One call of this program: what was asked for, the processes, and how each kind of group is measured."""

    def __init__(self, options: argparse.Namespace, names: list[str], pool: Pool) -> None:
        self.options, self.names, self.pool = options, names, pool

    def group(self, name: str) -> dict:
        """Measures the group and returns it as it goes into the JSON."""
        group = GROUPS[name]
        begin = time.perf_counter()
        result = {"note": group.note}
        print(f"\n{name}" + (f": {group.note}" if group.note else ""))
        result |= getattr(self, group.measure)(name, group)
        for line in report.endings(result):
            print(line)
        result["seconds_in_all"] = round(time.perf_counter() - begin, 1)
        return report.environment(self.options, self.pool.versions) | result

    def foreign_seconds(self) -> float:
        """Processor time used by programs other than this one and those it has started."""
        own = sum(os.times()[:4]) + sum(w.cpu_seconds() for w in self.pool.workers.values())
        return machine.busy_seconds() - own

    def rounds(self, group: Group) -> int:
        return self.options.rounds or (3 if self.options.quick else group.rounds)

    def cases(self, group: Group) -> list:
        patterns = self.options.cases
        return [c for c in group.cases if not patterns or any(fnmatchcase(c.name, p) for p in patterns)]

    def peers_of(self, case) -> list[str]:
        return [name for name in case.peers if name in self.names]

    def times(self, name: str, group: Group) -> dict:
        cases = self.cases(group)
        if any(isinstance(case, Epoch) for case in cases) and not fashion_mnist_folder():
            return {"skipped": "no Fashion-MNIST files in the folder $TAPEGRAD_DATA"}
        needed = [peer for peer in self.names if any(peer in case.peers for case in cases)]
        self.pool.get(needed)
        rates = {}
        if group.floor or any("peak" in case.goals for case in cases):
            sizes = tuple(case.adam_bytes for case in cases) if group.floor else ()
            rates = machine.rates(self.options.threads, sizes)
        print(report.header(needed, group.ours), flush=True)
        lines = []
        for case in cases:
            lines.append(self.line(name, group, case, rates))
            print(report.row(lines[-1], needed), flush=True)
        for worker in self.pool.workers.values():
            worker.ask("unload")
        return ({"rates": rates} if rates else {}) | report.finish_group(group, lines)

    def line(self, name: str, group: Group, case, rates: dict[str, float]) -> dict:
        """Loads `case` everywhere, compares what the peers compute, and times it."""
        workers = self.pool.get(self.peers_of(case))
        answers = {w.peer: w.ask("load", group=name, case=case.name) for w in workers}
        unable = {peer: answer["lacks"] for peer, answer in answers.items() if "lacks" in answer}
        if group.ours in unable:
            return {"name": case.name, "skipped": unable[group.ours]}
        workers = [w for w in workers if w.peer not in unable]
        report.check_agreement(case, {w.peer: answers[w.peer]["check"] for w in workers})
        seconds = 0.02 if self.options.quick else self.options.seconds or group.seconds
        begin, foreign = time.perf_counter(), self.foreign_seconds()
        times = self.pool.take_turns(workers, self.rounds(group), seconds)
        busy = (self.foreign_seconds() - foreign) / (time.perf_counter() - begin)
        floor = machine.floor(case, rates, self.options.threads) if group.floor and rates else None
        fma_rate = None if group.floor else rates.get(f"fma {self.options.threads}")
        flops = getattr(case, "flops", 0)
        line = report.summarize(case.name, "s", times, case.goals, group.ours, flops, fma_rate, floor)
        line |= {"unable": unable} if unable else {}
        return line | ({"processors_busy_otherwise": round(busy, 2)} if busy > FOREIGN_LOAD else {})

    def memory(self, name: str, group: Group) -> dict:
        """Every figure comes from a fresh process."""
        lines = []
        for case in self.cases(group):
            values: dict[str, list[float]] = {peer: [] for peer in self.peers_of(case)}
            for _ in range(self.rounds(group)):
                for peer in values:
                    worker = Worker(peer, self.options.threads)
                    self.pool.versions |= worker.ask("versions")
                    values[peer].append(worker.ask("memory", group=name, case=case.name)["bytes"])
                    worker.stop()
            lines.append(report.summarize(case.name, "bytes", values, case.goals))
            print(report.header(list(values)))
            print(report.row(lines[-1], list(values)), flush=True)
        return report.finish_group(group, lines)

    def capture(self, name: str, group: Group) -> dict:
        """Seconds and peak bytes of each case."""
        (worker,) = self.pool.get([group.ours])
        lines = []
        print(report.header([group.ours, OURS], group.ours))
        for case in self.cases(group):
            answer = worker.ask("capture", group=name, case=case.name, rounds=self.rounds(group))
            seconds = {group.ours: answer.pop("seconds")}
            for line in (
                report.summarize(case.name, "s", seconds, {"limit": case.limit}, group.ours),
                report.summarize(f"{case.name}, memory", "bytes", answer, case.goals, group.ours),
            ):
                lines.append(line)
                print(report.row(line, [OURS]), flush=True)
        return report.finish_group(group, lines)

    def imports(self, name: str, group: Group) -> dict:
        lines = footprint.measure(self.names, self.rounds(group), self.options.wheel)
        for line in lines:
            print(report.row(line, list(line["median"])), flush=True)
        return report.finish_group(group, lines)

    def machine(self, name: str, group: Group) -> dict:
        rates = machine.rates(self.options.threads)
        if not rates:
            return {"skipped": machine.NO_COMPILER}
        lines = [{"name": what, "unit": "/s", "median": {"machine": rate}} for what, rate in rates.items()]
        for line in lines:
            print(f"{line['name']:<34}{line['median']['machine'] / 1e9:10.1f}")
        return report.finish_group(group, lines)


def chosen_peers(wanted: str | None) -> list[str]:
    """tapegrad must be there, also replayed; the others are left out when they are not installed, unless asked for."""
    names = wanted.split(",") if wanted else list(peers.MODULES)
    unknown = [name for name in names if name not in peers.MODULES]
    if unknown:
        raise SystemExit(f"no peer {', '.join(unknown)}; there are {', '.join(peers.MODULES)}")
    names = [name for name in peers.MODULES if name in names or peers.PACKAGES[name] == OURS]
    missing = [name for name in names if importlib.util.find_spec(peers.PACKAGES[name]) is None]
    for name in missing:
        if wanted or peers.PACKAGES[name] == OURS:
            raise SystemExit(f"{name} is not installed")
        print(f"{name} is not installed: left out", file=sys.stderr)
    return [name for name in names if name not in missing]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--group", metavar="A,B", help=f"of {','.join(GROUPS)} (default: all)")
    parser.add_argument("--cases", metavar="A,B", help="only lines with these names; * and ? stand for anything")
    parser.add_argument("--peers", metavar="A,B", help=f"of {','.join(peers.MODULES)} (default: all installed)")
    parser.add_argument("--threads", type=int, default=2, help="threads of every peer (default: 2)")
    parser.add_argument("--rounds", type=int, help="slices of every peer per line (default: the group's)")
    parser.add_argument("--seconds", type=float, help="length of a slice, at least a run (default: the group's)")
    parser.add_argument("--quick", action="store_true", help="3 rounds of short slices: a look, not a measurement")
    parser.add_argument("--wheel", metavar="FILE", type=Path, help="take the wheel's size and content from this one")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write results here; other groups in it are kept")
    parser.add_argument("--readme", metavar="FILE", type=Path, help="only put the tables of FILE into README.md")
    options = parser.parse_args(arguments)
    options.groups = options.group.split(",") if options.group else list(GROUPS)
    options.cases = options.cases.split(",") if options.cases else []
    unknown = [name for name in options.groups if name not in GROUPS]
    if unknown:
        parser.error(f"no group {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if not 1 <= options.threads <= available:
        parser.error(f"--threads must be between 1 and {available}, the CPUs this process may use")
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    if options.readme:
        tables.update(ROOT / "README.md", options.readme)
        return
    names = chosen_peers(options.peers)
    restrict_cpus(options.threads)
    with Pool(options.threads) as pool:
        run = Run(options, names, pool)
        begin = time.perf_counter()
        for name in options.groups:
            result = run.group(name)
            if options.json:
                report.write_group(options.json, name, result)
        elapsed = time.perf_counter() - begin
        for worker in pool.workers.values():
            if worker.idle_seconds > 0.01 * elapsed:
                print(f"note: {worker.peer} used {worker.idle_seconds:.1f} s of processor time out of turn")
    print(f"\n{elapsed:.0f} s in all" + (f"; written to {options.json}" if options.json else ""))


if __name__ == "__main__":
    main()
