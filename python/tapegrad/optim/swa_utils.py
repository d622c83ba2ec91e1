"""Averages of a model's weights over the steps of its training, under the names of torch.optim.swa_utils."""

import copy
import math
from itertools import chain

from .. import _core
from .._grad_mode import no_grad
from ..nn import Module
from ._lr_base import LRScheduler, per_group

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]


class _Average:
    """average += weight * (value - average), the weight a function of how many values there have been."""

    def __init__(self, weight):
        self._weight = weight

    def of(self, average, value, num_averaged):
        return average + (value - average) * self._weight(num_averaged)


class _MultiAverage(_Average):
    """The same for lists, in place."""

    def __call__(self, averaged, current, num_averaged):
        with no_grad():
            for average, value in zip(averaged, current, strict=True):
                average.copy_(self.of(average, value, num_averaged))


class _SingleAverage(_Average):
    """The same for one tensor; returns the new average."""

    def __call__(self, averaged, current, num_averaged):
        with no_grad():
            return self.of(averaged, current, num_averaged)


def _decaying(decay):
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")
    return lambda num_averaged: 1 - decay


def _equal(num_averaged):
    count = num_averaged.double() if isinstance(num_averaged, _core.Tensor) else num_averaged
    return 1.0 / (count + 1)


def get_ema_multi_avg_fn(decay=0.999):
    """For AveragedModel's multi_avg_fn: the exponential moving average, decay * average + (1 - decay) * value."""
    return _MultiAverage(_decaying(decay))


def get_swa_multi_avg_fn():
    """For AveragedModel's multi_avg_fn: the mean of all values."""
    return _MultiAverage(_equal)


def get_ema_avg_fn(decay=0.999):
    """For AveragedModel's avg_fn: the exponential moving average, decay * average + (1 - decay) * value."""
    return _SingleAverage(_decaying(decay))


def get_swa_avg_fn():
    """For AveragedModel's avg_fn: the mean of all values."""
    return _SingleAverage(_equal)


class AveragedModel(Module):
    """A copy of a model, `module`, that update_parameters(model) moves to the average of the models it is given.

    avg_fn(average, value, number averaged so far): the new average of one parameter. multi_avg_fn: the same for lists,
    in place. Neither: the mean of all. use_buffers: average the buffers, too; else they are copied.
    With the functions of this module, update_parameters() may be part of a compiled function.
    Source: Izmailov et al., arXiv:1803.05407.
    """

    def __init__(self, model, device=None, avg_fn=None, multi_avg_fn=None, use_buffers=False):
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", _core.tensor(0))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args, **kwargs):
        """The result of the averaged model."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model):
        """Take the parameters of `model` into the average; the first time, copy them."""

        def tensors(of):
            found = chain(of.parameters(), of.buffers()) if self.use_buffers else of.parameters()
            return [tensor.detach() for tensor in found]

        with no_grad():
            self._average(tensors(self.module), tensors(model))
            if not self.use_buffers:
                for own, value in zip(self.module.buffers(), model.buffers(), strict=True):
                    own.copy_(value)
            self.n_averaged += 1

    def _average(self, averaged, current):
        rule = self.multi_avg_fn or self.avg_fn or get_swa_avg_fn()
        if isinstance(rule, _Average):  # no branch on a value, which a compiled function could not replay
            first = self.n_averaged == 0
            for average, value in zip(averaged, current, strict=True):
                average.copy_(_core.where(first, value, rule.of(average, value, self.n_averaged)))
        elif int(self.n_averaged) == 0:
            for average, value in zip(averaged, current, strict=True):
                average.copy_(value)
        elif self.multi_avg_fn:
            rule(averaged, current, self.n_averaged)
        else:
            for average, value in zip(averaged, current, strict=True):
                average.copy_(rule(average, value, self.n_averaged))


def update_bn(loader, model, device=None):
    """Set the running statistics of the model's batch normalizations to the means over a loader's batches.

    loader: iterable of inputs, or of tuples or lists that begin with one.
    """
    norms = {module: module.momentum for module in model.modules() if hasattr(module, "reset_running_stats")}
    if not norms:
        return
    was_training = model.training
    model.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # equal weights
    with no_grad():
        for batch in loader:
            batch = batch[0] if isinstance(batch, (list, tuple)) else batch
            model(batch if device is None else batch.to(device))
    for norm, momentum in norms.items():
        norm.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """lr goes to swa_lr (one, or one for each group) over anneal_epochs epochs, and stays there.

    anneal_strategy: "cos" or "linear".
    """

    def __init__(self, optimizer, swa_lr, anneal_epochs=10, anneal_strategy="cos", last_epoch=-1):
        for group, lr in zip(optimizer.param_groups, per_group("swa_lr", optimizer, swa_lr), strict=True):
            group["swa_lr"] = lr
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _share(self, epoch):
        """How much of the rate after this epoch is swa_lr."""
        t = max(0, min(1, epoch / max(1, self.anneal_epochs)))
        return (1 - math.cos(math.pi * t)) / 2 if self._anneal_strategy == "cos" else t

    def get_lr(self):
        self._warn_outside_step()
        epoch = self._step_count - 1
        if self.anneal_epochs == 0:
            epoch = max(1, epoch)
        before, share = self._share(epoch - 1), self._share(epoch)
        lrs = []
        for group in self.optimizer.param_groups:
            swa_lr = group["swa_lr"]
            own = swa_lr if before == 1 else (group["lr"] - before * swa_lr) / (1 - before)
            lrs.append(swa_lr * share + own * (1 - share))
        return lrs
