"""Losses composed of other ops. None broadcasts input against target: (n, 1) against (n,) would give n x n losses."""

import math

from .. import _core
from ._functional_layers import pairwise_distance


def _check_shapes(name, input, target, what="input and target"):
    """ValueError unless the shapes are the same."""
    if input.shape != target.shape:
        raise ValueError(
            f"{name}: {what} of shapes {tuple(input.shape)} and {tuple(target.shape)} differ in shape; broadcasting "
            "them would compare every element with every other: reshape one of them"
        )


def _reduce(name, losses, reduction):
    """The mean or sum of the losses, or the losses themselves."""
    if reduction == "mean":
        return losses.mean()
    if reduction == "sum":
        return losses.sum()
    if reduction == "none":
        return losses
    raise ValueError(f"{name}: reduction must be 'mean', 'sum' or 'none', got {reduction!r}")


def l1_loss(input, target, *, reduction="mean", weight=None):
    """|input - target|; with weight (of the input's shape) times that, and the mean is the weighted one."""
    _check_shapes("l1_loss", input, target)
    losses = _core.abs(input - target)
    if weight is None:
        return _reduce("l1_loss", losses, reduction)
    _check_shapes("l1_loss", input, weight, "input and weight")
    total = _reduce("l1_loss", losses * weight, "sum" if reduction == "mean" else reduction)
    return total / weight.sum() if reduction == "mean" else total


def _x_log_x(x):
    """x log(x), 0 at 0."""
    zero = x == 0
    return _core.where(zero, 0.0, x * _core.log(_core.where(zero, 1.0, x)))


def kl_div(input, target, *, reduction="mean", log_target=False):
    """Kullback-Leibler divergence: target (log(target) - input), input holding log-probabilities.

    target: probabilities, or their logarithms with log_target. reduction: "batchmean" too, the sum divided by the
    first size; "mean" divides by the number of elements.
    """
    _check_shapes("kl_div", input, target)
    losses = _core.exp(target) * (target - input) if log_target else _x_log_x(target) - target * input
    if reduction == "batchmean":
        return losses.sum() / (input.size(0) if input.dim() else 1)
    return _reduce("kl_div", losses, reduction)


def gaussian_nll_loss(input, target, var, full=False, eps=1e-6, reduction="mean"):
    """(log(var) + (input - target)^2 / var) / 2, var at least eps; with full + log(2 pi) / 2.

    var: a number, or a tensor of the input's shape, or without its last size, or with 1 for one size. Negative numbers
    are refused; in a tensor they count as eps. Source: Nix and Weigend, 1994.
    """
    _check_shapes("gaussian_nll_loss", input, target)
    if not isinstance(var, _core.Tensor):
        if var < 0:
            raise ValueError(f"gaussian_nll_loss: var must not be negative, got {var}")
        var = _core.full_like(input, var)
    if var.shape != input.shape:
        if var.shape == input.shape[:-1]:
            var = var.unsqueeze(-1)
        elif var.dim() != input.dim() or [v for v, n in zip(var.shape, input.shape, strict=True) if v != n] != [1]:
            raise ValueError(
                f"gaussian_nll_loss: var {tuple(var.shape)} does not fit an input {tuple(input.shape)}; it needs that "
                "shape, or 1 for one of its sizes, or no last one"
            )
    var = _core.where(var > eps, var, var - var.detach() + eps)  # the gradient knows of no limit
    losses = (_core.log(var) + _core.square(input - target) / var) * 0.5
    if full:
        losses = losses + 0.5 * math.log(2 * math.pi)
    return _reduce("gaussian_nll_loss", losses, reduction)


def poisson_nll_loss(input, target, log_input=True, full=False, *, eps=1e-8, reduction="mean"):
    """exp(input) - target input, or with log_input=False input - target log(input + eps).

    full: adds Stirling's approximation of log(target!) where target > 1.
    """
    _check_shapes("poisson_nll_loss", input, target)
    losses = _core.exp(input) - target * input if log_input else input - target * _core.log(input + eps)
    if full:
        large = target > 1
        t = _core.where(large, target, 1.0)
        stirling = (t + 0.5) * _core.log(t) - t + 0.5 * math.log(2 * math.pi)
        losses = losses + _core.where(large, stirling, 0.0)
    return _reduce("poisson_nll_loss", losses, reduction)


def hinge_embedding_loss(input, target, margin=1.0, *, reduction="mean"):
    """input where target is 1, max(0, margin - input) where it is -1."""
    _check_shapes("hinge_embedding_loss", input, target)
    far = _core.where(target != 1, _core.relu(margin - input), 0.0)
    near = _core.where(target != -1, input, 0.0)
    return _reduce("hinge_embedding_loss", far + near, reduction)


def margin_ranking_loss(input1, input2, target, margin=0.0, *, reduction="mean"):
    """max(0, -target (input1 - input2) + margin); target 1 where input1 shall be the larger, -1 elsewhere."""
    _check_shapes("margin_ranking_loss", input1, input2, "input1 and input2")
    _check_shapes("margin_ranking_loss", input1, target, "input1 and target")
    return _reduce("margin_ranking_loss", _core.relu(-target * (input1 - input2) + margin), reduction)


def cosine_embedding_loss(input1, input2, target, margin=0.0, *, reduction="mean"):
    """1 - cos(input1, input2) where target is 1, max(0, cos - margin) where it is -1.

    input1, input2: (N, D) with target (N,), or (D,) with target ().
    """
    _check_shapes("cosine_embedding_loss", input1, input2, "input1 and input2")
    if input1.dim() not in (1, 2) or target.shape != input1.shape[:-1]:
        raise ValueError(
            f"cosine_embedding_loss: inputs (N, D) need a target (N,), or (D,) a target (); got inputs "
            f"{tuple(input1.shape)} and target {tuple(target.shape)}"
        )
    tiny = 1e-12
    squares = ((input1 * input1).sum(-1) + tiny) * ((input2 * input2).sum(-1) + tiny)
    cosine = (input1 * input2).sum(-1) / _core.sqrt(squares)
    near = _core.where(target == 1, 1 - cosine, 0.0)
    far = _core.where(target == -1, _core.relu(cosine - margin), 0.0)
    return _reduce("cosine_embedding_loss", near + far, reduction)


def triplet_margin_loss(anchor, positive, negative, margin=1.0, p=2.0, eps=1e-6, swap=False, *, reduction="mean"):
    """max(0, d(anchor, positive) - d(anchor, negative) + margin) by pairwise_distance over the last dimension.

    swap: takes d(positive, negative) for the latter where it is smaller (Balntas et al., 2016).
    """
    _check_shapes("triplet_margin_loss", anchor, positive, "anchor and positive")
    _check_shapes("triplet_margin_loss", anchor, negative, "anchor and negative")
    if margin <= 0:
        raise ValueError(f"triplet_margin_loss: margin must be greater than 0, got {margin}")
    near, far = pairwise_distance(anchor, positive, p, eps), pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = _core.minimum(far, pairwise_distance(positive, negative, p, eps))
    return _reduce("triplet_margin_loss", _core.relu(near - far + margin), reduction)


def soft_margin_loss(input, target, *, reduction="mean"):
    """log(1 + exp(-target input)), target 1 or -1."""
    _check_shapes("soft_margin_loss", input, target)
    return _reduce("soft_margin_loss", _core.softplus(-target * input), reduction)


def multilabel_soft_margin_loss(input, target, weight=None, *, reduction="mean"):
    """The mean over the last dimension of binary_cross_entropy_with_logits. weight: of each class."""
    _check_shapes("multilabel_soft_margin_loss", input, target)
    losses = _core.binary_cross_entropy_with_logits(input, target, weight, reduction="none")
    return _reduce("multilabel_soft_margin_loss", losses.mean(-1), reduction)
