"""Weight initialisation, in place and without gradients, with PyTorch's streams.

Random values come from `generator`, or the default one.
Sources: Glorot and Bengio, AISTATS 2010 (xavier); He et al., ICCV 2015 (kaiming); Saxe et al., ICLR 2014 (orthogonal);
Martens, ICML 2010 (sparse).
"""

import math
import warnings

from .. import _core
from .._grad_mode import no_grad

_LINEAR = ["linear", *(f"conv{kind}{n}d" for kind in ("", "_transpose") for n in (1, 2, 3))]
_GAINS = {**dict.fromkeys([*_LINEAR, "sigmoid"], 1.0), "tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 3.0 / 4}


def calculate_gain(nonlinearity, param=None):
    """Factor that keeps the variance through a nonlinearity: linear, sigmoid, tanh, relu, selu, or leaky_relu.

    param: the negative slope of leaky_relu (0.01 if None). ValueError for another name.
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ValueError(f"negative_slope {slope} not a valid number")
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}; choose one of {[*_GAINS, 'leaky_relu']}")
    return _GAINS[nonlinearity]


def _calculate_fan_in_and_fan_out(tensor):
    """(inputs, outputs) of a weight (outputs, inputs, *receptive field)."""
    if tensor.dim() < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def uniform_(tensor, a=0.0, b=1.0, generator=None):
    """Fill with values uniform in [a, b); returns the tensor."""
    with no_grad():
        return tensor.uniform_(a, b, generator=generator)


def normal_(tensor, mean=0.0, std=1.0, generator=None):
    """Fill with normal values; returns the tensor."""
    with no_grad():
        return tensor.normal_(mean, std, generator=generator)


@no_grad
def trunc_normal_(tensor, mean=0.0, std=1.0, a=-2.0, b=2.0, generator=None):
    """Fill with normal values, each drawn again until it lies in [a, b]; returns the tensor.

    Where [a, b] holds less than 0.3 of the distribution, from uniform values instead, accepted by their density.
    """
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. "
            "The distribution of values may be incorrect.",
            stacklevel=2,
        )
    inside = [(1.0 + math.erf((x - mean) / std / math.sqrt(2.0))) / 2.0 for x in (a, b)]
    if inside[1] - inside[0] > 0.3:
        low, high = _core.tensor([a, b], dtype=tensor.dtype).tolist()

        def draw():
            values = _core.empty_like(tensor).normal_(mean, std, generator=generator)
            return values, (values < low) | (values > high)
    else:
        peak = -0.5 * ((max(a, min(mean, b)) - mean) / std) ** 2

        def draw():
            values = _core.empty_like(tensor).uniform_(a, b, generator=generator)
            density = ((values - mean) / std) ** 2 * -0.5 - peak
            return values, _core.empty_like(tensor).uniform_(generator=generator).log() > density

    values, rejected = draw()
    while rejected.any():
        others, outside = draw()
        values, rejected = _core.where(rejected, others, values), rejected & outside
    return tensor.copy_(values)


def constant_(tensor, val):
    """Fill with val; returns the tensor."""
    with no_grad():
        return tensor.fill_(val)


def zeros_(tensor):
    """Fill with 0; returns the tensor."""
    return constant_(tensor, 0.0)


def ones_(tensor):
    """Fill with 1; returns the tensor."""
    return constant_(tensor, 1.0)


@no_grad
def eye_(tensor):
    """Fill a matrix with ones on its diagonal, zeros elsewhere; returns it."""
    if tensor.dim() != 2:
        raise ValueError(f"Only tensors with 2 dimensions are supported, got {tuple(tensor.shape)}")
    return tensor.copy_(_core.eye(*tensor.shape))


@no_grad
def dirac_(tensor, groups=1):
    """Fill a weight (out, in, *kernel) so that a convolution passes on its channels, in each group; returns it.

    The kernel has 1 to 3 dimensions and groups divides out, else ValueError.
    """
    if tensor.dim() not in (3, 4, 5):
        raise ValueError(f"Only tensors with 3, 4, or 5 dimensions are supported, got {tuple(tensor.shape)}")
    if tensor.shape[0] % groups:
        raise ValueError(f"dim 0 must be divisible by groups, got {tensor.shape[0]} and {groups}")
    size, middle = tensor.shape[0] // groups, tuple(n // 2 for n in tensor.shape[2:])
    tensor.zero_()
    for group in range(groups):
        for channel in range(min(size, tensor.shape[1])):
            tensor[(group * size + channel, channel, *middle)] = 1
    return tensor


@no_grad
def orthogonal_(tensor, gain=1, generator=None):
    """Fill a weight (rows, everything else) with orthonormal rows or columns, whichever are fewer, times gain.

    Returns the tensor.
    """
    if tensor.dim() < 2:
        raise ValueError(f"Only tensors with 2 or more dimensions are supported, got {tuple(tensor.shape)}")
    if tensor.numel() == 0:
        return tensor
    values = _core.empty_like(tensor).flatten(1).normal_(generator=generator).double()
    tall = values.shape[0] >= values.shape[1]
    vectors = _orthonormal((values.t() if tall else values).contiguous())
    return tensor.copy_((vectors.t() if tall else vectors).reshape(tensor.shape)).mul_(gain)


def _orthonormal(rows):
    """The rows by Gram-Schmidt: the Q, transposed, of a QR decomposition whose R has a positive diagonal."""
    for i in range(rows.shape[0]):
        row = rows[i]
        for _ in range(2):  # once more for what rounding left
            row = row - (rows[:i] @ row) @ rows[:i]
        rows[i] = row / row.square().sum().sqrt()
    return rows


@no_grad
def sparse_(tensor, sparsity, std=0.01, generator=None):
    """Fill a matrix with normal values, but the fraction sparsity of each column with zeros; returns it."""
    if tensor.dim() != 2:
        raise ValueError(f"Only tensors with 2 dimensions are supported, got {tuple(tensor.shape)}")
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    tensor.normal_(0, std, generator=generator)
    for column in range(columns):
        tensor[_core.randperm(rows)[:zeros], column] = 0
    return tensor


def xavier_uniform_(tensor, gain=1.0, generator=None):
    """Fill a weight (out, in) uniformly in (-a, a), a = gain sqrt(6 / (in + out)); returns it."""
    bound = math.sqrt(3.0) * _xavier_std(tensor, gain)  # the variance of uniform(-a, a) is a^2 / 3
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor, gain=1.0, generator=None):
    """Fill a weight (out, in) with normal values of deviation gain sqrt(2 / (in + out)); returns it."""
    return normal_(tensor, 0.0, _xavier_std(tensor, gain), generator)


def kaiming_uniform_(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    """Fill a weight (out, in) uniformly in (-b, b), b = gain sqrt(3 / fan); returns it.

    a: negative slope of leaky_relu; mode: fan is in ("fan_in") or out ("fan_out"), else ValueError.
    """
    if tensor.numel() == 0:
        return tensor
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    """Fill a weight (out, in) with normal values of deviation gain / sqrt(fan); returns it. See `kaiming_uniform_`."""
    if tensor.numel() == 0:
        return tensor
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def _xavier_std(tensor, gain):
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return gain * math.sqrt(2.0 / float(fan_in + fan_out)) if tensor.numel() else 0.0


def _kaiming_std(tensor, a, mode, nonlinearity):
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return calculate_gain(nonlinearity, a) / math.sqrt(fan_in if mode == "fan_in" else fan_out)
