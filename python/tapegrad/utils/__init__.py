"""Helpers around training: `utils.data` feeds it, `utils.checkpoint` saves memory, `utils.dlpack` exchanges tensors."""

from . import checkpoint, data, dlpack

__all__ = ["checkpoint", "data", "dlpack"]
