"""Linear, the fully connected layer, and its relatives."""

import math

from .. import _core
from . import init
from ._functional_layers import bilinear
from ._module import Module
from ._parameter import Parameter, UninitializedParameter, is_lazy

_linear = _core.linear


class Linear(Module):
    """y = x W^T + b.

    weight: (out_features, in_features); bias: (out_features,), or None with bias=False.
    Both start uniform in (-k, k), k = 1/sqrt(in_features): PyTorch's values, digit for digit, for the same seed.
    Input (..., in_features), output (..., out_features).
    """

    def __init__(self, in_features, out_features, bias=True, device=None, dtype=None):
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(_core.empty((out_features, in_features), dtype=dtype, device=device))
        self.register_parameter(
            "bias", Parameter(_core.empty((out_features,), dtype=dtype, device=device)) if bias else None
        )
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


class LazyLinear(Linear):
    """A Linear that takes in_features from its first input, draws its weights then, and is an ordinary Linear after."""

    cls_to_become = Linear

    def __init__(self, out_features, bias=True, device=None, dtype=None):
        super().__init__(0, 0, bias=False)
        self.out_features = out_features
        self.weight = UninitializedParameter(dtype=dtype, device=device)
        if bias:
            self.bias = UninitializedParameter(dtype=dtype, device=device)

    def initialize_parameters(self, input):
        """Give the parameters the shapes that this input needs, unless `load_state_dict` has."""
        self.in_features = input.shape[-1] if is_lazy(self.weight) else self.weight.shape[1]
        if is_lazy(self.weight):
            self.weight.materialize((self.out_features, self.in_features))
            if self.bias is not None:
                self.bias.materialize((self.out_features,))
            self.reset_parameters()

    def forward(self, input):
        self.initialize_parameters(input)
        self.__class__ = self.cls_to_become
        return self.forward(input)


class Bilinear(Module):
    """y[k] = x1^T W[k] x2 + b[k].

    weight: (out_features, in1_features, in2_features); bias: (out_features,), or None with bias=False.
    Both start uniform in (-k, k), k = 1/sqrt(in1_features). Inputs (..., in1_features) and (..., in2_features).
    """

    def __init__(self, in1_features, in2_features, out_features, bias=True, device=None, dtype=None):
        super().__init__()
        if in1_features <= 0:
            raise ValueError(f"Bilinear: in1_features must be positive, got {in1_features}")
        self.in1_features, self.in2_features, self.out_features = in1_features, in2_features, out_features
        shape = (out_features, in1_features, in2_features)
        self.weight = Parameter(_core.empty(shape, dtype=dtype, device=device))
        self.register_parameter(
            "bias", Parameter(_core.empty((out_features,), dtype=dtype, device=device)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self):
        """Draw weight, then bias, anew."""
        bound = 1 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1, input2):
        return bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self):
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )
