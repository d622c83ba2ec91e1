"""What fit() and evaluate() do with batches: steps, captured where they can be, and sums of loss and metrics."""

from __future__ import annotations

import math
from collections.abc import Callable

from .. import _core
from .._compile import Compiled, try_capture
from .._grad_mode import no_grad
from ..utils.data._rows import rows_of

_BUDGET = 0.04  # seconds that an epoch stays in C++, for Ctrl-C and the progress bar
_COUNTED = ("loss", "samples", "batches", "last")


class Totals:
    """Sums of loss and metrics over the batches of one epoch."""

    def __init__(self, summed: bool, metrics: dict):
        self.metrics = metrics
        self._summed = summed  # whether the loss of a batch is a sum
        self.reset()

    def reset(self) -> None:
        self.loss = 0.0
        self.samples = 0
        self.batches = 0
        self.last = math.nan  # loss of the newest batch
        for metric in self.metrics.values():
            metric.reset()

    def add(self, losses: list, measured: list[list], n: int) -> None:
        """Adds some batches of n samples: their losses, and what each metric has measured of them."""
        for value in losses:
            self.loss += value if self._summed else value * n
        for metric, values in zip(self.metrics.values(), measured, strict=True):
            metric.add(values, n)
        self.samples += n * len(losses)
        self.batches += len(losses)
        self.last = losses[-1] if losses else self.last

    def values(self) -> dict[str, float]:
        return {"loss": self.loss / self.samples, **{name: m.value() for name, m in self.metrics.items()}}

    def state_dict(self) -> dict:
        state = {name: getattr(self, name) for name in _COUNTED}
        return {**state, "metrics": {name: metric.state_dict() for name, metric in self.metrics.items()}}

    def load_state_dict(self, state: dict) -> None:
        for name in _COUNTED:
            setattr(self, name, state[name])
        for name, metric in self.metrics.items():
            metric.load_state_dict(state["metrics"][name])


class Pass:
    """Runs `step(x, y) -> (loss, output)` over batches and adds up what comes of it in `totals`.

    Batches may have a third part, weights, which the step then gets too.
    compile: "auto" captures and replays the step where that is possible, True raises CaptureError where it is not.
    chunk: after this many batches, counted from the epoch's first, `after` is called; None: now and then.
    """

    def __init__(self, step: Callable, totals: Totals, compile: bool | str, chunk: int | None = None):
        self.totals = totals
        self.chunk = chunk
        self.batch = None  # where a step has failed: its (x, y)
        self._metrics = list(totals.metrics.values())
        self._sources = {}

        def measured_step(x, y, *weight):
            loss, output = step(x, y, *weight)
            with no_grad():
                measured = [metric.measure(output, y) for metric in self._metrics if metric.capturable]
            return loss, measured, None if len(measured) == len(self._metrics) else output

        measured_step.__qualname__ = "fit"  # of the warning
        self._step = measured_step
        self._compiled = Compiled(measured_step, False, compile == "auto") if compile else None

    @property
    def captured(self) -> bool:
        """False where it turned out that the step has to run as it is."""
        return self._compiled is not None and not self._compiled.gave_up

    def run(self, batches, after: Callable = lambda: None) -> None:
        """One epoch, added to the totals. `after` is called behind some batches."""
        rows = rows_of(batches) if self.captured else None
        if rows is not None:
            self._run_rows(rows, after)
            return
        for batch in batches:
            self._one(*_parts(batch))
            self._after(after)

    def forget(self) -> None:
        """What the step reads from Python may have changed: it is captured anew."""
        if self._compiled is not None:
            self._compiled.forget()

    def _one(self, x, y, *weight) -> None:
        self.batch = x, y
        if getattr(y, "shape", None) == ():
            raise ValueError(
                "a batch needs samples along its first axis, and this target has the shape (); "
                "DataLoader(data, batch_size=64) makes batches of samples"
            )
        compiled = self._compiled if _only_tensors((x, y, *weight)) else None
        untried = compiled is not None and any(metric.capturable is None for metric in self._metrics)
        loss, measured, output = (self._step if untried or compiled is None else compiled)(x, y, *weight)
        found = iter(measured)
        values = []
        with no_grad():
            for metric in self._metrics:
                if metric.capturable:
                    value = next(found)
                elif untried and metric.capturable is None:
                    value, metric.capturable = try_capture(metric.measure, output, y)
                else:
                    value = metric.measure(output, y)
                values.append([value.tolist() if isinstance(value, _core.Tensor) else value])
        self.totals.add([loss.item()], values, y.shape[0])

    def _run_rows(self, rows, after) -> None:
        """One epoch over rows of tensors, most of it in C++."""
        at = rows.start()
        while at < rows.full:
            at += self._some(rows, at, self._stop(rows, at))
            rows.reached(at)
            self._after(after)
        rows.finish()
        if at < rows.end:
            self._one(*rows.read(at, rows.end))
            rows.reached(rows.end)
            self._after(after)
        rows.close()

    def _after(self, after: Callable) -> None:
        if self.chunk is None or self.totals.batches % self.chunk == 0:
            after()

    def _stop(self, rows, at: int) -> int:
        """The row where `after` is due."""
        if self.chunk is None:
            return rows.full
        return min(rows.full, at + (self.chunk - self.totals.batches % self.chunk) * rows.size)

    def _some(self, rows, at: int, stop: int) -> int:
        """Runs steps from row `at` on; returns how many rows they took."""
        source = self._source(rows)
        program = None
        if all(metric.capturable for metric in self._metrics):
            program = self._compiled.program(*source.arguments)
        if program is None or not self._replay(program, source, rows, at, stop):
            self._one(*rows.read(at, at + rows.size))
            return rows.size
        return source.done * rows.size

    def _replay(self, program, source, rows, at: int, stop: int) -> bool:
        try:
            return source.run(program, rows.order, at, stop, _BUDGET)
        except FloatingPointError:
            start = at + source.done * rows.size
            self.batch = rows.read(start, start + rows.size)[:2]
            raise
        finally:  # also on Ctrl-C
            if source.done:
                losses, *measured = (values[: source.done].numpy() for values in source.results)
                self.totals.add(losses.tolist(), measured, rows.size)

    def _source(self, rows):
        key = (rows.size, *map(id, rows.tensors))
        if key not in self._sources:
            self._sources = {key: (_core._Batches(list(rows.tensors), rows.size), rows.tensors)}
        return self._sources[key][0]


def _parts(batch):
    """(input, target), or (input, target, weight)."""
    if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
        kind = f"{type(batch).__name__} of {len(batch)}" if isinstance(batch, (tuple, list)) else type(batch).__name__
        raise TypeError(f"a batch must be a pair (input, target), or (input, target, weight), got {kind}")
    return batch


def _only_tensors(value) -> bool:
    if isinstance(value, (tuple, list)):
        return all(map(_only_tensors, value))
    if isinstance(value, dict):
        return all(map(_only_tensors, value.values()))
    return isinstance(value, _core.Tensor)
