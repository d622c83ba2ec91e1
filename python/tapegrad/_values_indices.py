"""The named pairs that ops return."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ._core import Tensor


class ValuesIndices(NamedTuple):
    """Result of max, sort and others along a dimension: values and their positions."""

    values: "Tensor"
    indices: "Tensor"


class Extremes(NamedTuple):
    """Result of aminmax."""

    min: "Tensor"
    max: "Tensor"
