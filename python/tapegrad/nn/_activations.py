"""Activation layers: the functions of nn.functional, with their arguments as attributes.

Where there is an `inplace` it is accepted and shown; the input is never overwritten.
"""

from .. import _core
from . import functional as F
from ._module import Module
from ._parameter import Parameter


class _Plain(Module):
    """An activation without arguments."""

    _function = None

    def forward(self, input):
        return self._function(input)


class _Inplace(Module):
    """An activation that only has `inplace`."""

    _function = None

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        return self._function(input)

    def extra_repr(self):
        return "inplace=True" if self.inplace else ""


class _Quiet(_Inplace):
    """The same, with `inplace` not shown."""

    def extra_repr(self):
        return ""


class _Numbers(Module):
    """An activation of the numbers whose names are in `_shown`, in the order of the function's parameters."""

    _function = None
    _shown = ()

    def forward(self, input):
        return self._function(input, *[getattr(self, name) for name in self._shown])

    def extra_repr(self):
        shown = ", ".join(f"{name}={getattr(self, name)}" for name in self._shown)
        return shown + ", inplace=True" if getattr(self, "inplace", False) else shown


class _Dim(Module):
    """An activation along a dimension."""

    _function = None

    def __init__(self, dim=None):
        super().__init__()
        self.dim = dim

    def forward(self, input):
        return self._function(input, self.dim)

    def extra_repr(self):
        return f"dim={self.dim}"


class _Alpha(_Numbers):
    _shown = ("alpha",)

    def __init__(self, alpha=1.0, inplace=False):
        super().__init__()
        self.alpha, self.inplace = alpha, inplace


class _Shrink(Module):
    _function = None

    def __init__(self, lambd=0.5):
        super().__init__()
        self.lambd = lambd

    def forward(self, input):
        return self._function(input, self.lambd)

    def extra_repr(self):
        return str(self.lambd)


class ReLU(_Inplace):
    """max(x, 0)."""

    _function = staticmethod(_core.relu)


class ReLU6(_Inplace):
    """min(max(x, 0), 6)."""

    _function = staticmethod(_core.relu6)


class SELU(_Inplace):
    """scale (x, or alpha (exp(x) - 1) where x <= 0) (see functional.selu)."""

    _function = staticmethod(_core.selu)


class SiLU(_Inplace):
    """x sigmoid(x)."""

    _function = staticmethod(_core.silu)


class Mish(_Inplace):
    """x tanh(log(1 + exp(x)))."""

    _function = staticmethod(_core.mish)


class Hardsigmoid(_Quiet):
    """min(max(x + 3, 0), 6) / 6."""

    _function = staticmethod(_core.hardsigmoid)


class Hardswish(_Quiet):
    """x min(max(x + 3, 0), 6) / 6."""

    _function = staticmethod(_core.hardswish)


class Tanh(_Plain):
    """Hyperbolic tangent."""

    _function = staticmethod(_core.tanh)


class Sigmoid(_Plain):
    """1 / (1 + exp(-x))."""

    _function = staticmethod(_core.sigmoid)


class LogSigmoid(_Plain):
    """log(sigmoid(x))."""

    _function = staticmethod(_core.logsigmoid)


class Softsign(_Plain):
    """x / (1 + |x|)."""

    _function = staticmethod(F.softsign)


class Tanhshrink(_Plain):
    """x - tanh(x)."""

    _function = staticmethod(F.tanhshrink)


class ELU(_Alpha):
    """x, or alpha (exp(x) - 1) where x <= 0."""

    _function = staticmethod(_core.elu)


class CELU(_Alpha):
    """x, or alpha (exp(x / alpha) - 1) where x <= 0."""

    _function = staticmethod(_core.celu)


class Hardshrink(_Shrink):
    """x where |x| > lambd, 0 elsewhere."""

    _function = staticmethod(F.hardshrink)


class Softshrink(_Shrink):
    """x moved towards 0 by lambd, 0 where |x| <= lambd."""

    _function = staticmethod(F.softshrink)


class Softmax(_Dim):
    """exp(x) / sum(exp(x)) along dim, which is required."""

    _function = staticmethod(_core.softmax)


class LogSoftmax(_Dim):
    """log(softmax(x)) along dim, which is required."""

    _function = staticmethod(_core.log_softmax)


class Softmin(_Dim):
    """softmax(-x) along dim, which is required."""

    _function = staticmethod(F.softmin)


class GLU(_Dim):
    """a sigmoid(b), a and b the halves of the input along dim."""

    _function = staticmethod(F.glu)

    def __init__(self, dim=-1):
        super().__init__(dim)


class LeakyReLU(_Numbers):
    """x, or negative_slope x where x <= 0."""

    _function = staticmethod(_core.leaky_relu)
    _shown = ("negative_slope",)

    def __init__(self, negative_slope=1e-2, inplace=False):
        super().__init__()
        self.negative_slope, self.inplace = negative_slope, inplace


class Hardtanh(_Numbers):
    """x within min_val .. max_val, the nearer of the two outside."""

    _function = staticmethod(_core.hardtanh)
    _shown = ("min_val", "max_val")

    def __init__(self, min_val=-1.0, max_val=1.0, inplace=False):
        super().__init__()
        if min_val >= max_val:
            raise ValueError(f"Hardtanh: min_val {min_val} must be less than max_val {max_val}")
        self.min_val, self.max_val, self.inplace = min_val, max_val, inplace


class Threshold(_Numbers):
    """x where x > threshold, value elsewhere."""

    _function = staticmethod(_core.threshold)
    _shown = ("threshold", "value")

    def __init__(self, threshold, value, inplace=False):
        super().__init__()
        self.threshold, self.value, self.inplace = threshold, value, inplace


class Softplus(_Numbers):
    """log(1 + exp(beta x)) / beta; the input itself where beta x > threshold (see functional.softplus)."""

    _function = staticmethod(F.softplus)
    _shown = ("beta", "threshold")

    def __init__(self, beta=1.0, threshold=20.0):
        super().__init__()
        self.beta, self.threshold = beta, threshold


class RReLU(_Numbers):
    """x, or a x where x <= 0, with a from U(lower, upper) while training, their mean in eval()."""

    _shown = ("lower", "upper")

    def __init__(self, lower=1 / 8, upper=1 / 3, inplace=False):
        super().__init__()
        self.lower, self.upper, self.inplace = lower, upper, inplace

    def forward(self, input):
        return F.rrelu(input, self.lower, self.upper, self.training)


class GELU(Module):
    """x Phi(x); approximate "tanh" for the approximation by tanh (see functional.gelu)."""

    def __init__(self, approximate="none"):
        super().__init__()
        self.approximate = approximate

    def forward(self, input):
        return F.gelu(input, self.approximate)

    def extra_repr(self):
        return f"approximate={self.approximate!r}"


class PReLU(Module):
    """x, or weight x where x <= 0; weight: one number, or one per channel (num_parameters), which is trained."""

    def __init__(self, num_parameters=1, init=0.25, device=None, dtype=None):
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(_core.empty((num_parameters,), dtype=dtype, device=device))
        self.reset_parameters()

    def reset_parameters(self):
        """Set every weight to init."""
        self.weight.data.fill_(self.init)

    def forward(self, input):
        return F.prelu(input, self.weight)

    def extra_repr(self):
        return f"num_parameters={self.num_parameters}"
