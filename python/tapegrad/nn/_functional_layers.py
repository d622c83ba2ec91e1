"""Functions behind layers: normalisations, bilinear, distances, dropout."""

import math

from .. import _core


def bilinear(input1, input2, weight, bias=None):
    """y[..., k] = sum over i, j of input1[..., i] weight[k, i, j] input2[..., j], plus bias[k].

    input1 (..., n), input2 (..., m), weight (out, n, m), bias (out,). ValueError where the shapes do not fit.
    """
    if weight.dim() != 3 or (*input1.shape[:-1], *weight.shape[1:]) != (
        *input2.shape[:-1],
        input1.size(-1),
        input2.size(-1),
    ):
        raise ValueError(
            f"bilinear: inputs {tuple(input1.shape)} and {tuple(input2.shape)} do not fit a weight "
            f"{tuple(weight.shape)}: expected (..., n), (..., m) and (out, n, m)"
        )
    products = input1.unsqueeze(-1) * input2.unsqueeze(-2)
    return _core.linear(products.flatten(-2), weight.flatten(1), bias)


def rms_norm(input, normalized_shape, weight=None, eps=None):
    """x / sqrt(mean(x^2) + eps) * weight, the mean over the last dimensions, whose sizes are normalized_shape.

    eps: None for the rounding unit of the dtype. Source: Zhang and Sennrich, 2019, https://arxiv.org/abs/1910.07467.
    """
    shape = tuple(normalized_shape) if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
    if not shape or tuple(input.shape[-len(shape) :]) != shape:
        raise ValueError(f"rms_norm: an input {tuple(input.shape)} does not end in normalized_shape {shape}")
    if weight is not None and tuple(weight.shape) != shape:
        raise ValueError(f"rms_norm: weight {tuple(weight.shape)} must have the shape {shape}")
    if eps is None:
        eps = 2.0**-52 if input.dtype == _core.float64 else 2.0**-23
    dims = tuple(range(-len(shape), 0))
    y = input / _core.sqrt(_core.square(input).mean(dims, keepdim=True) + eps)
    return y if weight is None else y * weight


def _channels(name, input, **parameters):
    """The number of channels, dimension 1; ValueError unless each parameter has a value per channel."""
    if input.dim() < 2:
        raise ValueError(f"{name}: expected an input (N, C, ...), got {tuple(input.shape)}")
    for key, value in parameters.items():
        if value is not None and tuple(value.shape) != (input.size(1),):
            raise ValueError(
                f"{name}: {key} {tuple(value.shape)} must have a value for each of the {input.size(1)} channels of an "
                f"input {tuple(input.shape)}"
            )
    return input.size(1)


def _per_channel(value, input):
    """A value per channel, to be broadcast to the input."""
    return value.reshape(1, -1, *(1,) * (input.dim() - 2))


def batch_norm(input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    """(x - mean) / sqrt(var + eps) * weight + bias per channel (dimension 1).

    While training, mean and (biased) variance are those of the batch, and running_mean and running_var, unless None,
    move towards them (the variance unbiased) by the factor momentum, in place. Otherwise they are running_mean and
    running_var. ValueError for one value per channel while training.
    Source: Ioffe and Szegedy, 2015, https://arxiv.org/abs/1502.03167.
    """
    _channels("batch_norm", input, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    if training:
        count = input.numel() // max(input.size(1), 1)
        if count == 1:
            raise ValueError(f"batch_norm: training needs more than one value per channel, got {tuple(input.shape)}")
        dims = (0, *range(2, input.dim()))
        mean = input.mean(dims, keepdim=True)
        centred = input - mean
        var = _core.square(centred).mean(dims, keepdim=True)
        for running, now in ((running_mean, mean), (running_var, var.detach() * (count / max(count - 1, 1)))):
            if running is not None:
                running.mul_(1 - momentum).add_(now.detach().reshape(-1) * momentum)
    else:
        if running_mean is None or running_var is None:
            raise ValueError("batch_norm: running_mean and running_var are needed when not training")
        centred = input - _per_channel(running_mean, input)
        var = _per_channel(running_var, input)
    scale = _core.reciprocal(_core.sqrt(var + eps))
    y = centred * (scale if weight is None else scale * _per_channel(weight, input))
    return y if bias is None else y + _per_channel(bias, input)


def group_norm(input, num_groups, weight=None, bias=None, eps=1e-5):
    """(x - mean) / sqrt(var + eps) * weight + bias, mean and variance over each of num_groups groups of channels.

    input (N, C, ...), weight and bias (C,). Source: Wu and He, 2018, https://arxiv.org/abs/1803.08494.
    """
    channels = _channels("group_norm", input, weight=weight, bias=bias)
    if num_groups < 1 or channels % num_groups:
        raise ValueError(f"group_norm: {channels} channels cannot be cut into {num_groups} groups")
    size = input.numel() // max(input.size(0) * num_groups, 1)
    y = _core.layer_norm(input.reshape(input.size(0), num_groups, size), (size,), None, None, eps).reshape(input.shape)
    y = y if weight is None else y * _per_channel(weight, input)
    return y if bias is None else y + _per_channel(bias, input)


def normalize(input, p=2.0, dim=1, eps=1e-12):
    """input / max(norm, eps), the p-norm taken along dim."""
    return input / _core.maximum(_core.norm(input, p, dim, True), eps)


def cosine_similarity(x1, x2, dim=1, eps=1e-8):
    """x1 . x2 / (max(|x1|, eps) max(|x2|, eps)) along dim; the two broadcast."""
    x1, x2 = _core.broadcast_tensors(x1, x2)
    norms = [_core.maximum(_core.norm(x, 2, dim, True), eps) for x in (x1, x2)]
    return (x1 / norms[0] * (x2 / norms[1])).sum(dim)


def pairwise_distance(x1, x2, p=2.0, eps=1e-6, keepdim=False):
    """The p-norm of x1 - x2 + eps along the last dimension; the two broadcast."""
    return _core.norm(x1 - x2 + eps, p, -1, keepdim)


def check_probability(p, name="dropout"):
    """ValueError unless p is in [0, 1]."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"{name} probability has to be between 0 and 1, but got {p}")


def dropout(input, p=0.5, training=True, inplace=False):
    """Zero each element with probability p and scale the others by 1 / (1 - p); the input itself if not training.

    p: in [0, 1], else ValueError. inplace is accepted; the input is never overwritten.
    """
    check_probability(p)
    return _core.dropout(input, p, True) if training else input


def alpha_dropout(input, p=0.5, training=False, inplace=False):
    """Dropout to the value that selu has at minus infinity, then scaled so that mean 0 and variance 1 stay.

    inplace is accepted; the input is never overwritten. Source: Klambauer et al., 2017,
    https://arxiv.org/abs/1706.02515.
    """
    check_probability(p, "alpha_dropout")
    if not training or p == 0:
        return input
    if p == 1:
        return input * 0
    low = -1.0507009873554805 * 1.6732632423543772
    scale = 1 / math.sqrt((1 - p) * (1 + p * low**2))
    kept = _core.dropout(_core.ones_like(input), p, True) != 0
    return _core.where(kept, input, low) * scale - low * p * scale
