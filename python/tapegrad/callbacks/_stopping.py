"""EarlyStopping: ends training when a value no longer improves, and brings back the best weights."""

from __future__ import annotations

from ._base import Callback
from ._monitor import Monitor
from ._weights import copied, put_back

_STATE = ("best", "best_epoch", "stopped_epoch", "_waited", "_weights")


class EarlyStopping(Callback):
    """Ends training once `monitor` has not improved for `patience` epochs; the model then has its best weights.

    monitor: a name of the history. mode: "min", "max", or "auto": falls for losses and errors, rises for accuracy,
        precision, recall, f1, auc, r2 and top-k; ValueError where the name does not tell.
    patience: epochs in a row without improvement that end training. min_delta: how much counts as one.
    baseline: a value to beat: until it is, no improvement resets the patience.
    restore_best: parameters and buffers of the best epoch are kept as copies and written back into the same tensors at
        the end, as in Keras 3 also where epochs ran out or Ctrl-C ended training. The optimizer's state is not touched.
    start_from_epoch: so many first epochs are not looked at.

    `best`, `best_epoch` and `stopped_epoch` (from 1) are None until there are such. All of it, the best weights
    included, is saved with the run, so that a resumed one stops alike. Raises ValueError when the run does not record
    `monitor`.

    Source: Goodfellow, Bengio and Courville, Deep Learning, 2016, algorithm 7.1.
    """

    recapture = False

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        min_delta: float = 0.0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best: bool = True,
        start_from_epoch: int = 0,
    ):
        if patience < 0 or start_from_epoch < 0:
            raise ValueError(f"patience and start_from_epoch must be >= 0, got {patience} and {start_from_epoch}")
        self.monitor = Monitor(monitor, mode, min_delta)
        self.patience = patience
        self.baseline = baseline
        self.restore_best = restore_best
        self.start_from_epoch = start_from_epoch
        self._reset()

    def _reset(self) -> None:
        self.best = self.best_epoch = self.stopped_epoch = self._weights = None
        self._waited = 0

    def on_fit_begin(self, run) -> None:
        self.monitor.check(run)
        self._reset()

    def on_epoch_end(self, run) -> None:
        if run.epoch <= self.start_from_epoch:
            return
        value = self.monitor.value(run)
        self._waited += 1
        if self.monitor.better(value, self.best):
            self.best, self.best_epoch = value, run.epoch
            if self.restore_best:
                self._weights = copied(run.model)
            if self.baseline is None or self.monitor.better(value, self.baseline):
                self._waited = 0
        if self._waited >= max(self.patience, 1):
            self.stopped_epoch = run.epoch
            best = "" if self.best is None else f" (best {self.best:.4g} in epoch {self.best_epoch})"
            run.stop(f"early stopping: no better {self.monitor.name} for {self._waited} epochs{best}")

    def on_fit_end(self, run) -> None:
        if self._weights is not None:
            put_back(run.model, self._weights)

    def state_dict(self) -> dict:
        return {name: getattr(self, name) for name in _STATE}

    def load_state_dict(self, state: dict) -> None:
        for name in _STATE:
            setattr(self, name, state[name])
