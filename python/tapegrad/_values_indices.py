"""The (values, indices) pair of max and min along a dimension."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ._core import Tensor


class ValuesIndices(NamedTuple):
    """Result of max and min along a dimension: the extreme values and their positions."""

    values: "Tensor"
    indices: "Tensor"
