"""The functions behind the layers, under the names of torch.nn.functional."""

from .. import _core
from .._core import cross_entropy, layer_norm, linear, log_softmax, mse_loss, relu, sigmoid, silu, softmax, tanh

__all__ = [
    "cross_entropy",
    "dropout",
    "gelu",
    "layer_norm",
    "linear",
    "log_softmax",
    "mse_loss",
    "one_hot",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]


def check_probability(p):
    """ValueError unless p is in [0, 1]."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def dropout(input, p=0.5, training=True, inplace=False):
    """Zero each element with probability p and scale the others by 1 / (1 - p); the input itself if not training.

    p: in [0, 1], else ValueError. inplace is accepted; the input is never overwritten.
    """
    check_probability(p)
    return _core.dropout(input, p, True) if training else input


def gelu(input, approximate="none"):
    """x Phi(x), Phi the normal distribution function (Hendrycks and Gimpel, 2016, https://arxiv.org/abs/1606.08415).

    approximate: "none", or "tanh" for the approximation by tanh; ValueError otherwise.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    return _core.gelu(input) if approximate == "none" else _core.gelu_tanh(input)


def one_hot(tensor, num_classes=-1):
    """int64 tensor of shape (*tensor.shape, num_classes), 1 where the last index is the class number, else 0.

    tensor: int64 class numbers, in [0, num_classes); num_classes -1 takes the largest plus one. ValueError otherwise.
    """
    if tensor.dtype != _core.int64:
        raise TypeError(f"one_hot needs int64 class numbers, got {tensor.dtype}")
    low, high = (int(tensor.min()), int(tensor.max())) if tensor.numel() else (0, num_classes - 1)
    if num_classes == -1:
        num_classes = high + 1
    if low < 0 or high >= num_classes or num_classes < 1:
        raise ValueError(f"one_hot: class numbers from {low} to {high} do not fit {num_classes} classes")
    return (tensor.unsqueeze(-1) == _core.arange(num_classes)).to(_core.int64)


def softplus(input, beta=1.0, threshold=20.0):
    """log(1 + exp(beta x)) / beta; the input itself where beta x > threshold.

    The function does not overflow, so that the default threshold, past which the two differ by less than 3e-9, is not
    applied when beta is 1.
    """
    if beta == 1 and threshold == 20:
        return _core.softplus(input)
    scaled = input * beta
    return _core.where(scaled > threshold, input, _core.softplus(scaled) / beta)
