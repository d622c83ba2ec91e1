"""Where the time goes: profile() lists what every op took and how near that is to what the machine can do."""

import json
import os
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache, wraps

from . import _core
from ._threads import threads

__all__ = ["Event", "EventAverage", "EventList", "ProfilerActivity", "profile", "record_function"]


class ProfilerActivity(Enum):
    """What can be profiled."""

    CPU = 0


class record_function:
    """`with record_function(name):`, or `@record_function(name)` on a function: a range of that name in the profile.

    Ranges nest. Without a profile it costs next to nothing.
    """

    def __init__(self, name: str):
        self.name = name
        self._start = 0

    def __enter__(self):
        self._start = _core._profile_clock()
        return self

    def __exit__(self, *exc):
        _core._profile_range(self.name, self._start)

    def __call__(self, function):
        @wraps(function)
        def inside(*args, **kwargs):
            with record_function(self.name):
                return function(*args, **kwargs)

        return inside


@dataclass(slots=True)
class Event:
    """An op that ran, or a range: `record_function`, or `backward`, which is a whole reverse sweep.

    start, duration: ns, start since the profile began; self_duration: without the events inside. flops, bytes: of a
    range those of the ops inside. shape, dtype: of the op's first output, None for a range. floor: ns, see `profile`.
    """

    name: str
    is_range: bool
    is_backward: bool
    thread: int
    start: int
    duration: int
    flops: float
    bytes: float
    shape: tuple | None
    dtype: object
    self_duration: int = field(init=False)
    floor: float = field(init=False, default=0.0)

    def __post_init__(self):
        self.self_duration = self.duration


@lru_cache
def _peak(num_threads):
    with threads(num_threads):
        return _core._measure_peak()


def _floor(event, peak):
    float32, float64, bandwidths = peak
    rate = next((rate for size, rate in reversed(bandwidths) if size <= event.bytes), bandwidths[0][1])
    return 1e9 * max(event.flops / (float64 if event.dtype is _core.float64 else float32), event.bytes / rate)


def _nest(events, peak):
    """Sets floor and self_duration, and gives ranges what the ops inside computed and moved."""
    outer = []
    for event in sorted(events, key=lambda e: (e.thread, e.start, -e.duration, not e.is_range)):
        while outer and (outer[-1].thread != event.thread or outer[-1].start + outer[-1].duration <= event.start):
            outer.pop()
        if outer:
            outer[-1].self_duration = max(outer[-1].self_duration - event.duration, 0)
        if event.is_range:
            outer.append(event)
            continue
        event.floor = _floor(event, peak)
        for one in outer:
            one.flops += event.flops
            one.bytes += event.bytes
            one.floor += event.floor


@dataclass(slots=True)
class EventAverage:
    """Events of one name (and shape), forward or backward, added up. Times in µs, as in PyTorch."""

    key: str
    is_range: bool
    is_backward: bool
    shape: tuple | None
    count: int = 0
    cpu_time_total: float = 0.0
    self_cpu_time_total: float = 0.0
    flops: float = 0.0
    bytes: float = 0.0
    floor_time_total: float = 0.0

    @property
    def cpu_time(self):
        """Mean time in µs."""
        return self.cpu_time_total / self.count

    def _add(self, event):
        self.count += 1
        self.cpu_time_total += event.duration / 1e3
        self.self_cpu_time_total += event.self_duration / 1e3
        self.flops += event.flops
        self.bytes += event.bytes
        self.floor_time_total += event.floor / 1e3


_SORT_KEYS = ("cpu_time_total", "self_cpu_time_total", "cpu_time", "count", "flops", "bytes", "key")
_HEADINGS = ("", "calls", "total ms", "mean µs", "share %", "GFLOP/s", "GB/s", "floor %")


class EventList(list):
    """The rows that `profile.key_averages` returns."""

    def __init__(self, rows, duration):
        super().__init__(rows)
        self._duration = duration  # of the profile, µs

    def table(self, sort_by="cpu_time_total", row_limit=100):
        """The rows as text: ops, then ranges, then the time in ops.

        sort_by: cpu_time_total, self_cpu_time_total, cpu_time, count, flops or bytes (largest first), or key. At most
        row_limit ops and ranges each, all if it is negative. Columns: number of calls; time, and time per call; its
        share of the whole profile; rates of computing and of moving bytes; the floor (see `profile`) in percent of
        the time. ValueError for another sort_by.
        """
        if sort_by not in _SORT_KEYS:
            raise ValueError(f"table: sort_by must be one of {', '.join(_SORT_KEYS)}; got {sort_by!r}")
        rows = sorted(self, key=lambda row: getattr(row, sort_by), reverse=sort_by != "key")
        limit = len(rows) if row_limit < 0 else row_limit
        ops, ranges = ([row for row in rows if row.is_range == kind][:limit] for kind in (False, True))
        blocks = [[_HEADINGS], [self._cells(row) for row in ops], [self._cells(row) for row in ranges]]
        widths = [max(len(cells[i]) for block in blocks for cells in block) for i in range(len(_HEADINGS))]
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        lines = []
        for block in filter(None, blocks):
            for first, *rest in block:
                padded = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
                lines.append("  ".join([first.ljust(widths[0]), *padded]))
            lines.append(rule)
        inside = sum(row.cpu_time_total for row in self if not row.is_range)
        lines.append(f"{self._duration / 1e3:.3f} ms, of which {inside / 1e3:.3f} ms in ops")
        return "\n".join(lines)

    def _cells(self, row):
        name = row.key + (f" {tuple(row.shape)}" if row.shape is not None else "")
        time = row.cpu_time_total or 1e-3  # the clock may not have moved
        return (
            name + (" in backward" if row.is_backward and not row.is_range else ""),
            f"{row.count}",
            f"{row.cpu_time_total / 1e3:.3f}",
            f"{row.cpu_time:.2f}",
            f"{100 * row.cpu_time_total / self._duration:.1f}",
            f"{row.flops / time / 1e3:.2f}",
            f"{row.bytes / time / 1e3:.2f}",
            f"{100 * row.floor_time_total / time:.1f}",
        )

    def __str__(self):
        return self.table()


class profile:
    """`with profile() as prof:` records every op that runs, in all Python threads, and when, in ns.

    activities: for PyTorch's sake. record_shapes: rows for each shape of an op's output. with_flops: always on.
    Views (reshape, transpose, ...) compute nothing and are not ops here. RuntimeError inside another profile.

    What the numbers rest on:

    - flops: 2mnk for a product; otherwise one for each element of the largest operand, also where the element costs
      more (exp); none for copies and draws.
    - bytes: each operand and result once, as if nothing lay in a register from the op before.
    - The floor under the time of an op: the larger of flops / peak and bytes / bandwidth, both measured with the number
      of threads at the profile's end, once, in some 50 ms, when first asked for. Peak: the inner kernel of the matrix
      product in float32 or float64, operands in the caches. Bandwidth: a += b in float32 (3 moves, 2 of them reads),
      the arrays of 32 KiB, 512 KiB, 2, 8 or 48 MiB together, split among the threads and passed over several times;
      the largest size that the op's bytes reach counts. So the floor takes operands to be in the caches that they would
      fit. It leaves out the calls and handing work to threads, so small ops stay far above it.
    """

    def __init__(self, activities=None, *, record_shapes=False, with_flops=True):
        self._record_shapes = record_shapes
        self._begin = None
        self._events = None

    def start(self):
        """Begin to record; `with` does it."""
        _core._profile_start()
        self._begin = _core._profile_clock()
        self._events = None

    def stop(self):
        """End the record; `with` does it, after an exception too."""
        if self._begin is None:
            raise RuntimeError("profile: stop() without start()")
        self._duration = _core._profile_clock() - self._begin
        self._records = _core._profile_stop()
        self._threads = _core.get_num_threads()
        self._begin = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.stop()

    def events(self):
        """All events, as a list of `Event`, in the order in which they ended."""
        if self._events is None:
            if self._begin is not None or not hasattr(self, "_records"):
                raise RuntimeError("profile: there are no events before the profile has ended")
            self._events = [Event(*record) for record in self._records]
            _nest(self._events, _peak(self._threads))
        return self._events

    def key_averages(self, group_by_input_shape=None):
        """The events added up by name, forward and backward apart, and by the shape of the output if asked to (by
        default as record_shapes says); print it, or its `table()`.
        """
        by_shape = self._record_shapes if group_by_input_shape is None else group_by_input_shape
        rows = {}
        for event in self.events():
            key = event.name, event.is_range, event.is_backward, event.shape if by_shape else None
            if (row := rows.get(key)) is None:
                row = rows[key] = EventAverage(*key)
            row._add(event)
        return EventList(rows.values(), self._duration / 1e3)

    def export_chrome_trace(self, path):
        """Write the events as JSON for ui.perfetto.dev or chrome://tracing; times in µs."""
        pid = os.getpid()
        trace = []
        for event in self.events():
            args = {"flops": event.flops, "bytes": event.bytes, "backward": event.is_backward}
            if not event.is_range:
                args |= {"shape": list(event.shape), "dtype": str(event.dtype)}
            trace.append(
                {
                    "ph": "X",
                    "name": event.name,
                    "cat": "range" if event.is_range else "op",
                    "ts": event.start / 1e3,
                    "dur": event.duration / 1e3,
                    "pid": pid,
                    "tid": event.thread,
                    "args": args,
                }
            )
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"traceEvents": trace, "displayTimeUnit": "ns"}, file)
