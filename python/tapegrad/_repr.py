"""How tensors print: PyTorch's digits and layout."""

from math import inf, isfinite

from . import _core
from ._core import Tensor

# Ops that PyTorch makes of others, under the name of the last one.
_PYTORCHS = {
    "cross_entropy": "NllLossBackward0",
    "linear": "AddmmBackward0",
    "matmul": "MmBackward0",
    "region_put_": "CopySlices",
    "reshape": "ViewBackward0",
    "to": "ToCopyBackward0",
}


class GradFn:
    """Names the recorded operation that made a tensor."""

    __slots__ = ("_name", "_sequence")

    def __init__(self, name, sequence):
        self._name = name
        self._sequence = sequence

    def name(self):
        """PyTorch's name: as a rule the op in capitals, then Backward0."""
        capitals = "".join(part.capitalize() for part in self._name.split("_"))
        return _PYTORCHS.get(self._name, capitals + "Backward0")

    def __eq__(self, other):
        return isinstance(other, GradFn) and self._sequence == other._sequence

    def __hash__(self):
        return hash(self._sequence)

    def __repr__(self):
        return f"<{self.name()}>"


_PROFILES = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": inf, "edgeitems": 3, "linewidth": 80},
}
_options = {**_PROFILES["default"], "sci_mode": None}
_DOTS = "..."


def set_printoptions(precision=None, threshold=None, edgeitems=None, linewidth=None, profile=None, sci_mode=None):
    """How tensors print, until the next call; what is not given stays.

    precision: digits after the point. threshold: of elements, beyond which only `edgeitems` at the edges of each
    dimension show. linewidth: characters. profile: "default", "short" or "full". sci_mode: scientific notation always
    (True), never (False), or where the values need it (None, also where it is not given).
    """
    if profile is not None:
        if profile not in _PROFILES:
            raise ValueError(f"profile must be one of {', '.join(_PROFILES)}, got {profile!r}")
        _options.update(_PROFILES[profile])
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    _options.update({name: value for name, value in given.items() if value is not None})
    _options["sci_mode"] = sci_mode


def _shown(values, shortened):
    """The elements of an array as nested lists, where left out with "..." in their place."""
    if values.ndim == 0:
        return values.item()
    edge = _options["edgeitems"]
    if shortened and len(values) > 2 * edge:
        first, last = values[:edge], values[-edge:]
        return [*(_shown(v, True) for v in first), _DOTS, *(_shown(v, True) for v in last)]
    return [_shown(v, shortened) for v in values] if values.ndim > 1 else values.tolist()


def _numbers(nested):
    """The numbers in what `_shown` gives, one after another."""
    if not isinstance(nested, list):
        return [nested] if nested is not _DOTS else []
    return [number for part in nested for number in _numbers(part)]


def _formatter(numbers):
    """(text of a number, its width): '1.' where all are whole, else so many decimals or scientific notation."""
    if not isinstance(numbers[0], float):
        width = max(len(str(v)) for v in numbers)
        return (lambda v: str(v).rjust(width)), width
    measured = [v for v in numbers if v != 0 and isfinite(v)]  # neither 0 nor nan and inf count for the form
    low, high = min(map(abs, measured), default=1.0), max(map(abs, measured), default=1.0)
    whole = all(v.is_integer() for v in measured)
    scientific = high / low > 1e3 or high > 1e8 or (low < 1e-4 and not whole)
    if _options["sci_mode"] is not None:
        scientific = _options["sci_mode"]
    digits = _options["precision"]
    form = f".{digits}e" if scientific else ".0f" if whole else f".{digits}f"
    dot = "." if whole and not scientific else ""
    width = max((len(f"{v:{form}}{dot}") for v in measured), default=1)
    return (lambda v: (f"{v:{form}}{dot}" if isfinite(v) else str(v)).rjust(width)), width


def _layout(nested, text, width, indent):
    """The text of nested lists: rows broken to fit the line, a blank line more for every dimension above.

    width: of a number, as PyTorch counts it: 1 where all are 0, nan or infinite, whose rows then run over the line.
    """
    if not isinstance(nested, list):
        return text(nested)
    depth, inner = 1, next((part for part in nested if part is not _DOTS), None)
    while isinstance(inner, list):
        depth, inner = depth + 1, inner[0]
    new_line = "\n" * max(depth - 1, 1) + " " * (indent + 1)
    if depth > 1:
        parts = [_DOTS if part is _DOTS else _layout(part, text, width, indent + 1) for part in nested]
        return "[" + ("," + new_line).join(parts) + "]"
    parts = [" " + _DOTS if part is _DOTS else text(part) for part in nested]
    per_line = max(1, (_options["linewidth"] - indent) // (width + 2))
    lines = [", ".join(parts[i : i + per_line]) for i in range(0, len(parts), per_line)]
    return "[" + ("," + new_line).join(lines) + "]"


def tensor_repr(t):
    """repr() of a tensor: values, then dtype and grad_fn where they are not the default."""
    values, prefix, default = t.detach().numpy(), "tensor(", _core.get_default_dtype()
    extras = []
    if values.size == 0:
        out = prefix + "[]"
        if t.ndim != 1:
            extras.append(f"size={tuple(t.shape)}")
    else:
        shown = _shown(values, values.size > _options["threshold"])
        out = prefix + _layout(shown, *_formatter(_numbers(shown)), len(prefix))
    if t.dtype is not default and (values.size == 0 or t.dtype not in (_core.int64, _core.bool)):
        extras.append(f"dtype={t.dtype!r}")
    if t.grad_fn is not None:
        extras.append(f"grad_fn={t.grad_fn!r}")
    elif t.requires_grad:
        extras.append("requires_grad=True")
    column = len(out) - out.rfind("\n") + 1
    for extra in extras:  # on a line of its own where it does not fit
        fits = column + len(extra) + 2 <= _options["linewidth"]
        out += (", " if fits else ",\n" + " " * len(prefix)) + extra
        column = column + len(extra) + 2 if fits else len(prefix) + len(extra)
    return out + ")"


def tensor_format(t, spec):
    """format() of a tensor: one without dimensions formats as its number; others print, and so do parameters."""
    if t.ndim == 0 and (spec or type(t) is Tensor):
        return format(t.item(), spec)
    if spec:
        raise TypeError(f"a tensor of shape {tuple(t.shape)} has no format {spec!r}; only 0-d tensors do")
    return repr(t)


def tensor_copy(t):
    """copy.copy of a tensor: a new tensor on the same memory."""
    return _core._make_subclass(type(t), t, t.requires_grad) if t.is_leaf else t


def tensor_deepcopy(t, memo):
    """copy.deepcopy of a leaf tensor: values, class, requires_grad and grad."""
    if not t.is_leaf:
        raise RuntimeError("deepcopy: only leaf tensors can be copied with their graph; use t.detach().clone()")
    copied = _core._make_subclass(type(t), t.detach().clone(), t.requires_grad)
    if t.grad is not None:
        copied.grad = t.grad.detach().clone()
    memo[id(t)] = copied
    return copied


def tensor_reversed(t):
    """reversed() of a tensor: a copy with the rows in reverse order."""
    return t[_core.arange(len(t) - 1, -1, -1)]


def refuse_pickle(t, protocol):
    """Tensors are never pickled: loading a pickle runs code."""
    raise TypeError("tensors are not pickled; save them with tg.save (safetensors), or as .numpy()")


Tensor.__format__ = tensor_format
Tensor.__copy__ = tensor_copy
Tensor.__deepcopy__ = tensor_deepcopy
Tensor.__reversed__ = tensor_reversed
Tensor.__reduce_ex__ = refuse_pickle
