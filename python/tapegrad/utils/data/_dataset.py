"""Data sets: anything with `__getitem__` and `__len__`, tensors, and parts of others."""

import math
import warnings
from itertools import accumulate

from ... import _core


class Dataset:
    """Base class of map-style data sets: subclasses define `__getitem__(i)` -> sample and `__len__`.

    A subclass may also define `_batch(index)`: the rows that a slice, an int64 tensor or a list of ints selects, as a
    list of tensors; DataLoader then takes a batch at once instead of collating samples.
    """

    def __getitem__(self, index):
        raise NotImplementedError(f"{type(self).__name__} does not define __getitem__")


def batch_reader(dataset):
    """The `_batch` of a data set, or None if it has none or a subclass has redefined what a sample is.

    Asked for once per pass: Subset makes its index tensor at that moment.
    """
    for cls in type(dataset).__mro__:
        if "_batch" in cls.__dict__:
            return dataset._batch
        if "__getitem__" in cls.__dict__:
            return None
    return None


class TensorDataset(Dataset):
    """Samples are rows: sample i is (tensors[0][i], tensors[1][i], ...).

    tensors: one or more with equal size of dimension 0. TypeError for what is no tensor, ValueError where sizes differ.
    """

    def __init__(self, *tensors):
        if not tensors:
            raise ValueError("TensorDataset needs at least one tensor")
        for tensor in tensors:
            if not isinstance(tensor, _core.Tensor):
                raise TypeError(f"TensorDataset needs tensors, got {type(tensor).__name__}; see tapegrad.tensor")
            if tensor.dim() == 0:
                raise ValueError("TensorDataset needs tensors with at least one dimension, got a 0-d tensor")
        sizes = [tensor.shape[0] for tensor in tensors]
        if len(set(sizes)) > 1:
            raise ValueError(f"Size mismatch between tensors: dimension 0 has sizes {', '.join(map(str, sizes))}")
        self.tensors = tensors

    def __getitem__(self, index):
        return tuple(tensor[index] for tensor in self.tensors)

    def _batch(self, index):
        if isinstance(index, slice):  # cloned, or in-place work on a batch would change the data set
            return [tensor[index].clone() for tensor in self.tensors]
        return [tensor[index] for tensor in self.tensors]

    def __len__(self):
        return self.tensors[0].shape[0]


class Subset(Dataset):
    """The samples of `dataset` at `indices` (a sequence of ints), in that order."""

    def __init__(self, dataset, indices):
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index):
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    @property
    def _batch(self):
        read = batch_reader(self.dataset)
        if read is None:
            return None
        positions = _core.tensor(list(self.indices), dtype=_core.int64)
        return lambda index: read(positions[index])

    def __len__(self):
        return len(self.indices)


def random_split(dataset, lengths, generator=None):
    """Split into Subsets of the given sizes, drawn by one random permutation (PyTorch's, for the same seed).

    lengths: sizes that sum to len(dataset), or fractions that sum to 1; what rounding down leaves over is dealt out
    one by one from the first. ValueError where they do not sum up.
    """
    size = len(dataset)
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        for i, fraction in enumerate(lengths):
            if not 0 <= fraction <= 1:
                raise ValueError(f"Fraction at index {i} is not between 0 and 1: {fraction}")
        lengths = [math.floor(size * fraction) for fraction in lengths]
        for i in range(size - sum(lengths)):
            lengths[i % len(lengths)] += 1
        for i, length in enumerate(lengths):
            if length == 0:
                warnings.warn(f"Length of split at index {i} is 0.", stacklevel=2)
    if sum(lengths) != size or any(length < 0 for length in lengths):
        raise ValueError(f"Sum of input lengths {list(lengths)} does not equal the length of the input dataset, {size}")
    order = _core.randperm(size, generator=generator).tolist()
    ends = accumulate(lengths)
    return [Subset(dataset, order[end - length : end]) for end, length in zip(ends, lengths, strict=True)]
