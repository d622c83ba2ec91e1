"""Nested Python data on its way into a tensor."""

from ._core import Tensor


def plain_data(data):
    """Nested sequences with every tensor in them replaced by its values as nested lists.

    Only rows that hold tensors are rebuilt; the rest is left for NumPy to read.
    """
    if isinstance(data, Tensor):
        return data.tolist()
    if isinstance(data, (list, tuple)) and any(isinstance(item, (list, tuple, Tensor)) for item in data):
        return [plain_data(item) for item in data]
    return data
