"""Collating: a list of samples becomes a batch."""

from collections.abc import Mapping, MutableMapping, MutableSequence, Sequence

import numpy as np

from ... import _core


def default_collate(batch):
    """Put a list of samples together into a batch with a new first dimension.

    Tensors and NumPy arrays are stacked, numbers become tensors (float64, int64, bool), strings and bytes stay a list;
    in mappings, tuples and lists the members are collated (a tuple becomes a list). ValueError or TypeError, with the
    place in the sample, for what does not fit together.
    """
    return _collate(batch, "")


def default_convert(data):
    """A single sample with its NumPy arrays and numbers as tensors, in mappings, tuples and lists too."""
    if isinstance(data, (np.ndarray, np.generic)) and data.dtype.kind not in "SUO":
        return _core.from_numpy(np.asarray(data))
    if isinstance(data, Mapping):
        return _rebuilt(data, {key: default_convert(value) for key, value in data.items()})
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _rebuilt(data, [default_convert(member) for member in data])
    return data


def _collate(batch, place):
    first = batch[0]
    if isinstance(first, _core.Tensor):
        _check_shapes(batch, place)
        return _core.stack(list(batch))
    if isinstance(first, (np.ndarray, np.generic)) and first.dtype.kind not in "SUO":
        _check_shapes(batch, place)
        return _core.from_numpy(np.stack(batch))
    if isinstance(first, (bool, int, float)):
        return _core.tensor(list(batch), dtype=_core.float64 if isinstance(first, float) else None)
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        for i, sample in enumerate(batch):
            if missing := [key for key in first if key not in sample]:
                raise ValueError(f"default_collate: sample {i}{place} has no key {missing[0]!r}, as sample 0 has")
        return _rebuilt(first, {key: _collate([sample[key] for sample in batch], f"{place}[{key!r}]") for key in first})
    if isinstance(first, Sequence):
        for i, sample in enumerate(batch):
            if len(sample) != len(first):
                raise ValueError(
                    "default_collate: the samples of a batch should have equally many members, but sample 0"
                    f"{place} has {len(first)} and sample {i}{place} has {len(sample)}; pad them in a collate_fn"
                )
        members = list(zip(*batch, strict=True))
        return _rebuilt(first, [_collate(member, f"{place}[{i}]") for i, member in enumerate(members)])
    raise TypeError(
        "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; "
        f"found {type(first).__name__}{place and f' at sample{place}'}"
    )


def _check_shapes(batch, place):
    for i, sample in enumerate(batch):
        if not hasattr(sample, "shape") or sample.shape != batch[0].shape:
            shape = tuple(sample.shape) if hasattr(sample, "shape") else type(sample).__name__
            raise ValueError(
                f"default_collate: samples of one shape expected, but sample 0{place} has {tuple(batch[0].shape)} and "
                f"sample {i}{place} has {shape}; pad or crop them in the data set or in a collate_fn"
            )


def _rebuilt(like, members):
    """The members in a container like the given one, as PyTorch picks it: mutable ones are copied and refilled."""
    if isinstance(like, tuple):
        return type(like)(*members) if hasattr(like, "_fields") else members
    from copy import copy

    try:
        if isinstance(like, MutableMapping):
            result = copy(like)
            result.update(members)
            return result
        if isinstance(like, MutableSequence):
            result = copy(like)
            for i, member in enumerate(members):
                result[i] = member
            return result
        return type(like)(members)
    except TypeError:  # it cannot be made or filled this way
        return members
