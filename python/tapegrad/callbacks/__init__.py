"""Callbacks of fit(): early stopping, checkpoints, schedules and clipping, logs, the search for a learning rate."""

from ._base import HOOKS as HOOKS
from ._base import Callback, LambdaCallback
from ._base import defines as defines
from ._checkpoint import ModelCheckpoint
from ._logging import CSVLogger, TensorBoard
from ._lr_finder import LRFinder
from ._optimizer import GradientClipping, LRScheduler
from ._stopping import EarlyStopping

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "GradientClipping",
    "LRFinder",
    "LRScheduler",
    "LambdaCallback",
    "ModelCheckpoint",
    "TensorBoard",
]
