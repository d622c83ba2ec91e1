"""What fit(), evaluate() and predict() take for data, as batches."""

from __future__ import annotations

import math

import numpy as np

from .. import _core
from ..utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, random_split
from ..utils.data._rows import rows_of
from .losses import takes_classes

NAMES = ("X", "y", "sample_weight")


def check_count(name: str, value, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


def dataset_of(name: str, data, model, loss):
    """A pair (X, y) or a triple (X, y, sample_weight) of tensors or arrays as a TensorDataset; others as they are."""
    if isinstance(data, (tuple, list)) and len(data) in (2, 3) and all(hasattr(part, "shape") for part in data):
        return TensorDataset(*_tensors(name, data, model, loss))
    if isinstance(data, tuple):
        got = ", ".join(type(part).__name__ for part in data)
        raise TypeError(
            f"{name} must be a pair (X, y), or (X, y, sample_weight), of tensors or arrays (np.asarray makes one of a "
            f"list), got a tuple of {got or 'nothing'}"
        )
    return data


def batches_of(name: str, data, batch_size: int, shuffle: bool, once: bool = False):
    """Something that yields batches: each time it is iterated or, where they are needed once, perhaps only then."""
    check_count("batch_size", batch_size, least=1)
    if isinstance(data, IterableDataset):
        return DataLoader(data, batch_size=int(batch_size))
    if isinstance(data, Dataset):
        if len(data) == 0:
            raise ValueError(f"{name} has no samples")
        return DataLoader(data, batch_size=int(batch_size), shuffle=shuffle)
    if not hasattr(data, "__iter__") or hasattr(data, "shape") or isinstance(data, (str, bytes, dict)):
        raise TypeError(f"{name} must be a DataLoader, a Dataset or a pair (X, y), got {type(data).__name__}")
    if hasattr(data, "__next__") and not once:
        raise TypeError(f"{name} is an iterator, which can be read only once; pass a DataLoader or a list of batches")
    return data


def split_off(data, share: float):
    """(training, validation) parts of a data set; `share` is that of validation, rounded up to whole samples, which the
    default generator draws.
    """
    if not isinstance(data, Dataset) or isinstance(data, IterableDataset):
        raise TypeError(
            f"validation={share} takes a share of a Dataset or of a pair (X, y), and train is a {type(data).__name__}; "
            "cut it with random_split and pass both parts"
        )
    count = math.ceil(share * len(data) - 1e-9) if 0 < share < 1 else 0
    if not 0 < count < len(data):
        raise ValueError(f"validation={share} of {len(data)} samples leaves none to train or to validate on")
    return random_split(data, [len(data) - count, count])


def targets_of(batches) -> _core.Tensor | None:
    """The targets of all samples, where they are rows of a tensor in memory."""
    rows = rows_of(batches)
    if rows is None or len(rows.tensors) < 2:
        return None
    return rows.tensors[1] if rows.positions is None else rows.tensors[1][rows.positions]


def dtype_of(model) -> np.dtype:
    return next((np.dtype(str(p.dtype).rpartition(".")[2]) for p in model.parameters()), np.dtype(np.float32))


def _tensors(name: str, data, model, loss) -> list[_core.Tensor]:
    """The parts as tensors; arrays are converted to what the model's parameters and the loss need."""
    dtype = dtype_of(model)
    parts = []
    for part, array in zip(NAMES, data, strict=False):
        if not isinstance(array, _core.Tensor):
            array = np.asarray(array)
            classes = part == "y" and array.dtype.kind != "f" and takes_classes(loss)
            array = as_tensor(f"{name} {part}", array, np.dtype(np.int64) if classes else dtype)
        elif part == "sample_weight":
            array = array.to(getattr(_core, dtype.name))
        parts.append(array)
    x, y, *weight = parts
    if x.ndim == 0 or y.ndim == 0 or x.shape[0] != y.shape[0]:
        raise ValueError(f"{name}: X {tuple(x.shape)} and y {tuple(y.shape)} must have as many samples as each other")
    for w in weight:
        if tuple(w.shape) != (x.shape[0],):
            raise ValueError(f"{name}: sample_weight must have shape ({x.shape[0]},), got {tuple(w.shape)}")
        if not bool((w.isfinite() & (w >= 0)).all()):
            raise ValueError(f"{name}: sample_weight must be finite numbers of at least 0")
    return parts


def as_tensor(name: str, array: np.ndarray, dtype: np.dtype) -> _core.Tensor:
    """The array as a tensor of that dtype, sharing memory where it can."""
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be an array of numbers, got dtype {array.dtype}")
    array = np.ascontiguousarray(array, dtype=dtype)
    return _core.from_numpy(array if array.flags.writeable else array.copy())
