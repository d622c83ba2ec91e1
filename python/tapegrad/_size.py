"""Size, the type of Tensor.shape, and the (values, indices) pair of max and min along a dimension."""

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ._core import Tensor


class Size(tuple):
    """A tuple of dimension sizes."""

    __slots__ = ()

    def numel(self):
        """The product of the sizes."""
        return math.prod(self)

    def __repr__(self):
        return f"tapegrad.Size({list(self)})"

    def __getitem__(self, key):
        part = super().__getitem__(key)
        return Size(part) if isinstance(key, slice) else part

    def __add__(self, other):
        return Size(super().__add__(tuple(other)))


class ValuesIndices(NamedTuple):
    """Result of max and min along a dimension: the extreme values and their positions."""

    values: "Tensor"
    indices: "Tensor"
