"""The losses of fit(): by name, and weighted by sample and by class."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping

import numpy as np

from .. import _core, nn

LOSSES = {
    "bce": nn.BCELoss,
    "bce_with_logits": nn.BCEWithLogitsLoss,
    "cross_entropy": nn.CrossEntropyLoss,
    "huber": nn.HuberLoss,
    "l1": nn.L1Loss,
    "mse": nn.MSELoss,
    "nll": nn.NLLLoss,
    "poisson_nll": nn.PoissonNLLLoss,
    "smooth_l1": nn.SmoothL1Loss,
}
_OF_NUMBERS = tuple(kind for name, kind in LOSSES.items() if name not in ("cross_entropy", "nll"))


def find_loss(loss: str | Callable) -> Callable:
    """The loss of that name, or the callable itself."""
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise ValueError(f"unknown loss {loss!r}; known losses: {', '.join(LOSSES)}, or pass a callable")
        return LOSSES[loss]()
    if isinstance(loss, type):
        raise TypeError(f"loss must be a name or a callable loss(output, target), got a class: pass {loss.__name__}()")
    if not callable(loss):
        raise TypeError(f"loss must be a name or a callable loss(output, target), got {type(loss).__name__}")
    return loss


def takes_classes(loss) -> bool:
    """Whether whole numbers as targets are taken for class indices: not where the loss is known to want numbers."""
    return not isinstance(loss, _OF_NUMBERS)


class BatchLoss:
    """loss(output, target, weight=None): the loss of a batch, which is a mean or, of a loss that sums, a sum.

    With weights it is sum_i w_i loss_i / n over the n samples, where w_i is the product of the sample's weight and
    that of its class, and loss_i the mean over the sample's own values. A constant factor of the weights is thus one of
    the loss, and a batch's gradient has the expectation of that over all the data.
    """

    def __init__(self, loss: Callable, class_weight: Callable | None = None):
        self.function = loss
        self.summed = getattr(loss, "reduction", "mean") == "sum"
        self._class_weight = class_weight
        self._of_samples = None  # made when first needed

    def __call__(self, output, target, weight=None):
        if weight is None and self._class_weight is None:
            return self.function(output, target)
        losses = self._losses(output, target)
        if self._class_weight is not None:
            losses = losses * self._weights_of(target, losses)
        if losses.ndim > 1:
            losses = losses.flatten(1)
            losses = losses.sum(1) if self.summed else losses.mean(1)
        if weight is not None:
            losses = losses * weight
        return losses.sum() if self.summed else losses.mean()

    def _losses(self, output, target):
        if self._of_samples is None:
            self._of_samples = _unreduced(self.function)
        losses = self._of_samples(output, target)
        if losses.ndim == 0 or losses.shape[0] != target.shape[0]:
            raise ValueError(
                f"weights need the loss of each sample, ({target.shape[0]},) or ({target.shape[0]}, ...), but the loss "
                f"gave shape {tuple(losses.shape)}; return them, or give it a parameter `reduction` that takes 'none'"
            )
        return losses

    def _weights_of(self, target, losses):
        if target.shape != losses.shape:
            raise ValueError(
                f"class_weight needs one class index for each loss, got target {tuple(target.shape)} and losses "
                f"{tuple(losses.shape)}"
            )
        return self._class_weight(target.long())


def _unreduced(loss: Callable) -> Callable:
    """The loss without its mean or sum, if it can be told so."""
    if isinstance(loss, nn.Module):
        if hasattr(loss, "reduction"):
            loss = copy.copy(loss)
            loss.reduction = "none"
        return loss
    import inspect

    try:
        known = "reduction" in inspect.signature(loss).parameters
    except (TypeError, ValueError):  # a callable without a signature
        known = False
    return functools.partial(loss, reduction="none") if known else loss


def class_weights(given, targets: _core.Tensor | None, dtype) -> Callable | None:
    """The function from class indices to the weights of these classes.

    given: {class: weight} (others get 1), a sequence of C weights, "balanced" for n / (C * count), or None.
    targets: the training targets where they are in memory.
    """
    if given is None:
        return None
    classes = None if targets is None or targets.numel() == 0 else int(targets.max()) + 1
    if isinstance(given, str):
        if given != "balanced":
            raise ValueError(f'class_weight must be "balanced", {{class: weight}} or a weight per class, not {given!r}')
        if classes is None:
            raise ValueError('class_weight="balanced" counts targets in memory; for other data pass {class: weight}')
        counts = np.bincount(targets.long().numpy().reshape(-1), minlength=classes)
        values = counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))
    elif isinstance(given, Mapping):
        if not given or not all(isinstance(key, (int, np.integer)) and key >= 0 for key in given):
            raise ValueError(f"class_weight must map class indices from 0 on to weights, got the keys {list(given)}")
        values = np.ones(max(given) + 2)  # the last one is for all classes from there on
        values[list(given)] = list(given.values())
    else:
        values = np.asarray(given.detach().numpy() if isinstance(given, _core.Tensor) else given, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all() or (values < 0).any():
        raise ValueError(f"class_weight must be one finite weight of at least 0 per class, got {given!r}")
    table = _core.tensor(values.tolist(), dtype=dtype)
    if isinstance(given, Mapping):
        return lambda classes: table[classes.clamp(max=len(table) - 1)]
    if classes is not None and len(values) < classes:
        raise ValueError(f"class_weight has {len(values)} weights, but the targets have {classes} classes")
    return lambda classes: table[classes]
