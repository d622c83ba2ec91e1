"""History: what fit() measured, epoch by epoch."""

from __future__ import annotations

import math
import os


class History:
    """Per-epoch record of a training run: loss, metrics, validation values, seconds and steps.

    `history["loss"]` is a list with one number per epoch; `history.names` lists the names, `len(history)` the epochs.
    `interrupted` is True when Ctrl-C ended the run; the epoch it cut short is recorded over the steps that were taken,
    with nan for its validation values.
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
        index = range(len(self))[index]
        cells = (f"{_text(name, self._columns[name][index]):>{_width(name)}}" for name in self._shown())
        return " ".join([f"{index + 1:>5}", *cells])

    def _shown(self) -> list[str]:
        return [name for name in self.names if name != "steps"]

    def __repr__(self) -> str:
        count = len(self)
        rows = list(range(count)) if count <= 20 else [*range(5), -1, *range(count - 10, count)]
        lines = [self.header()]
        lines += ["  ..." if index < 0 else self.row(index) for index in rows]
        if self.interrupted:
            lines.append("interrupted")
        return "\n".join(lines)

    def plot(self, path: str | os.PathLike | None = None):
        """Draws the loss and each metric over the epochs, training and validation together, and returns the figure.

        With `path` the figure is also written there (.png, .svg, .pdf); without, it is a pyplot figure for plt.show().
        Raises ImportError when matplotlib is not installed.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError("History.plot needs matplotlib: pip install matplotlib") from error
        panels = [name for name in self._shown() if name != "seconds" and not name.startswith("val_")]
        size = (4.5 * len(panels), 3.5)
        if path is None:
            from matplotlib import pyplot

            figure = pyplot.figure(figsize=size, layout="constrained")
        else:
            figure = Figure(figsize=size, layout="constrained")  # needs no display
        epochs = range(1, len(self) + 1)
        for axes, name in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            axes.plot(epochs, self[name], marker=".", label="training")
            if f"val_{name}" in self:
                axes.plot(epochs, self[f"val_{name}"], marker=".", label="validation")
                axes.legend()
            axes.set(xlabel="epoch", title=name)
            axes.grid(alpha=0.3)
        if path is not None:
            figure.savefig(path, dpi=120)
        return figure


def _width(name: str) -> int:
    return max(len(name), 9)


def _text(name: str, value: float) -> str:
    if math.isnan(value):
        return "-"
    if name == "seconds":
        return f"{value:.2f}"
    magnitude = abs(value)
    return f"{value:.4f}" if 1e-3 <= magnitude < 1e4 or value == 0 else f"{value:.3e}"
