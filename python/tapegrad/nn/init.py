"""Weight initialisation, in place and without gradients, with PyTorch's streams.

Random values come from `generator`, or the default one.
Sources: Glorot and Bengio, AISTATS 2010 (xavier); He et al., ICCV 2015 (kaiming).
"""

import math

from .._grad_mode import no_grad

_GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 3.0 / 4}


def calculate_gain(nonlinearity, param=None):
    """Factor that keeps the variance through a nonlinearity: linear, sigmoid, tanh, relu, selu, or leaky_relu.

    param: the negative slope of leaky_relu (0.01 if None). ValueError for another name.
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}; choose one of {[*_GAINS, 'leaky_relu']}")
    return _GAINS[nonlinearity]


def _fans(tensor):
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
    fan_in, fan_out = _fans(tensor)
    return gain * math.sqrt(2.0 / float(fan_in + fan_out)) if tensor.numel() else 0.0


def _kaiming_std(tensor, a, mode, nonlinearity):
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    fan_in, fan_out = _fans(tensor)
    return calculate_gain(nonlinearity, a) / math.sqrt(fan_in if mode == "fan_in" else fan_out)
