"""What a compiled function runs: its instructions before and after planning, what they compute, move and keep."""

from collections import Counter
from dataclasses import dataclass
from heapq import nlargest
from html import escape
from itertools import chain
from os.path import basename
from struct import unpack
from typing import NamedTuple

from .. import _core
from .names import arguments, tensors_by_address

_ROWS = 60  # of a list of instructions that are printed
_LAST = 10  # of them from its end
_OPERANDS = 6  # of an instruction that are printed
_LARGEST = 5  # values that are printed
_FORMATS = {"float32": "f", "float64": "d", "int64": "q", "int32": "i", "uint8": "B", "bool": "?"}
_HEADER = ("#", "flops", "bytes", "line", "from", "instruction")


class _Raw(NamedTuple):
    """An instruction as the extension tells it; slots are tensors over values, which are pieces of memory."""

    op: str
    inputs: list
    written: list
    file: str | None
    line: int
    flops: float
    bytes: float
    backward: bool
    optimizer: bool
    stands_for: list


class _Value(NamedTuple):
    kind: str  # argument, state, constant, inner
    home: str  # inner: arena, output, gradient, result
    argument: int
    bytes: int
    address: int
    constant: bytes | None


class _Slot(NamedTuple):
    value: int
    offset: int
    dtype: str
    shape: tuple
    strides: tuple | None


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, its operands and results as text: `%3 0.weight: float32 (256, 784)` is value 3.

    part: "forward", "backward" or "optimizer". stands_for: the captured instructions in whose place it runs, by number.
    flops, bytes: as the profiler counts them.
    """

    number: int
    op: str
    operands: list
    results: list
    in_place: bool
    file: str | None
    line: int
    flops: float
    bytes: float
    part: str
    stands_for: list

    def __str__(self):
        return self.text(None)

    def text(self, most):
        """The instruction with at most so many of its operands."""
        operands = f"{self.op}({_some(self.operands, most)})"
        if not self.in_place:
            return f"{', '.join(self.results)} = {operands}"
        return f"{operands} writes {_some([r.partition(':')[0] for r in self.results], most)}"


class ProgramView:
    """One captured program. flops, bytes: of all that a replay runs."""

    def __init__(self, program, function, call, used, grad_mode):
        raw = program.explain()
        self.grad_mode = grad_mode
        self.arena_bytes = raw["arena_bytes"]
        self.name = _printable(getattr(function, "__name__", type(function).__name__))
        self._values = _columns(_Value, raw["values"])
        self._slots = _columns(_Slot, raw["slots"])
        self._planned = _columns(_Raw, raw["instructions"])
        self.changed = raw["captured"] is not raw["instructions"]  # by the plan
        self._captured = _columns(_Raw, raw["captured"]) if self.changed else self._planned
        self._captured_values = raw["captured_values"]  # of each slot
        self._outputs = raw["outputs"]
        self._arguments, self._signature = arguments(function, *call)
        self._addresses = tensors_by_address(used)
        self._names = self._value_names(raw)
        lists = (self._captured, self._planned)[: 1 + self.changed]
        self._parts = {id(part): _parts(part, self._values, self._slots) for part in lists}

    @property
    def instructions(self):
        """What a replay runs: a list of `Instruction`."""
        return [self._instruction(self._planned, i) for i in range(len(self))]

    @property
    def captured(self):
        """The same before planning, which is what an uncompiled run does."""
        return [self._instruction(self._captured, i) for i in range(len(self._captured.op))]

    def __len__(self):
        return len(self._planned.op)

    @property
    def left_out(self):
        """The captured instructions that no instruction stands for."""
        kept = set(chain.from_iterable(self._planned.stands_for))
        return [number for number in range(len(self._captured.op)) if number not in kept]

    @property
    def flops(self):
        return sum(self._planned.flops)

    @property
    def bytes(self):
        return sum(self._planned.bytes)

    @property
    def inner_bytes(self):
        """All inner values together, as an uncompiled run allocates them."""
        slots = set(chain.from_iterable(chain(self._captured.inputs, self._captured.written)))
        used = {self._captured_values[slot] for slot in slots}
        return sum(self._values.bytes[v] for v in used if self._values.kind[v] == "inner")

    @property
    def state_bytes(self):
        return self._bytes_at("state", "arena")

    @property
    def output_bytes(self):
        return self._bytes_at("inner", "output")

    @property
    def gradient_bytes(self):
        """What the run leaves in `.grad`, or hands to a backward pass outside."""
        return self._bytes_at("inner", "gradient") + self._bytes_at("inner", "result")

    def parts_of(self, instruction):
        """The names of the captured instructions that one of `instructions` stands for, where they are several."""
        several = self.changed and len(instruction.stands_for) > 1
        return [self._captured.op[n] for n in instruction.stands_for] if several else []

    def kind(self, value):
        """argument, state, constant, or inner: made by an instruction."""
        return self._values.kind[value]

    def _bytes_at(self, kind, home):
        columns = zip(self._values.kind, self._values.home, self._values.bytes, strict=True)
        return sum(size for *where, size in columns if where == [kind, home])

    def _value_names(self, raw):
        """Names of values that have one wherever a tensor lies over them."""
        names = {}
        for number, (kind, argument) in enumerate(zip(self._values.kind, self._values.argument, strict=True)):
            if kind == "argument":
                names[number] = self._arguments[argument] if argument < len(self._arguments) else "gradient"
            elif kind == "constant":
                names[number] = "constant"
        for address, slot in raw["gradients"]:
            if slot >= 0 and address in self._addresses:
                names[self._slots.value[slot]] = f"{self._addresses[address]}.grad"
        for output, value in raw["parts"]:
            names[value] = f"gradient of output {output}"
        return names

    def _operand(self, number, captured=False):
        """A slot as text; over another value before planning where that has found two to be the same."""
        slot = _row(self._slots, number)
        if captured:
            slot = slot._replace(value=self._captured_values[number])
        value = _row(self._values, slot.value)
        name = self._names.get(slot.value, "")
        if value.kind == "state":
            name = self._addresses.get(value.address + slot.offset) or self._addresses.get(value.address) or "state"
        kind, size = slot.dtype, slot.offset
        if value.constant and not slot.shape and kind in _FORMATS:
            name = f"constant {unpack(_FORMATS[kind], value.constant)[0]:g}"
        layout = f" strides {slot.strides}" if slot.strides else ""
        layout += f" offset {size} B" if size else ""
        return f"%{slot.value}{' ' * bool(name)}{_printable(name)}: {kind} {slot.shape}{layout}"

    def _instruction(self, of, number):
        raw = _row(of, number)
        before = of is self._captured
        operands, results = ([self._operand(s, before) for s in slots] for slots in (raw.inputs, raw.written))
        values = [{self._slots.value[s] for s in slots} for slots in (raw.inputs, raw.written)]
        in_place = bool(values[0]) and values[1] <= values[0]
        part = self._parts[id(of)][number]
        work = raw.flops, raw.bytes, part, sorted(set(raw.stands_for))
        return Instruction(number, raw.op, operands, results, in_place, raw.file, raw.line, *work)

    def title(self):
        """The function's signature with shapes and dtypes, and what it returns."""
        out = ", ".join(f"argument {a}" if s < 0 else self._operand(s) for a, s in self._outputs)
        mode = "" if self.grad_mode else ", under no_grad"
        return f"{self.name}({self._signature}) -> {out or None}{mode}"

    def _summary(self):
        yield f"{_count(self.flops)}FLOP, {_size(self.bytes)} moved, {_core.get_num_threads()} threads"
        kept = f", {100 * self.arena_bytes / self.inner_bytes:.0f}%" if self.inner_bytes else ""
        yield (
            f"inner values: {_size(self.inner_bytes)} as an uncompiled run allocates them, "
            f"{_size(self.arena_bytes)} of arena{kept}"
        )
        yield f"state: {_size(self.state_bytes)}"
        yield f"outputs: {_size(self.output_bytes)}; gradients: {_size(self.gradient_bytes)}"
        first = {}
        for slot in chain.from_iterable(self._planned.written):
            first.setdefault(self._slots.value[slot], slot)
        inner = ((self._values.bytes[v], -v) for v in first if self._values.kind[v] == "inner")
        largest = [f"{self._operand(first[-v])} {_size(size)}" for size, v in nlargest(_LARGEST, inner)]
        if largest:
            yield "largest: " + "; ".join(largest)

    def _lists(self):
        """(heading, instructions) of what is listed."""
        count = len(self._captured.op)
        if not self.changed:
            yield f"{count} instructions, which the plan left as they were captured", self._captured
            return
        yield f"{count} captured instructions", self._captured
        left_out = self.left_out
        without = f"; left out: {_ranges(left_out)}" if left_out else ""
        yield f"{len(self)} instructions after planning{without}", self._planned

    def _rows(self, of):
        """Cells of the instructions that are shown; a text alone is a heading in between."""
        files = Counter(basename(file) for file in set(of.file) if file)
        count = len(of.op)
        head = count if count <= _ROWS else _ROWS - _LAST
        part = None
        for number in [*range(head), *range(max(head, count - _LAST), count)]:
            if number == count - _LAST and number > head:
                yield f"... {number - head} more ..."
            instruction = self._instruction(of, number)
            if instruction.part != part:
                part = instruction.part
                yield part
            file = instruction.file or ""
            short = basename(file) if files[basename(file)] == 1 else file
            group = self.changed and of is self._planned and instruction.stands_for != [number]
            yield (
                str(number),
                _count(instruction.flops),
                _size(instruction.bytes),
                f"{short}:{instruction.line}" if file else "",
                _ranges(instruction.stands_for) if group else "",
                instruction.text(_OPERANDS),
            )

    def __str__(self):
        lines = [self.title(), *(f"  {line}" for line in self._summary())]
        for heading, of in self._lists():
            rows = list(self._rows(of))
            cells = [row for row in rows if not isinstance(row, str)]
            shown = [i for i in range(len(_HEADER)) if any(row[i] for row in cells)]
            widths = {i: max(len(row[i]) for row in (_HEADER, *cells)) for i in shown}
            right = {0, 1, 2}
            lines += ["", heading]
            for row in (_HEADER, *rows) if rows else ():
                if isinstance(row, str):
                    lines.append(f"  {row}")
                    continue
                padded = [row[i].rjust(widths[i]) if i in right else row[i].ljust(widths[i]) for i in shown]
                lines.append("  ".join(["", *padded]).rstrip())
        return "\n".join(lines)

    def _repr_html_(self):
        parts = [f"<h4><code>{escape(self.title())}</code></h4><ul>"]
        parts += [f"<li>{escape(line)}</li>" for line in self._summary()]
        parts.append("</ul>")
        for heading, of in self._lists():
            parts.append(f'<details open=""><summary>{escape(heading)}</summary><table><tr>')
            parts += [f"<th>{cell}</th>" for cell in _HEADER]
            parts.append("</tr>")
            for row in self._rows(of):
                if isinstance(row, str):
                    parts.append(f'<tr><td colspan="{len(_HEADER)}"><b>{escape(row)}</b></td></tr>')
                else:
                    parts.append("<tr>" + "".join(f"<td><code>{escape(cell)}</code></td>" for cell in row) + "</tr>")
            parts.append("</table></details>")
        return "".join(parts)


class Explanation:
    """What `Compiled.explain()` returns: print it, or take it apart: `programs` is a list of `ProgramView`."""

    def __init__(self, programs, name):
        self.programs = programs
        self._empty = f"{name}: nothing has been captured yet; call it"

    def __str__(self):
        return "\n\n".join(map(str, self.programs)) or self._empty

    __repr__ = __str__

    def _repr_html_(self):
        return "".join(p._repr_html_() for p in self.programs) or f"<p>{escape(self._empty)}</p>"


def _columns(kind, rows):
    """Rows as a tuple of columns: few objects, however many rows."""
    return kind(*zip(*rows, strict=True)) if rows else kind(*[()] * len(kind._fields))


def _row(columns, number):
    return type(columns)(*[column[number] for column in columns])


def _some(texts, most, between=", "):
    more = len(texts) - most if most is not None else 0
    return between.join(texts if more <= 0 else [*texts[:most], f"{more} more"])


def _printable(text):
    """Without the characters that XML does not have."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def _ranges(numbers):
    """Ascending numbers as `3+5-8`."""
    runs = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return _some([str(a) if a == b else f"{a}-{b}" for a, b in runs], _OPERANDS, "+")


def _amount(number, step, units):
    power = 0
    while number >= step and power < len(units) - 1:
        number, power = number / step, power + 1
    return f"{number:.{min(power, 1)}f}{units[power]}"


def _count(number):
    return _amount(number, 1000, (" ", " k", " M", " G", " T"))


def _size(number):
    return _amount(number, 1024, (" B", " KiB", " MiB", " GiB"))


def _parts(instructions, values, slots):
    """Which part of a training step each instruction belongs to."""
    changes = [
        optimizer or any(values.kind[slots.value[s]] == "state" for s in written)
        for optimizer, written in zip(instructions.optimizer, instructions.written, strict=True)
    ]
    last = max((i for i, backward in enumerate(instructions.backward) if backward), default=len(changes))
    updates = any(changes[last + 1 :])
    return [
        "optimizer" if optimizer or (updates and i > last) else "backward" if backward else "forward"
        for i, (optimizer, backward) in enumerate(zip(instructions.optimizer, instructions.backward, strict=True))
    ]
