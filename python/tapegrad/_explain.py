"""What a compiled function runs: its instructions before and after planning, what they compute, move and keep."""

import inspect
from collections import Counter
from dataclasses import dataclass
from html import escape
from os.path import basename
from struct import unpack
from typing import NamedTuple

from . import _core

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
        self.name = getattr(function, "__name__", type(function).__name__)
        self._values = [_Value(*v) for v in raw["values"]]
        self._slots = [_Slot(*s) for s in raw["slots"]]
        self._planned = [_Raw(*i) for i in raw["instructions"]]
        self._captured = [_Raw(*i) for i in raw["captured"]]
        self._outputs = raw["outputs"]
        self._arguments, self._signature = _arguments(function, *call)
        self._addresses = _addresses(used)
        self._names = self._value_names(raw)
        self._parts = {id(part): _parts(part, self._values, self._slots) for part in (self._captured, self._planned)}

    @property
    def instructions(self):
        """What a replay runs: a list of `Instruction`."""
        return [self._instruction(self._planned, i) for i in range(len(self._planned))]

    @property
    def captured(self):
        """The same before planning, which is what an uncompiled run does."""
        return [self._instruction(self._captured, i) for i in range(len(self._captured))]

    @property
    def changed(self):
        """Whether the plan changed anything."""
        same = len(self._planned) == len(self._captured)
        return not same or any(a[:3] != b[:3] for a, b in zip(self._planned, self._captured, strict=True))

    @property
    def left_out(self):
        """The captured instructions that no instruction stands for."""
        kept = {number for raw in self._planned for number in raw.stands_for}
        return [number for number in range(len(self._captured)) if number not in kept]

    @property
    def flops(self):
        return sum(raw.flops for raw in self._planned)

    @property
    def bytes(self):
        return sum(raw.bytes for raw in self._planned)

    @property
    def inner_bytes(self):
        """All inner values together, as an uncompiled run allocates them."""
        used = {self._slots[s].value for raw in self._captured for s in (*raw.inputs, *raw.written)}
        return sum(self._values[v].bytes for v in used if self._values[v].kind == "inner")

    @property
    def state_bytes(self):
        return sum(value.bytes for value in self._values if value.kind == "state")

    @property
    def output_bytes(self):
        return self._bytes_at("output")

    @property
    def gradient_bytes(self):
        """What the run leaves in `.grad`, or hands to a backward pass outside."""
        return self._bytes_at("gradient") + self._bytes_at("result")

    def kind(self, value):
        """argument, state, constant, or inner: made by an instruction."""
        return self._values[value].kind

    def _bytes_at(self, home):
        return sum(value.bytes for value in self._values if value.kind == "inner" and value.home == home)

    def _value_names(self, raw):
        """Names of values that have one wherever a tensor lies over them."""
        names = {}
        for number, value in enumerate(self._values):
            if value.kind == "argument":
                known = value.argument < len(self._arguments)
                names[number] = self._arguments[value.argument] if known else "gradient"
            elif value.kind == "constant":
                names[number] = "constant"
        for address, slot in raw["gradients"]:
            if slot >= 0 and address in self._addresses:
                names[self._slots[slot].value] = f"{self._addresses[address]}.grad"
        for output, value in raw["parts"]:
            names[value] = f"gradient of output {output}"
        return names

    def _operand(self, number):
        """A slot as text."""
        slot = self._slots[number]
        value = self._values[slot.value]
        name = self._names.get(slot.value, "")
        if value.kind == "state":
            name = self._addresses.get(value.address + slot.offset) or self._addresses.get(value.address) or "state"
        kind, size = slot.dtype, slot.offset
        if value.constant and not slot.shape and kind in _FORMATS:
            name = f"constant {unpack(_FORMATS[kind], value.constant)[0]:g}"
        layout = f" strides {slot.strides}" if slot.strides else ""
        layout += f" offset {size} B" if size else ""
        return f"%{slot.value}{' ' * bool(name)}{name}: {kind} {slot.shape}{layout}"

    def _instruction(self, of, number):
        raw = of[number]
        operands, results = ([self._operand(s) for s in slots] for slots in (raw.inputs, raw.written))
        values = [{self._slots[s].value for s in slots} for slots in (raw.inputs, raw.written)]
        in_place = bool(values[0]) and values[1] <= values[0]
        part = self._parts[id(of)][number]
        work = raw.flops, raw.bytes, part, raw.stands_for
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
        for raw in self._planned:
            for slot in raw.written:
                first.setdefault(self._slots[slot].value, slot)
        inner = [value for value in first if self._values[value].kind == "inner"]
        inner.sort(key=lambda value: -self._values[value].bytes)
        largest = [f"{self._operand(first[v])} {_size(self._values[v].bytes)}" for v in inner[:_LARGEST]]
        if largest:
            yield "largest: " + "; ".join(largest)

    def _lists(self):
        """(heading, instructions) of what is listed."""
        count = len(self._captured)
        if not self.changed:
            yield f"{count} instructions, which the plan left as they were captured", self._captured
            return
        yield f"{count} captured instructions", self._captured
        left_out = self.left_out
        without = f"; left out: {_some([str(n) for n in left_out], 20)}" if left_out else ""
        yield f"{len(self._planned)} instructions after planning{without}", self._planned

    def _rows(self, of):
        """Cells of the instructions that are shown; a text alone is a heading in between."""
        files = Counter(basename(file) for file in {raw.file for raw in of if raw.file})
        head = len(of) if len(of) <= _ROWS else _ROWS - _LAST
        part = None
        for number in [*range(head), *range(max(head, len(of) - _LAST), len(of))]:
            if number == len(of) - _LAST and number > head:
                yield f"... {number - head} more ..."
            instruction = self._instruction(of, number)
            if instruction.part != part:
                part = instruction.part
                yield part
            file = instruction.file or ""
            short = basename(file) if files[basename(file)] == 1 else file
            group = of is self._planned and instruction.stands_for != [number]
            yield (
                str(number),
                _count(instruction.flops),
                _size(instruction.bytes),
                f"{short}:{instruction.line}" if file else "",
                "+".join(map(str, instruction.stands_for)) if group else "",
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
            parts.append(f"<details open><summary>{escape(heading)}</summary><table><tr>")
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


def _some(texts, most):
    more = len(texts) - most if most is not None else 0
    return ", ".join(texts) if more <= 0 else ", ".join([*texts[:most], f"{more} more"])


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

    def changes_state(raw):
        return raw.optimizer or any(values[slots[s].value].kind == "state" for s in raw.written)

    last = max((i for i, raw in enumerate(instructions) if raw.backward), default=len(instructions))
    updates = any(changes_state(raw) for raw in instructions[last + 1 :])
    parts = []
    for i, raw in enumerate(instructions):
        behind = raw.optimizer or (updates and i > last)
        parts.append("optimizer" if behind else "backward" if raw.backward else "forward")
    return parts


def _addresses(used):
    """The names of parameters, buffers and optimizer state by where they lie in memory."""
    modules = [one for one in used if hasattr(one, "named_parameters")]
    inner = {id(part) for module in modules for part in module.modules() if part is not module}
    roots = [module for module in modules if id(module) not in inner]
    kinds = Counter(type(root).__name__ for root in roots)
    names = {}
    for number, root in enumerate(roots):
        kind = type(root).__name__
        prefix = "" if len(roots) == 1 else kind if kinds[kind] == 1 else f"{kind}{number}"
        for named in (root.named_parameters(prefix=prefix), root.named_buffers(prefix=prefix)):
            for name, tensor in named:
                names.setdefault(tensor.data_ptr(), name)
    for optimizer in used:
        for group in getattr(optimizer, "param_groups", ()):
            _name_state(names, optimizer, group)
    return names


def _name_state(names, optimizer, group):
    given = group.get("param_names") or [f"params[{i}]" for i in range(len(group["params"]))]
    for param, name in zip(group["params"], given, strict=True):
        name = names.setdefault(param.data_ptr(), name)
        for key, state in optimizer.state.get(param, {}).items():
            if isinstance(state, _core.Tensor):  # one that several parameters share has no parameter's name
                shared = state.data_ptr() in names
                names[state.data_ptr()] = key if shared else f"{name}.{key}"


def _arguments(function, args, kwargs):
    """The names of a call's tensors, in the order in which the extension sorts them, and the call as text."""
    try:
        parameters = inspect.signature(function).parameters.values()
        given = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    except (TypeError, ValueError):  # a callable that does not tell
        given = []
    given = [*given[: len(args)], *(f"argument {i}" for i in range(len(given), len(args)))]
    names, texts = [], []

    def add(name, value):
        if isinstance(value, _core.Tensor):
            names.append(name)
            texts.append(f"{name}: {str(value.dtype).rpartition('.')[2]} {tuple(value.shape)}")
        elif type(value) in (tuple, list):
            for i, item in enumerate(value):
                add(f"{name}[{i}]", item)
        elif type(value) is dict:
            for key, item in value.items():
                add(f"{name}[{key!r}]", item)
        else:
            text = repr(value) if isinstance(value, (int, float, str, type(None))) else type(value).__name__
            texts.append(f"{name}={text if len(text) < 30 else text[:26] + '...'}")

    for name, value in [*zip(given, args, strict=True), *kwargs.items()]:
        add(name, value)
    return names, ", ".join(texts)
