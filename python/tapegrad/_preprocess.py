"""Numbers made ready for a model: standardised columns, one-hot codes, and rows held out for testing."""

from __future__ import annotations

import math

import numpy as np

from . import _core


def _array(name: str, data) -> np.ndarray:
    data = data.detach().numpy() if isinstance(data, _core.Tensor) else np.asarray(data)
    if data.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold numbers, got dtype {data.dtype}")
    return data


def _like(given, result: np.ndarray):
    """A tensor where a tensor was given."""
    return _core.from_numpy(np.ascontiguousarray(result)) if isinstance(given, _core.Tensor) else result


class Standardize:
    """Scales columns to mean 0 and standard deviation 1: (x - mean) / std, by the statistics of the rows fit() saw.

    x: (N, ...) array or tensor, rows first; results are of the same kind, float64 for float64 and float32 otherwise.
    Statistics are computed in float64 over rows; nan counts as missing and stays. A constant column is centred only.
    """

    def __init__(self):
        self.mean = self.std = None

    def fit(self, x) -> Standardize:
        """Takes mean and std (both of shape x.shape[1:]) from x. ValueError for no rows, or numbers too large."""
        values = _array("x", x).astype(np.float64, copy=False)
        if values.ndim == 0 or len(values) == 0:
            raise ValueError(f"Standardize.fit needs at least one row, got shape {values.shape}")
        empty = np.isnan(values).all(axis=0)
        if empty.any():
            raise ValueError(f"Standardize.fit: column {np.argwhere(empty)[0].tolist()} has no value but nan")
        with np.errstate(over="ignore", invalid="ignore"):
            mean, std = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
        if not (np.isfinite(mean).all() and np.isfinite(std).all()):
            raise ValueError("Standardize.fit: numbers that are infinite, or too large to be squared")
        self.mean, self.std = mean, np.where(std > 1e-12 * np.abs(mean), std, 1.0)
        return self

    def transform(self, x):
        values = self._checked("transform", x)
        return _like(x, ((values - self.mean) / self.std).astype(_float_of(values)))

    def inverse(self, x):
        """What transform() made x of."""
        values = self._checked("inverse", x)
        return _like(x, (values * self.std + self.mean).astype(_float_of(values)))

    def state_dict(self) -> dict:
        """{"mean", "std"} as float64 tensors, for `tapegrad.save`."""
        if self.mean is None:
            raise ValueError("Standardize has nothing to save: call fit(x) first")
        return {name: _core.from_numpy(np.array(getattr(self, name))) for name in ("mean", "std")}

    def load_state_dict(self, state: dict) -> None:
        missing = {"mean", "std"} - set(state)
        if missing:
            raise ValueError(f"Standardize.load_state_dict: no {' and no '.join(sorted(missing))} in the state")
        mean, std = (np.array(_array(name, state[name]), dtype=np.float64) for name in ("mean", "std"))
        if mean.shape != std.shape or not (std > 0).all():
            raise ValueError(f"Standardize.load_state_dict: mean {mean.shape} and std {std.shape} (all > 0) do not fit")
        self.mean, self.std = mean, std

    def _checked(self, method: str, x) -> np.ndarray:
        if self.mean is None:
            raise ValueError(f"Standardize.{method} before fit(x) or load_state_dict(state)")
        values = _array("x", x)
        if values.shape[1:] != self.mean.shape:
            raise ValueError(f"Standardize.{method}: columns {values.shape[1:]}, but fit() saw {self.mean.shape}")
        return values


def _float_of(values: np.ndarray):
    return np.float64 if values.dtype == np.float64 else np.float32


class OneHot:
    """Codes for the columns of a table of categories: one column of 0 and 1 for each category seen by fit().

    x: (N,) or (N, columns) array of texts or numbers, or a tensor. `categories` holds the sorted categories by column.
    A category that fit() has not seen becomes zeros in all of its column's codes, or is an error with unknown="error".
    """

    def __init__(self, unknown: str = "zeros"):
        if unknown not in ("zeros", "error"):
            raise ValueError(f'unknown must be "zeros" or "error", got {unknown!r}')
        self.unknown = unknown
        self.categories: list[np.ndarray] | None = None

    def fit(self, x) -> OneHot:
        columns = _columns("fit", x)
        if len(columns[0]) == 0:
            raise ValueError("OneHot.fit needs at least one row")
        self.categories = [np.unique(column) for column in columns]
        return self

    @property
    def width(self) -> int:
        """The number of columns that transform() gives."""
        return sum(map(len, self.categories or []))

    def transform(self, x):
        """float32 (N, width); a tensor where x is one."""
        columns = self._checked("transform", _columns("transform", x))
        parts = []
        for i, (column, known) in enumerate(zip(columns, self.categories, strict=True)):
            hot = column[:, None] == known[None, :]
            if self.unknown == "error" and not (seen := hot.any(axis=1)).all():
                row = int(np.flatnonzero(~seen)[0])
                raise ValueError(f"OneHot.transform: {column[row].item()!r} in row {row}, column {i} was not in fit()")
            parts.append(hot)
        return _like(x, np.concatenate(parts, axis=1).astype(np.float32))

    def inverse(self, codes) -> np.ndarray:
        """The category with the largest code, by row and column: (N, columns)."""
        codes = _array("codes", codes)
        if self.categories is None or codes.ndim != 2 or codes.shape[1] != self.width:
            raise ValueError(f"OneHot.inverse: expected codes (N, {self.width}) after fit(x), got {codes.shape}")
        ends = np.cumsum([len(known) for known in self.categories])[:-1]
        parts = zip(np.split(codes, ends, axis=1), self.categories, strict=True)
        return np.stack([known[part.argmax(axis=1)] for part, known in parts], axis=1)

    def _checked(self, method: str, columns: list[np.ndarray]) -> list[np.ndarray]:
        if self.categories is None:
            raise ValueError(f"OneHot.{method} before fit(x)")
        if len(columns) != len(self.categories):
            raise ValueError(f"OneHot.{method}: {len(columns)} columns, but it was fitted to {len(self.categories)}")
        return columns


def _columns(method: str, x) -> list[np.ndarray]:
    values = x.detach().numpy() if isinstance(x, _core.Tensor) else np.asarray(x)
    if values.ndim not in (1, 2) or (values.ndim == 2 and values.shape[1] == 0):
        raise ValueError(f"OneHot.{method}: expected (N,) or (N, columns), got shape {values.shape}")
    return list(values.reshape(len(values), -1).T) if values.size else [values.reshape(-1)]


def train_test_split(*data, test_size: float | int = 0.25, shuffle: bool = True, stratify=None, generator=None) -> list:
    """Cuts arrays or tensors with equally many rows into training and test rows: [a_train, a_test, b_train, ...].

    test_size: a share between 0 and 1 (rounded up), or a number of rows. shuffle: whether rows are drawn, by
    `generator` or the default one, which follows `manual_seed`; else the last rows are for testing. stratify: labels
    (N,), each of which is then cut in the same proportion, as nearly as whole rows allow; each needs at least two rows.
    ValueError that names the sizes where they do not fit.
    """
    if not data:
        raise ValueError("train_test_split needs at least one array")
    sizes = [_length(part) for part in data]
    if len(set(sizes)) > 1:
        raise ValueError(f"train_test_split: the arrays have different numbers of rows: {', '.join(map(str, sizes))}")
    n = sizes[0]
    held_out = _test_count(test_size, n)
    if stratify is not None:
        if not shuffle:
            raise ValueError("train_test_split: stratify draws rows, so it needs shuffle=True")
        train, test = _stratified(stratify, n, held_out, generator)
    else:
        order = _core.randperm(n, generator=generator).numpy() if shuffle else np.arange(n)
        train, test = order[: n - held_out], order[n - held_out :]
    return [_take(part, rows) for part in data for rows in (train, test)]


def _length(part) -> int:
    if not getattr(part, "shape", ()):
        raise TypeError(f"train_test_split takes arrays and tensors with rows, got {type(part).__name__}")
    return part.shape[0]


def _take(part, rows: np.ndarray):
    return part[_core.from_numpy(np.ascontiguousarray(rows))] if isinstance(part, _core.Tensor) else part[rows]


def _test_count(test_size, n: int) -> int:
    whole = isinstance(test_size, (int, np.integer)) and not isinstance(test_size, bool)
    count = int(test_size) if whole else math.ceil(test_size * n - 1e-9)
    if not 0 < count < n or (not whole and not 0 < test_size < 1):
        raise ValueError(f"train_test_split: test_size={test_size} of {n} rows leaves none to train or to test on")
    return count


def _stratified(labels, n: int, held_out: int, generator):
    labels = labels.detach().numpy() if isinstance(labels, _core.Tensor) else np.asarray(labels)
    if labels.shape != (n,):
        raise ValueError(f"train_test_split: stratify must be {n} labels, got shape {labels.shape}")
    classes, which, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if counts.min() < 2:
        raise ValueError(
            f"train_test_split: only one row is labelled {classes[counts.argmin()].item()!r}; "
            "stratify needs two of each, one to train and one to test"
        )
    if min(held_out, n - held_out) < len(classes):
        raise ValueError(
            f"train_test_split: {len(classes)} classes do not fit into {held_out} test and {n - held_out} training rows"
        )
    # Each class gets the whole part of its share; the rows left over go to the largest remainders.
    share = counts * held_out / n
    take = np.clip(np.floor(share).astype(int), 1, counts - 1)
    for step in (1, -1):
        while step * (held_out - take.sum()) > 0:
            room = (take < counts - 1) if step > 0 else (take > 1)
            take[np.argmax(np.where(room, step * (share - take), -np.inf))] += step
    order = _core.randperm(n, generator=generator).numpy()
    place = np.empty(n, dtype=int)  # of each row of the order among its class
    for c in range(len(classes)):
        mine = which[order] == c
        place[mine] = np.arange(counts[c])
    test = place < take[which[order]]
    return order[~test], order[test]
