"""Run: a training run as its callbacks see it, and its whole state as a file."""

from __future__ import annotations

import math
import os

from .. import _core
from .._history import History
from ..utils.data import DataLoader

_FORMAT = 1


class Run:
    """A run of fit().

    model, optimizer, history: those of the run. epochs: how many it is to take; epoch: the current one, from 1; step:
    optimizer steps so far, over all epochs; loss: of the newest batch. resumed: whether it goes on from a file.
    """

    def __init__(self, model, optimizer, history: History, epochs: int, callbacks, batches, begun: bytes):
        from ..callbacks import HOOKS, defines

        self.model = model
        self.optimizer = optimizer
        self.history = history
        self.epochs = epochs
        self.epoch = 0
        self.step = 0
        self.resumed = False
        # Those that save the state of the others come after them.
        self.callbacks = sorted(callbacks, key=lambda callback: callback.runs_last)
        self._hooks = {name: [getattr(c, name) for c in self.callbacks if defines(c, name)] for name in HOOKS}
        self._batches = batches
        self._begun = begun  # the default generator's state when fit() was called
        self.completed = 0  # epochs
        self.pass_begun = None  # that state when the current epoch began
        self.totals = None  # of the current epoch
        self.drawn = False  # whether its batches are at their end
        self.seconds = 0.0  # spent on it so far
        self.ended = None  # why: the reason given to stop()

    @property
    def loss(self) -> float:
        return math.nan if self.totals is None else self.totals.last

    def stop(self, reason: str) -> None:
        """Ends the run after the current hook; `history.stopped` keeps the reason.

        From on_step it ends in the middle of the epoch, which is then recorded over its steps without validation.
        """
        self.ended = str(reason)

    def call(self, name: str) -> None:
        # What was set up last ends first: a checkpoint is written before early stopping brings the best weights back.
        for hook in reversed(self._hooks[name]) if name == "on_fit_end" else self._hooks[name]:
            hook(self)

    def has(self, name: str) -> bool:
        """Whether some callback defines this hook."""
        return bool(self._hooks[name])

    def save(self, path: str | os.PathLike) -> None:
        """Writes the whole state of the run to a file, from which fit(resume=path) goes on bit for bit.

        To be called from on_epoch_end, on_step or on_fit_end. The file appears whole or not at all.
        """
        from ..checkpoint import save

        save(self.state_dict(), path)

    def state_dict(self) -> dict:
        within = self.within_epoch
        columns = self.history.to_dict().items()
        loader = self._batches if isinstance(self._batches, DataLoader) else None
        return {
            "format": _FORMAT,
            "epoch": self.completed,
            "step": self.step,
            "ended": self.ended,
            "history": {name: values[: self.completed] for name, values in columns},
            "begun": self._begun,
            "generator": _core.default_generator.get_state(),
            "pass": self.pass_begun if within else None,
            "totals": self.totals.state_dict() if within else None,
            "drawn": self.drawn,
            "seconds": self.seconds if within else 0.0,
            "loader": None if loader is None else loader.state_dict(),
            "callbacks": [{"type": type(c).__name__, "state": c.state_dict()} for c in self.callbacks],
            "optimizer": self.optimizer.state_dict(),
            "optimizer_type": type(self.optimizer).__name__,
            "model": self.model.state_dict(),
        }

    def load_state_dict(self, state: dict) -> None:
        """Takes the state over; the caller goes on in the middle of the epoch if state["totals"] is there."""
        names = [type(c).__name__ for c in self.callbacks]
        saved = [c["type"] for c in state["callbacks"]]
        if names != saved:
            raise ValueError(f"the run that was saved had the callbacks {saved}, this one has {names}")
        if list(state["history"]) != self.history.names:
            saved, here = ", ".join(state["history"]), ", ".join(self.history.names)
            raise ValueError(f"the run that was saved recorded {saved}; this one would record {here}")
        saved, here = state["optimizer_type"], type(self.optimizer).__name__
        if saved != here:
            raise ValueError(f"the run that was saved had the optimizer {saved}, this one has {here}")
        loader = isinstance(self._batches, DataLoader)
        if loader != (state["loader"] is not None):
            raise ValueError("one of the runs has a DataLoader or rows in memory for train, the other has not")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if loader:
            self._batches.load_state_dict(state["loader"])
        for callback, saved in zip(self.callbacks, state["callbacks"], strict=True):
            callback.load_state_dict(saved["state"])
        self.completed = self.epoch = state["epoch"]
        self.step = state["step"]
        self.ended = state["ended"]
        for values in zip(*state["history"].values(), strict=True):
            self.history.append(dict(zip(self.history.names, values, strict=True)))
        _core.default_generator.set_state(state["generator"])

    @property
    def within_epoch(self) -> bool:
        """Whether the current epoch is not over, or was cut short."""
        return self.epoch > self.completed

    @property
    def needs_recapture(self) -> bool:
        """Whether a callback of the user's may change, between epochs, what the captured step has read from Python."""
        return any(callback.recapture for callback in self.callbacks)


def read_state(path: str | os.PathLike) -> dict | None:
    """What Run.save() wrote; None where there is no such file. ValueError for any other file."""
    from ..checkpoint import load

    if not os.path.exists(os.fspath(path)):
        return None
    state = load(path)
    found = state.get("format") if isinstance(state, dict) else None
    if found != _FORMAT or "callbacks" not in state:
        raise ValueError(f"{path}: not the state of a run of fit(), as ModelCheckpoint writes it")
    return state
