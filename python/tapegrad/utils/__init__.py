"""Helpers around training: `utils.data` feeds it, `utils.checkpoint` saves memory, `utils.dlpack` exchanges tensors."""

from .._lazy import lazy as _lazy
from . import data

__all__ = ["checkpoint", "data", "dlpack"]

__getattr__, __dir__ = _lazy(globals(), ("checkpoint", "dlpack"))
