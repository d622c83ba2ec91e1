"""The process of one peer: reads one JSON request a line from stdin, answers with one JSON line, sleeps in between.

{"do": "load", "case": NAME, "check": STEPS} -> {"losses": [...]}   losses of the first steps
{"do": "slice", "seconds": S}                -> {"seconds": per step, "steps": N}
{"do": "versions"}                           -> {...}
"""

from __future__ import annotations

import json
import os
import sys
from time import perf_counter

# The weights are reset after so many steps: a net that has learnt its batch by heart would fill Adam's averages with
# denormal numbers, which some libraries flush to zero and others do not.
RESET_STEPS = 200
WARM_UP_SECONDS = 0.02


def restrict_cpus(count: int) -> None:
    """Limits this process to `count` of its CPUs, before any library sizes its pool by them."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


class Bench:
    def __init__(self, subject, check: int) -> None:
        self.subject = subject
        self.losses = []
        for _ in range(check):
            subject.step()
            self.losses.append(subject.loss())
        self.estimate = self._measure(1)

    def _measure(self, steps: int) -> float:
        """Seconds per step over `steps` steps; resets and the first step after each are not timed."""
        done, spent = 0, 0.0
        while done < steps:
            chunk = min(RESET_STEPS, steps - done)
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
        return spent / done

    def slice(self, seconds: float) -> dict[str, float]:
        warm_up = max(1, int(WARM_UP_SECONDS / self.estimate))
        if warm_up > 1:
            self._measure(warm_up)
        steps = max(1, round(seconds / self.estimate))
        self.estimate = self._measure(steps)
        return {"seconds": self.estimate, "steps": steps}


def main() -> None:
    name, threads = sys.argv[1], int(sys.argv[2])
    restrict_cpus(threads)
    # What a library prints must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    import peers
    from cases import case_named, make_data

    peer = peers.load(name)
    peer.start(threads)
    bench = None
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "versions":
            answer = peer.versions()
        elif request["do"] == "load":
            bench = None  # frees the last case first
            case = case_named(request["case"])
            bench = Bench(peer.train_step(case, make_data(case)), request["check"])
            answer = {"losses": bench.losses}
        else:
            answer = bench.slice(request["seconds"])
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
