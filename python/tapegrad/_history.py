"""History: what fit() measured, epoch by epoch."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

from ._figure import figure


class History:
    """Per-epoch record of a training run: loss, metrics, validation values, seconds and steps.

    `history["loss"]` is a list with one number per epoch; `history.names` lists the names, `len(history)` the epochs.
    `interrupted` is True when Ctrl-C ended the run; the epoch it cut short is recorded over the steps that were taken,
    with nan for its validation values. `stopped` is the reason, as text, why a run ended before its last epoch by a
    callback or a limit; None where it did not.
    """

    def __init__(self, names: list[str]):
        self.names = list(names)
        self.interrupted = False
        self.stopped: str | None = None
        self._columns: dict[str, list] = {name: [] for name in names}

    def append(self, row: dict[str, float]) -> None:
        """Adds an epoch; values that `row` lacks become nan."""
        for name, column in self._columns.items():
            column.append(row.get(name, math.nan))

    def __len__(self) -> int:
        return len(self._columns["loss"])

    def __getitem__(self, name: str) -> list:
        """The values of one name, epoch by epoch. Raises KeyError that lists the names there are."""
        if name not in self._columns:
            raise KeyError(f"{name!r} was not recorded; recorded: {', '.join(self.names)}")
        return self._columns[name]

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    def to_dict(self) -> dict[str, list]:
        """A copy as plain lists by name."""
        return {name: list(column) for name, column in self._columns.items()}

    def header(self) -> str:
        """The table's heading line; `row(i)` gives lines that fit under it."""
        return " ".join(["epoch", *(f"{name:>{_width(name)}}" for name in self._shown())])

    def row(self, index: int) -> str:
        """The table's line for epoch `index` (from 0, negative from the end)."""
        epoch, *cells = self._cells(range(len(self))[index])
        return " ".join([f"{epoch:>5}", *(f"{c:>{_width(n)}}" for n, c in zip(self._shown(), cells, strict=True))])

    def state_dict(self) -> dict:
        """The whole history as plain values."""
        return {"epochs": self.to_dict(), "interrupted": self.interrupted, "stopped": self.stopped}

    def load_state_dict(self, state: Mapping) -> None:
        """Takes over a state_dict(). Raises ValueError where that has recorded other names than this history does."""
        if list(state["epochs"]) != self.names:
            raise ValueError(
                f"the history to load has recorded {', '.join(state['epochs'])}, but this one records "
                f"{', '.join(self.names)}; use the same metrics and validation"
            )
        self._columns = {name: list(column) for name, column in state["epochs"].items()}
        self.interrupted, self.stopped = state["interrupted"], state["stopped"]

    def _shown(self) -> list[str]:
        return [name for name in self.names if name != "steps"]

    def _cells(self, index: int) -> list[str]:
        return [str(index + 1), *(_text(name, self._columns[name][index]) for name in self._shown())]

    def _rows(self) -> list[int | None]:
        """The epochs that the table shows; None stands for those left out of a long run."""
        count = len(self)
        return list(range(count)) if count <= 20 else [*range(5), None, *range(count - 10, count)]

    def _ending(self) -> list[str]:
        """What the table says below the epochs."""
        return ["interrupted"] * self.interrupted + ([] if self.stopped is None else [f"stopped: {self.stopped}"])

    def __repr__(self) -> str:
        rows = ["  ..." if index is None else self.row(index) for index in self._rows()]
        return "\n".join([self.header(), *rows, *self._ending()])

    def _repr_html_(self) -> str:
        """The table for a notebook."""
        names = ["epoch", *self._shown()]
        rows = [["..."] * len(names) if index is None else self._cells(index) for index in self._rows()]
        rows = [_html_row("th", names), *(_html_row("td", cells) for cells in rows)]
        return "\n".join(["<table>", *rows, "</table>", *(f"<p>{_escape(line)}</p>" for line in self._ending())])

    def plot(self, path: str | os.PathLike | None = None):
        """Draws the loss and each metric over the epochs, training and validation together, and returns the figure.

        With `path` the figure is also written there (.png, .svg, .pdf); without, it is a pyplot figure for plt.show().
        Raises ImportError when matplotlib is not installed.
        """
        panels = [name for name in self._shown() if name != "seconds" and not name.startswith("val_")]
        epochs = range(1, len(self) + 1)
        with figure("History.plot", path, (4.5 * len(panels), 3.5)) as drawn:
            for axes, name in zip(drawn.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
                axes.plot(epochs, self[name], marker=".", label="training")
                if f"val_{name}" in self:
                    axes.plot(epochs, self[f"val_{name}"], marker=".", label="validation")
                    axes.legend()
                axes.set(xlabel="epoch", title=name)
                axes.grid(alpha=0.3)
        return drawn


def _width(name: str) -> int:
    return max(len(name), 9)


def _escape(text: str) -> str:
    from html import escape  # 2 ms that only notebooks need

    return escape(text)


def _html_row(tag: str, cells: list[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{_escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _text(name: str, value: float) -> str:
    if math.isnan(value):
        return "-"
    if name == "seconds":
        return f"{value:.2f}"
    magnitude = abs(value)
    return f"{value:.4f}" if 1e-3 <= magnitude < 1e4 or value == 0 else f"{value:.3e}"
