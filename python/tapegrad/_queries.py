"""Functions that only ask or rewrap: is_tensor, numel, as_tensor and others."""

from types import SimpleNamespace

from . import _core
from ._core import Tensor


def is_tensor(obj):
    """Whether obj is a tensor."""
    return isinstance(obj, Tensor)


def is_floating_point(input):
    """Whether the tensor's dtype is float32 or float64."""
    return input.is_floating_point()


def is_complex(input):
    """False: there are no complex tensors."""
    return input.is_complex()


def numel(input):
    """The number of elements."""
    return input.numel()


def as_tensor(data, dtype=None, device=None):
    """A tensor of the data: a tensor itself where its dtype fits, an array shared, anything else copied.

    dtype: kept unless given. device: the CPU, else ValueError.
    """
    if isinstance(data, Tensor):
        return data.to(device or "cpu", dtype)
    import numpy

    if isinstance(data, numpy.ndarray):
        return _core.from_numpy(data).to(device or "cpu", dtype)
    return _core.tensor(data, dtype=dtype, device=device)


def finfo(type=None):
    """The limits of a float dtype (the default one): bits, eps, min, max, tiny (smallest_normal), resolution."""
    import numpy

    info = numpy.finfo(str(type or _core.get_default_dtype()).rpartition(".")[2])
    limits = {name: float(getattr(info, name)) for name in ("eps", "min", "max", "tiny", "smallest_normal")}
    limits["resolution"] = float(f"1e-{info.precision}")
    return SimpleNamespace(dtype=str(info.dtype), bits=info.bits, **limits)


def iinfo(type):
    """The limits of a dtype of whole numbers: bits, min, max."""
    import numpy

    info = numpy.iinfo(str(type).rpartition(".")[2])
    return SimpleNamespace(dtype=str(info.dtype), bits=info.bits, min=int(info.min), max=int(info.max))
