"""Linear: the fully connected layer."""

import math

from .. import _core
from . import init
from ._module import Module
from ._parameter import Parameter

_linear = _core.linear


class Linear(Module):
    """y = x W^T + b.

    weight: (out_features, in_features); bias: (out_features,), or None with bias=False.
    Both start uniform in (-k, k), k = 1/sqrt(in_features): PyTorch's values, digit for digit, for the same seed.
    Input (..., in_features), output (..., out_features).
    """

    def __init__(self, in_features, out_features, bias=True, *, dtype=None):
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(_core.empty((out_features, in_features), dtype=dtype))
        if bias:
            self.bias = Parameter(_core.empty((out_features,), dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self):
        """Draw weight, then bias, anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # gain sqrt(1/3), so the bound is 1/sqrt(in_features)
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features > 0 else 0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input):
        return _linear(input, self.weight, self.bias)

    def extra_repr(self):
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
