"""Activation layers."""

from .. import _core
from . import functional as F
from ._module import Module

_relu, _tanh, _sigmoid, _silu = _core.relu, _core.tanh, _core.sigmoid, _core.silu


class _Inplace(Module):
    """What layers share whose `inplace` is accepted and shown, though the input is never overwritten."""

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def extra_repr(self):
        return "inplace=True" if self.inplace else ""


class ReLU(_Inplace):
    """max(x, 0), elementwise. `inplace` is accepted and shown; the input is never overwritten."""

    def forward(self, input):
        return _relu(input)


class Tanh(Module):
    """Hyperbolic tangent, elementwise."""

    def forward(self, input):
        return _tanh(input)


class Sigmoid(Module):
    """1 / (1 + exp(-x)), elementwise."""

    def forward(self, input):
        return _sigmoid(input)


class SiLU(_Inplace):
    """x sigmoid(x), elementwise. `inplace` is accepted and shown; the input is never overwritten."""

    def forward(self, input):
        return _silu(input)


class GELU(Module):
    """x Phi(x), elementwise; approximate "tanh" for the approximation by tanh (see functional.gelu)."""

    def __init__(self, approximate="none"):
        super().__init__()
        self.approximate = approximate

    def forward(self, input):
        return F.gelu(input, self.approximate)

    def extra_repr(self):
        return f"approximate={self.approximate!r}"


class Softplus(Module):
    """log(1 + exp(beta x)) / beta, elementwise; the input itself where beta x > threshold (see functional.softplus)."""

    def __init__(self, beta=1.0, threshold=20.0):
        super().__init__()
        self.beta, self.threshold = beta, threshold

    def forward(self, input):
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self):
        return f"beta={self.beta}, threshold={self.threshold}"
