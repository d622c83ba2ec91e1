"""Helpers around training: `utils.data` feeds it; `utils.dlpack` exchanges tensors with other libraries."""

from . import data, dlpack

__all__ = ["data", "dlpack"]
