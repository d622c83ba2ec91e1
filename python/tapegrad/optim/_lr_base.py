"""LRScheduler: what all schedules of the learning rate share."""

import types
import warnings

from .. import _core
from ._optimizer import Optimizer


def copied(value):
    """A group's option as it is now."""
    return value.clone() if isinstance(value, _core.Tensor) else value


def group_values(optimizer, name):
    """An option of all groups, copied."""
    return [copied(group[name]) for group in optimizer.param_groups]


def set_lr(group, lr):
    """Set a group's learning rate; a tensor is filled, so that others who hold it see it."""
    if isinstance(group["lr"], _core.Tensor):
        group["lr"].fill_(float(lr))
    else:
        group["lr"] = lr


def per_group(name, optimizer, value):
    """The values of a parameter for all groups, given one for all or a list."""
    count = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [copied(value) for _ in range(count)]
    if len(value) != count:
        raise ValueError(
            f"{name} must have the same length as optimizer.param_groups. "
            f"{name} has {len(value)} values, param_groups has {count}."
        )
    return [copied(item) for item in value]


def set_momentum(group, momentum):
    """Set a group's momentum, or Adam's first beta."""
    if "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum


def start_momentum(optimizer, base_momentum, max_momentum, fresh):
    """(base momentums, max momentums) of all groups; where fresh, the groups begin at the latter."""
    if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
        raise ValueError("optimizer must support momentum or beta1 with `cycle_momentum` option enabled")
    bases = per_group("base_momentum", optimizer, base_momentum)
    largest = per_group("max_momentum", optimizer, max_momentum)
    if fresh:
        for group, base, most in zip(optimizer.param_groups, bases, largest, strict=True):
            set_momentum(group, most)
            group["max_momentum"], group["base_momentum"] = most, base
    return bases, largest


def check_optimizer(optimizer):
    """TypeError unless it is an Optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")


class LRScheduler:
    """Base class: sets `group["lr"]` of an optimizer's groups at every step().

    A subclass defines `get_lr()`, the rates at `self.last_epoch`, mostly from those before it, so that schedulers may
    be combined and rates be changed meanwhile. `_get_closed_form_lr()`, where it has one, gives them from the epoch.
    last_epoch: that of a run that is taken up again; the groups then have an "initial_lr". -1: from the beginning.
    Call step() after the optimizer's, outside of compiled functions (a replay runs no Python, but reads the rate).
    """

    _functions = ()  # the attributes that hold functions or lists of them: only the state of callable objects is saved
    _get_lr_called_within_step = False
    _is_initial = False

    def __init__(self, optimizer, last_epoch=-1):
        check_optimizer(optimizer)
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", copied(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{i}] when resuming scheduler with "
                    "last_epoch >= 0: load the optimizer's state first, or begin with last_epoch=-1"
                )
        self.base_lrs = group_values(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        self._initial_step()

    def _initial_step(self):
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def step(self, epoch=None):
        """Go on to the next epoch (or batch: whatever the schedule counts). epoch: to this one (deprecated)."""
        self._refuse_capture()
        if self._step_count == 1 and not self.optimizer._opt_called:
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`: the first value of the learning "
                "rate schedule is skipped. Call `optimizer.step()` before `lr_scheduler.step()`.",
                UserWarning,
                stacklevel=2,
            )
        self._step_count += 1
        if epoch is not None:
            warnings.warn(
                "The epoch parameter in `scheduler.step()` is deprecated: call `scheduler.step()` without it",
                UserWarning,
                stacklevel=2,
            )
        self._update_lr(epoch)

    def _refuse_capture(self):
        _core._refuse_capture(f"step() of {type(self).__name__} is called, which sets the learning rate in Python,")

    def _update_lr(self, epoch=None):
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        closed_form = getattr(self, "_get_closed_form_lr", None)
        self._set_lrs(closed_form() if epoch is not None and closed_form else self._within_step(self.get_lr))

    def _within_step(self, get_lr):
        self._get_lr_called_within_step = True
        try:
            return get_lr()
        finally:
            self._get_lr_called_within_step = False

    def _set_lrs(self, lrs):
        for group, lr in zip(self.optimizer.param_groups, lrs, strict=True):
            set_lr(group, lr)
        self._last_lr = group_values(self.optimizer, "lr")

    def get_lr(self):
        """The rates at `self.last_epoch`, one for each group; of use to step() only, see get_last_lr()."""
        raise NotImplementedError(f"{type(self).__name__} does not define get_lr")

    def get_last_lr(self):
        """The rates that the last step has set, one for each group."""
        return self._last_lr

    def _warn_outside_step(self):
        if not self._get_lr_called_within_step:
            warnings.warn(
                "To get the last learning rate computed by the scheduler, please use `get_last_lr()`.",
                UserWarning,
                stacklevel=3,
            )

    def _current(self):
        """The rates as they are."""
        return group_values(self.optimizer, "lr")

    def _scaled(self, factor):
        """The rates times a factor."""
        return [group["lr"] * factor for group in self.optimizer.param_groups]

    def state_dict(self):
        """Everything but the optimizer. Functions are not saved, of callable objects their attributes are."""
        state = {name: value for name, value in vars(self).items() if name != "optimizer"}
        return state | {name: _saved(state[name]) for name in self._functions}

    def load_state_dict(self, state_dict):
        """Take over a `state_dict`."""
        for name, value in state_dict.items():
            if name in self._functions:
                _load(getattr(self, name), value)
            else:
                setattr(self, name, value)


def _saved(function):
    if isinstance(function, list):
        return [_saved(item) for item in function]
    return None if function is None or isinstance(function, types.FunctionType) else dict(vars(function))


def _load(function, state):
    if isinstance(function, list):
        for item, part in zip(function, state, strict=True):
            _load(item, part)
    elif state is not None:
        vars(function).update(state)
