"""Layers, losses and the Module that models are made of, under the names of torch.nn."""

from . import functional, init, utils
from ._activations import GELU, ReLU, Sigmoid, SiLU, Softplus, Tanh
from ._containers import Flatten, Identity, Sequential
from ._dropout import Dropout
from ._linear import Linear
from ._losses import CrossEntropyLoss, MSELoss
from ._module import Module
from ._norm import LayerNorm
from ._parameter import Parameter

__all__ = [
    "GELU",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "Identity",
    "LayerNorm",
    "Linear",
    "MSELoss",
    "Module",
    "Parameter",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Tanh",
    "functional",
    "init",
    "utils",
]
