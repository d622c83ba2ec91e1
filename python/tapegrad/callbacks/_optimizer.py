"""LRScheduler and GradientClipping: what callbacks do around the optimizer's step."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

from ..nn.utils import clip_grad_norm_, clip_grad_value_
from ..optim import Optimizer, lr_scheduler
from ._base import Callback
from ._monitor import Monitor, direction


class LRScheduler(Callback):
    """Steps a schedule of the learning rate after each epoch, or each step of the optimizer.

    scheduler: one of optim.lr_scheduler, of the optimizer that fit gets; or a function that makes it of the optimizer,
        as for one that fit makes by name: `LRScheduler(lambda o: CosineAnnealingLR(o, T_max=30))`.
    every: "epoch", or "step" for schedules that count steps, such as OneCycleLR and CyclicLR; this returns to Python
        after each step, which costs small models speed.
    monitor: the value of the history that ReduceLROnPlateau watches.

    The schedule is saved with the run. Raises ValueError for a schedule of another optimizer, a monitor that is not
    recorded, and ReduceLROnPlateau where it has the other mode than the monitor (such as "min" for accuracy).
    """

    recapture = False

    def __init__(
        self,
        scheduler: lr_scheduler.LRScheduler | Callable[[Optimizer], lr_scheduler.LRScheduler],
        every: str = "epoch",
        monitor: str = "val_loss",
    ):
        if every not in ("epoch", "step"):
            raise ValueError(f'every must be "epoch" or "step", got {every!r}')
        made = hasattr(scheduler, "step") and not isinstance(scheduler, type)
        if not made and not callable(scheduler):
            kind = type(scheduler).__name__
            raise TypeError(f"scheduler must be a learning rate scheduler or a function that makes one, got {kind}")
        self.scheduler = scheduler if made else None
        self.every = every
        self.monitor = monitor
        self._make = None if made else scheduler
        setattr(self, f"on_{'epoch_end' if every == 'epoch' else 'step'}", self._step)

    def on_fit_begin(self, run) -> None:
        if self._make is not None:
            self.scheduler = self._make(run.optimizer)
        if self.scheduler.optimizer is not run.optimizer:
            raise ValueError(
                "the scheduler belongs to another optimizer than this run's: pass that optimizer to fit, or a function "
                "that makes the scheduler, such as LRScheduler(lambda optimizer: StepLR(optimizer, 10))"
            )
        self._plateau = isinstance(self.scheduler, lr_scheduler.ReduceLROnPlateau)
        if self._plateau:
            self._check_plateau(run)

    def _check_plateau(self, run) -> None:
        if self.every == "step":
            raise ValueError('ReduceLROnPlateau watches a value of the epoch: use every="epoch"')
        mode = self.scheduler.mode
        Monitor(self.monitor, mode).check(run)
        if direction(self.monitor) not in (None, mode):
            raise ValueError(
                f"ReduceLROnPlateau has mode={mode!r}, but {self.monitor!r} gets better the other way: "
                f"make it with mode={direction(self.monitor)!r}"
            )

    def _step(self, run) -> None:
        if self._plateau:
            self.scheduler.step(run.history[self.monitor][-1])
        else:
            self.scheduler.step()

    def state_dict(self) -> dict:
        return self.scheduler.state_dict()

    def load_state_dict(self, state: dict) -> None:
        self.scheduler.load_state_dict(state)


class GradientClipping(Callback):
    """Limits the gradients of the optimizer's parameters before each step, within the captured step.

    max_norm: the gradients g, as one vector, become g * min(1, max_norm / (|g| + 1e-6)), where |g| is the norm of order
    norm_type, which may be inf; value: each element is limited to [-value, value]. One of the two, and positive, or
    ValueError. A norm that is nan or infinite is not noticed here, but by the loss of the next step.

    Source: Pascanu, Mikolov and Bengio, arXiv:1211.5063, algorithm 1.
    """

    recapture = False

    def __init__(self, max_norm: float | None = None, value: float | None = None, norm_type: float = 2.0):
        if (max_norm is None) == (value is None):
            raise ValueError(f"pass one of max_norm and value, got max_norm={max_norm} and value={value}")
        for name, limit in (("max_norm", max_norm), ("value", value), ("norm_type", norm_type)):
            if limit is not None and not limit > 0:
                raise ValueError(f"{name} must be positive, got {limit}")
        self.max_norm = max_norm
        self.value = value
        self.norm_type = norm_type

    def on_gradients(self, run) -> None:
        parameters = chain.from_iterable(group["params"] for group in run.optimizer.param_groups)
        if self.value is None:
            clip_grad_norm_(parameters, self.max_norm, self.norm_type)
        else:
            clip_grad_value_(parameters, self.value)
