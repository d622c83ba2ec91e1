"""Activation layers."""

from .. import _core
from ._module import Module

_relu, _tanh, _sigmoid = _core.relu, _core.tanh, _core.sigmoid


class ReLU(Module):
    """max(x, 0), elementwise. `inplace` is accepted and shown; the input is never overwritten."""

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        return _relu(input)

    def extra_repr(self):
        return "inplace=True" if self.inplace else ""


class Tanh(Module):
    """Hyperbolic tangent, elementwise."""

    def forward(self, input):
        return _tanh(input)


class Sigmoid(Module):
    """1 / (1 + exp(-x)), elementwise."""

    def forward(self, input):
        return _sigmoid(input)
