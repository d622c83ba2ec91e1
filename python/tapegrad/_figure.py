"""A matplotlib figure to draw into, for the plot() of what fit() and its callbacks have measured."""

from __future__ import annotations

from contextlib import contextmanager


@contextmanager
def figure(who: str, path, size):
    """Gives a figure of that size in inches; at the end it is written to `path`, if there is one.

    With a path it needs no display; without, it is pyplot's, for plt.show(). ImportError names `who` needs matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f"{who} needs matplotlib: pip install matplotlib") from error
    if path is None:
        from matplotlib import pyplot

        yield pyplot.figure(figsize=size, layout="constrained")
        return
    drawn = Figure(figsize=size, layout="constrained")
    yield drawn
    drawn.savefig(path, dpi=120)
