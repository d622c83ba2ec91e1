"""Functions that only ask or rewrap: is_tensor, numel, as_tensor and others."""

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
