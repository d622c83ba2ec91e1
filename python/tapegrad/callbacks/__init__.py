"""Callbacks of fit(): early stopping, checkpoints, learning rates, clipping, logs."""

from ._base import Callback, LambdaCallback
from ._base import defines as defines

__all__ = ["Callback", "LambdaCallback"]
