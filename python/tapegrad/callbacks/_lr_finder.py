"""LRFinder: tries rising learning rates in one short run, and suggests one."""

from __future__ import annotations

import copy
import math
import os
import warnings

import numpy as np

from .. import _core
from .._figure import figure
from ..nn import UninitializedParameter
from ..optim._lr_base import group_values, set_lr
from ._base import Callback
from ._weights import copied, put_back


class LRFinder(Callback):
    """Raises the learning rate at every step of the optimizer, from far too low to far too high, and watches the loss.

    low, high: the first and the last rate, of all parameter groups; those between have equal ratios. steps: how many.
        fit's epochs have to have as many, or a RuntimeWarning says where they ran out.
    smoothing: weight s of a new loss in the moving average m = (1 - s) m + s loss, in (0, 1]; 1 does not smooth.
    divergence: training ends where the average is above so many times the least it has been, or a loss is not finite.

    Afterwards `lrs` and `losses` hold the rates tried and the average at each, `suggestion` a rate in the middle of
    its descent, and `plot()` draws them. Weights, buffers, the optimizer and the default generator are then as they
    were when fit called on_fit_begin:

        finder = LRFinder()
        tg.fit(model, train, loss="cross_entropy", optimizer=optimizer, epochs=10, callbacks=[finder])
        optimizer.param_groups[0]["lr"] = finder.suggestion

    Source: Smith, arXiv:1506.01186, section 3.3; the suggestion is fastai's "valley".
    """

    recapture = False

    def __init__(
        self,
        low: float = 1e-7,
        high: float = 10.0,
        steps: int = 100,
        smoothing: float = 0.3,
        divergence: float = 4.0,
    ):
        if not 0 < low < high < math.inf:
            raise ValueError(f"rates must be finite and 0 < low < high, got low={low} and high={high}")
        if steps < 2:
            raise ValueError(f"steps must be at least 2, got {steps}")
        if not 0 < smoothing <= 1:
            raise ValueError(f"smoothing must be in (0, 1], got {smoothing}")
        if not divergence > 1:
            raise ValueError(f"divergence must be above 1, got {divergence}")
        self.low, self.high, self.steps = low, high, steps
        self.smoothing = smoothing
        self.divergence = divergence
        self.lrs: list[float] = []
        self.losses: list[float] = []

    def on_fit_begin(self, run) -> None:
        if run.resumed:
            raise ValueError("LRFinder tries rates from where the model stands, and undoes it: leave resume out")
        if any(isinstance(parameter, UninitializedParameter) for parameter in run.model.parameters()):
            raise ValueError("LRFinder: the model has lazy layers without weights yet; run it on a batch first")
        self.lrs, self.losses = [], []
        self._average = 0.0
        self._done = False
        self._weights = copied(run.model)
        self._optimizer = copy.deepcopy(run.optimizer.state_dict())
        self._rates = group_values(run.optimizer, "lr")
        self._generator = _core.default_generator.get_state()
        self._set(run, self.low)

    def _set(self, run, rate: float) -> None:
        for group in run.optimizer.param_groups:
            set_lr(group, rate)

    def _rate(self, index: int) -> float:
        return self.low * (self.high / self.low) ** (index / (self.steps - 1))

    def on_step(self, run) -> None:
        if self._done:
            return
        self._average += self.smoothing * (run.loss - self._average)
        self.lrs.append(self._rate(len(self.lrs)))
        # The average began at 0, so the weights do not yet sum to 1 (Kingma and Ba, arXiv:1412.6980, section 3).
        self.losses.append(self._average / (1 - (1 - self.smoothing) ** len(self.lrs)))
        least = min(self.losses)
        if self.losses[-1] - least > (self.divergence - 1) * abs(least):
            self._end(run, "the loss has diverged")
        elif len(self.lrs) == self.steps:
            self._end(run, "all rates tried")
        else:
            self._set(run, self._rate(len(self.lrs)))

    def on_divergence(self, run) -> bool:
        self._done = True
        return True

    def _end(self, run, reason: str) -> None:
        self._done = True
        run.stop(f"learning rate finder: {reason}")

    def on_fit_end(self, run) -> None:
        put_back(run.model, self._weights)
        own = [group["lr"] for group in run.optimizer.param_groups]
        run.optimizer.load_state_dict(self._optimizer)
        for group, lr, value in zip(run.optimizer.param_groups, own, self._rates, strict=True):
            group["lr"] = lr  # where it is a tensor, others may hold it
            set_lr(group, value)
        _core.default_generator.set_state(self._generator)
        del self._weights, self._optimizer
        if not self._done and not run.history.interrupted:
            warnings.warn(
                f"LRFinder: training ended after {len(self.lrs)} of {self.steps} steps; give fit more epochs",
                RuntimeWarning,
            )

    @property
    def suggestion(self) -> float:
        """The rate at half the length of the longest falling subsequence of `losses`, counted back from its end.

        Raises RuntimeError before training, and where the losses never fall.
        """
        length = np.ones(len(self.losses), dtype=int)
        for i, loss in enumerate(self.losses):
            length[i] += max((length[j] for j in range(i) if self.losses[j] > loss), default=0)
        if len(length) == 0 or length.max() == 1:
            raise RuntimeError("LRFinder has no losses that fall: pass it to fit as a callback, with a lower `low`")
        end = int(length.argmax())
        return self.lrs[end - length[end] // 2]

    def plot(self, path: str | os.PathLike | None = None):
        """Draws the losses over the rates, the suggestion marked, and returns the figure.

        With `path` the figure is also written there (.png, .svg, .pdf); without, it is a pyplot figure for plt.show().
        Raises ImportError when matplotlib is not installed.
        """
        with figure("LRFinder.plot", path, (5, 3.5)) as drawn:
            axes = drawn.subplots()
            axes.plot(self.lrs, self.losses)
            axes.axvline(self.suggestion, color="tab:red", linestyle="--", label=f"suggestion {self.suggestion:.2g}")
            axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
            axes.grid(alpha=0.3)
            axes.legend()
        return drawn
