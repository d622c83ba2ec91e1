"""summary(): the layers of a model with what goes in and out, their parameters and flops, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from . import _core
from ._grad_mode import no_grad
from ._tree import flatten
from .nn import Module


@dataclass(slots=True)
class LayerSummary:
    """A module of a model; without the modules inside of it, which have rows of their own.

    input, output: shapes at its last call; None where it was not called or the value is no single tensor.
    flops: 2mnk for a product, otherwise one for each element of the largest operand of an op; in all its calls.
    """

    name: str
    kind: str
    input: tuple | None
    output: tuple | None
    parameters: int
    flops: float


class Summary:
    """What `summary` found; print it, or show it in a notebook. `rows` are the layers, in order.

    total_parameters, trainable_parameters: elements, shared ones once. total_flops: of one pass.
    """

    _HEADINGS = ("layer", "kind", "input", "output", "parameters", "flops")

    def __init__(self, rows: list[LayerSummary], total_parameters: int, trainable_parameters: int):
        self.rows = rows
        self.total_parameters = total_parameters
        self.trainable_parameters = trainable_parameters
        self.total_flops = sum(row.flops for row in rows)

    def _cells(self):
        shapes = ["" if shape is None else str(shape) for row in self.rows for shape in (row.input, row.output)]
        for row, given, made in zip(self.rows, shapes[::2], shapes[1::2], strict=True):
            depth = row.name.count(".") + bool(row.name)
            name = "  " * depth + (row.name.rpartition(".")[2] or "model")
            yield name, row.kind, given, made, f"{row.parameters:,}" if row.parameters else "", _flops(row.flops)

    def _totals(self):
        frozen = self.total_parameters - self.trainable_parameters
        without = f", {frozen:,} of them not trained" if frozen else ""
        return f"{self.total_parameters:,} parameters{without}; {_flops(self.total_flops) or '0'} flops"

    def __str__(self):
        lines = [self._HEADINGS, *self._cells()]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        texts = [
            "  ".join(
                cell.rjust(w) if i >= 4 else cell.ljust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))
            )
            for line in lines
        ]
        return "\n".join([texts[0].rstrip(), "-" * len(texts[0]), *map(str.rstrip, texts[1:]), self._totals()])

    __repr__ = __str__

    def _repr_html_(self):
        def line(tag, cells):
            return "<tr>" + "".join(f'<{tag} style="white-space: pre">{escape(c)}</{tag}>' for c in cells) + "</tr>"

        rows = "".join(line("td", cells) for cells in self._cells())
        return f"<table>{line('th', self._HEADINGS)}{rows}</table><p>{escape(self._totals())}</p>"


def _flops(count):
    if not count:
        return ""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f}"


class _Calls:
    """Hooks on every module that note the shapes of its calls and, by ranges in the profile, its flops."""

    def __init__(self, modules):
        self.shapes, self.flops, self._starts = {}, [0.0] * len(modules), []
        self._handles = []
        for i, module in enumerate(modules):
            self._handles += [
                module.register_forward_pre_hook(lambda m, args: self._starts.append(_core._profile_clock())),
                module.register_forward_hook(lambda m, args, output, i=i: self._after(i, args, output)),
            ]

    def _after(self, i, args, output):
        _core._profile_range(str(i), self._starts.pop())
        self.shapes[i] = _shape(args), _shape(output)

    def __enter__(self):
        _core._profile_start()
        return self

    def __exit__(self, *exc):
        for handle in self._handles:
            handle.remove()
        pending = []  # ops that ended, but no call around them yet
        for name, is_range, _, _, start, _, flops, *_ in _core._profile_stop():
            if not is_range:
                pending.append((start, flops))
                continue
            while pending and pending[-1][0] >= start:
                self.flops[int(name)] += pending.pop()[1]


def _shape(value):
    tensors = [leaf for leaf in flatten(value)[0] if isinstance(leaf, _core.Tensor)]
    return tuple(tensors[0].shape) if len(tensors) == 1 else None


def _inputs(shapes, dtype):
    """The tensors of one shape, or of a list of shapes and tensors."""
    if isinstance(shapes, _core.Tensor):
        return [shapes]
    if all(isinstance(size, int) for size in shapes):
        return [_core.zeros(*shapes, dtype=dtype)]
    return [tensor for one in shapes for tensor in _inputs(one, dtype)]


@no_grad
def summary(model: Module, input_shape: Sequence | _core.Tensor, dtype: _core.dtype | None = None) -> Summary:
    """Runs the model once, in eval mode, and tells of each layer the shapes, parameters and flops.

    input_shape: sizes of the input, the batch among them, e.g. (64, 784); or a tensor; or a list of these for a model
    of several inputs. dtype: of inputs given by sizes, which are zeros: float32, or int64 for an Embedding.
    """
    if not isinstance(model, Module):
        raise TypeError(f"summary: expected a module, got {type(model).__name__}")
    inputs = _inputs(input_shape, dtype)
    names, modules = zip(*model.named_modules(), strict=True)
    modes = [module.training for module in modules]
    model.eval()
    try:
        with _Calls(modules) as calls:
            model(*inputs)
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
    rows = [
        LayerSummary(
            name,
            type(module).__name__,
            *calls.shapes.get(i, (None, None)),
            sum(p.numel() for p in module.parameters(recurse=False)),
            calls.flops[i],
        )
        for i, (name, module) in enumerate(zip(names, modules, strict=True))
    ]
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return Summary(rows, sum(n for n, _ in sizes), sum(n for n, trained in sizes if trained))
