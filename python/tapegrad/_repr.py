"""How tensors print: PyTorch's form, with numbers laid out by NumPy."""

import numpy as np

from . import _core
from ._core import Tensor


class GradFn:
    """Names the recorded operation that made a tensor."""

    __slots__ = ("_name", "_sequence")

    def __init__(self, name, sequence):
        self._name = name
        self._sequence = sequence

    def name(self):
        """PyTorch's style of name: the op in capitals, then Backward."""
        return "".join(part.capitalize() for part in self._name.split("_")) + "Backward"

    def __eq__(self, other):
        return isinstance(other, GradFn) and self._sequence == other._sequence

    def __hash__(self):
        return hash(self._sequence)

    def __repr__(self):
        return f"<{self.name()}>"


def _format_float(values):
    """A formatter for one array: integers as '1.', others with four decimals, extremes in scientific notation."""
    finite = values[np.isfinite(values)]
    if finite.size == 0 or np.all(finite == np.trunc(finite)) and np.max(np.abs(finite)) < 1e8:
        width = max((len(f"{v:.0f}.") for v in values.flat), default=0)
        return lambda v: (f"{v:.0f}." if np.isfinite(v) else str(float(v))).rjust(width)
    size = np.abs(finite[finite != 0])
    scientific = size.max() >= 1e8 or size.min() < 1e-4 or size.max() / size.min() > 1e3
    form = "{:.4e}" if scientific else "{:.4f}"
    width = max(len(form.format(v)) for v in values.flat)
    return lambda v: form.format(v).rjust(width)


def _shown(values, threshold=1000, edge=3):
    """The elements that a summarised print shows, for the common width."""
    if values.size <= threshold:
        return values
    for axis, n in enumerate(values.shape):
        if n > 2 * edge:
            values = np.take(values, [*range(edge), *range(n - edge, n)], axis)
    return values


def tensor_repr(t):
    """repr() of a tensor: values, then dtype and grad_fn where they are not the default."""
    values = t.detach().numpy()
    prefix = "tensor("
    if values.size == 0:
        body = "[]" if t.ndim == 1 else f"[], size={tuple(t.shape)}"
    elif values.ndim == 0:
        body = format_scalar(values)
    else:
        formatter = {}
        if values.dtype.kind == "f":
            formatter = {"float_kind": _format_float(_shown(values).astype(np.float64))}
        body = np.array2string(
            values, separator=", ", prefix=prefix, threshold=1000, edgeitems=3, max_line_width=80, formatter=formatter
        )
    parts = [body]
    natural = (_core.get_default_dtype(), _core.int64, _core.bool)
    if t.dtype not in natural or (values.size == 0 and t.dtype is not natural[0]):
        parts.append(f"dtype={t.dtype!r}")
    if t.grad_fn is not None:
        parts.append(f"grad_fn={t.grad_fn!r}")
    elif t.requires_grad:
        parts.append("requires_grad=True")
    return prefix + ", ".join(parts) + ")"


def format_scalar(value):
    """One number in the style of tensor_repr."""
    if value.dtype.kind != "f":
        return str(value)
    return _format_float(np.atleast_1d(value.astype(np.float64)))(float(value))


def tensor_format(t, spec):
    """format() of a tensor: a tensor of one element formats as its number."""
    if t.ndim == 0:
        return format(t.item(), spec)
    if spec:
        raise TypeError(f"a tensor of shape {tuple(t.shape)} has no format {spec!r}; only 0-d tensors do")
    return repr(t)


def tensor_copy(t):
    """copy.copy of a tensor: a new tensor on the same memory."""
    alias = t.detach()
    return alias.requires_grad_(t.requires_grad) if t.is_leaf else t


def tensor_deepcopy(t, memo):
    """copy.deepcopy of a leaf tensor: values, class, requires_grad and grad."""
    if not t.is_leaf:
        raise RuntimeError("deepcopy: only leaf tensors can be copied with their graph; use t.detach().clone()")
    values = t.detach().clone()
    copied = values if type(t) is Tensor else _core._make_subclass(type(t), values)
    copied.requires_grad_(t.requires_grad)
    if t.grad is not None:
        copied.grad = t.grad.detach().clone()
    memo[id(t)] = copied
    return copied


def refuse_pickle(t, protocol):
    """Tensors are never pickled: loading a pickle runs code."""
    raise TypeError("tensors are not pickled; save them with tapegrad.checkpoint.save (safetensors) or .numpy()")


Tensor.__format__ = tensor_format
Tensor.__copy__ = tensor_copy
Tensor.__deepcopy__ = tensor_deepcopy
Tensor.__reduce_ex__ = refuse_pickle
