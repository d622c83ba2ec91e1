"""ModelCheckpoint: writes the run, or the weights alone, to files while training goes on."""

from __future__ import annotations

import os
import time
from pathlib import Path
from string import Formatter

from ..checkpoint import save
from ._base import Callback
from ._monitor import Monitor


class ModelCheckpoint(Callback):
    """Saves the whole training state after each epoch, for `fit(resume=path)`; or so many steps or seconds.

    A run that max_seconds or `run.stop` ends within an epoch is saved there, too.

    path: the file, replaced whole each time; or a template for a file each time, with the fields {epoch}, {step} and,
        for every="epoch", names of the history: "runs/{epoch:03d}-{val_loss:.4f}.safetensors". Folders are made.
    monitor, mode, save_best_only: saves only where `monitor` ("val_loss" unless given) is better than ever before in
        this run; mode is that of EarlyStopping.
    weights_only: the model's state_dict alone, for `model.load_state_dict(tg.load(path))`.
    every: "epoch", or a number of optimizer steps; every_seconds: instead, after the first step behind so many seconds.
        Both return to Python after each step, which costs small models speed.
    keep: of a template's files, how many of the last to keep; deletes older ones that it wrote in this run.

    `best`, and `files` in the order they were written, go on in a resumed run. Called behind all other callbacks, so
    that what it saves has what they made of the epoch. Raises ValueError for arguments that do not go together and, at
    the beginning, for names that the run does not record; OSError where a file cannot be written.
    """

    recapture = False
    runs_last = True

    def __init__(
        self,
        path: str | os.PathLike,
        monitor: str | None = None,
        mode: str = "auto",
        save_best_only: bool = False,
        weights_only: bool = False,
        every: str | int = "epoch",
        every_seconds: float | None = None,
        keep: int | None = None,
    ):
        self.path = os.fspath(path)
        self.fields = {field for _, field, _, _ in Formatter().parse(self.path) if field is not None}
        if monitor is not None and not save_best_only:
            raise ValueError("monitor is of use with save_best_only=True alone")
        self.monitor = Monitor(monitor or "val_loss", mode) if save_best_only else None
        self.weights_only = weights_only
        self.every, self.every_seconds, self.keep = every, every_seconds, keep
        self._check_times()
        if keep is not None and (keep < 1 or not self.fields):
            raise ValueError(f"keep must be at least 1, with a path that has fields, got {keep} and {self.path!r}")
        if self._each_epoch:
            self.on_epoch_end = self._after_epoch
        else:
            self.on_step = self._after_step
        self._reset()

    def _check_times(self) -> None:
        number = isinstance(self.every, int) and not isinstance(self.every, bool) and self.every >= 1
        if self.every != "epoch" and not number:
            raise ValueError(f'every must be "epoch" or a number of steps, got {self.every!r}')
        if self.every_seconds is not None and (number or not self.every_seconds >= 0):
            raise ValueError(f"every_seconds must be at least 0, without `every`, got {self.every_seconds!r}")
        self._each_epoch = self.every == "epoch" and self.every_seconds is None
        if self.monitor is not None and not self._each_epoch:
            raise ValueError("save_best_only compares epochs: leave every and every_seconds out")

    def _reset(self) -> None:
        self.best = None
        self.files: list[str] = []

    def on_fit_begin(self, run) -> None:
        known = ["epoch", "step", *(run.history.names if self._each_epoch else ())]
        unknown = sorted(self.fields - set(known))
        if unknown:
            raise ValueError(f"path {self.path!r} has unknown fields {unknown}; known: {', '.join(known)}")
        if self.monitor is not None:
            self.monitor.check(run)
        self._reset()
        self._saved_at = time.monotonic()

    def _after_epoch(self, run) -> None:
        if self.monitor is not None:
            value = self.monitor.value(run)
            if not self.monitor.better(value, self.best):
                return
            self.best = value
        self._save(run, self._recorded(run))

    def _after_step(self, run) -> None:
        if self.every_seconds is None:
            due = run.step % self.every == 0
        else:
            due = time.monotonic() - self._saved_at >= self.every_seconds
        if due:
            self._save(run, {})

    def on_fit_end(self, run) -> None:
        # Ctrl-C may have come between a step and its being counted.
        cut = run.within_epoch and run.totals.samples and not run.history.interrupted
        if cut and self._each_epoch and self.monitor is None and not self.weights_only:
            self._save(run, self._recorded(run))

    def _recorded(self, run) -> dict:
        return {name: run.history[name][-1] for name in self.fields & set(run.history.names)}

    def _save(self, run, values: dict) -> None:
        path = Path(self.path.format(**values, epoch=run.epoch, step=run.step) if self.fields else self.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Listed before it is written: a resumed run then knows the file it came from.
        self.files = [*(file for file in self.files if file != str(path)), str(path)]
        if self.weights_only:
            save(run.model.state_dict(), path)
        else:
            run.save(path)
        if self.keep is not None:
            for file in self.files[: -self.keep]:
                Path(file).unlink(missing_ok=True)
            self.files = self.files[-self.keep :]
        self._saved_at = time.monotonic()

    def state_dict(self) -> dict:
        return {"best": self.best, "files": list(self.files)}

    def load_state_dict(self, state: dict) -> None:
        self.best, self.files = state["best"], list(state["files"])
