"""Optimizers, under the names of torch.optim; schedules of the learning rate, and averages of weights."""

from .._lazy import lazy as _lazy
from ._adam import Adam, Adamax, AdamW, NAdam, RAdam
from ._adaptive import Adadelta, Adagrad, RMSprop, Rprop
from ._lbfgs import LBFGS
from ._lion import Lion
from ._muon import Muon
from ._optimizer import Optimizer
from ._sgd import SGD

__all__ = [
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "Muon",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "lr_scheduler",
    "swa_utils",
]

__getattr__, __dir__ = _lazy(globals(), ("lr_scheduler", "optimizer", "swa_utils"))
