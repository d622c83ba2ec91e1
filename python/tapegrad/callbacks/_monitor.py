"""Monitor: a value of the history that callbacks watch, and which way it gets better."""

from __future__ import annotations

import re

# Beginnings of the words of a name that tell which way is better.
_FALLS = ("loss", "err", "mae", "mse", "rmse", "mape", "msle", "nll", "perplexity", "deviance", "brier")
_RISES = ("acc", "precision", "recall", "f1", "fbeta", "auc", "auroc", "r2", "top", "iou", "dice", "kappa", "mcc")


def direction(name: str) -> str | None:
    """ "min" or "max", whichever is better for what is called so; None where the name does not tell."""
    words = re.split(r"[^a-z0-9]+", name.lower())
    falls, rises = (any(word.startswith(starts) for word in words) for starts in (_FALLS, _RISES))
    return None if falls == rises else "min" if falls else "max"


class Monitor:
    """The value `name` of the history. mode: "min", "max", or "auto": by the name. min_delta: the least improvement."""

    def __init__(self, name: str, mode: str = "auto", min_delta: float = 0.0):
        if mode not in ("auto", "min", "max"):
            raise ValueError(f'mode must be "auto", "min" or "max", got {mode!r}')
        if not min_delta >= 0.0:
            raise ValueError(f"min_delta must be at least 0, got {min_delta}")
        self.name = name
        self.mode = direction(name) if mode == "auto" else mode
        if self.mode is None:
            raise ValueError(f'{name!r} does not tell whether less or more of it is better: pass mode="min" or "max"')
        self.min_delta = min_delta

    def check(self, run) -> None:
        """ValueError unless the run records the value."""
        if self.name not in run.history:
            hint = "; for val_... give fit `validation`" if self.name.startswith("val_") else ""
            raise ValueError(f"{self.name!r} is not recorded; recorded: {', '.join(run.history.names)}{hint}")

    def value(self, run) -> float:
        """Of the newest epoch."""
        return run.history[self.name][-1]

    def better(self, value: float, than: float | None) -> bool:
        """Whether `value` improves on `than`, which is None before there is any; nan never does."""
        if than is None:
            return value == value
        return value < than - self.min_delta if self.mode == "min" else value > than + self.min_delta
