"""The functions behind the layers, under the names of torch.nn.functional."""

from .. import _core
from .._core import (
    celu,
    cross_entropy,
    elu,
    hardtanh,
    layer_norm,
    leaky_relu,
    linear,
    log_softmax,
    logsigmoid,
    mse_loss,
    relu6,
    sigmoid,
    softmax,
    tanh,
    threshold,
)
from ._functional_activations import (
    gelu,
    glu,
    gumbel_softmax,
    hardshrink,
    hardsigmoid,
    hardswish,
    mish,
    prelu,
    relu,
    rrelu,
    selu,
    silu,
    softmin,
    softplus,
    softshrink,
    softsign,
    tanhshrink,
)

__all__ = [
    "celu",
    "cross_entropy",
    "dropout",
    "elu",
    "gelu",
    "glu",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "logsigmoid",
    "mish",
    "mse_loss",
    "one_hot",
    "prelu",
    "relu",
    "relu6",
    "rrelu",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
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
