"""What several examples share: arguments, finding a file, columns as arrays, results by seed, a figure."""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tapegrad.tables import Table, column_numbers


def positive(text: str) -> int:
    """The type of an argument that is a number of things."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def find_file(root: str | os.PathLike | None, folder: str, name: str, source: str) -> Path:
    """root/name or root/folder/name; root None: the environment variable TAPEGRAD_DATA, else "data".

    Raises FileNotFoundError that says where to get the file and where to put it.
    """
    root = Path(os.environ.get("TAPEGRAD_DATA", "data") if root is None else root)
    for path in (root / name, root / folder / name):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"no {name} in {root} or {root / folder}: get it from {source}, and give its folder by --data or in the "
        "environment variable TAPEGRAD_DATA"
    )


def numbers(table: Table, names: list[str]) -> np.ndarray:
    """Columns of numbers as float64 (N, columns), nan for blanks."""
    return np.stack([column_numbers(table, name) for name in names], axis=1)


def texts(table: Table, names: list[str]) -> np.ndarray:
    """Columns as texts (N, columns)."""
    return np.stack([np.array(table.column(name)) for name in names], axis=1)


def over_seeds(run: Callable[[int], dict[str, float]], seeds: int, formats: dict[str, str]) -> list[dict[str, float]]:
    """Calls run(seed) for so many seeds from 0 and prints a line for each, then mean and standard deviation.

    formats: how to print the values of run(seed), by name.
    """
    formats = {**formats, "seconds": ".1f"}
    print("seed", *(f"{name:>10}" for name in formats))
    rows = []
    for seed in range(seeds):
        start = time.perf_counter()
        row = run(seed)
        rows.append({**row, "seconds": time.perf_counter() - start})
        _print_row(str(seed), rows[-1], formats)
    for title, statistic in (("mean", np.mean), ("std", np.std)):
        _print_row(title, {name: statistic([row[name] for row in rows]) for name in formats}, formats)
    return rows


def _print_row(title: str, row: dict[str, float], formats: dict[str, str]) -> None:
    print(f"{title:4}", *(f"{row[name]:>10{form}}" for name, form in formats.items()), flush=True)


def new_figure(width: float, height: float):
    """A matplotlib Figure of so many inches, which needs no display. Raises ImportError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("--plot needs matplotlib: pip install matplotlib") from error
    return Figure(figsize=(width, height), layout="constrained")
