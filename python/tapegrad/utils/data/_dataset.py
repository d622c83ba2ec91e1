"""Data sets: anything with `__getitem__` and `__len__`, streams, tensors, and what is made of other data sets."""

import math
import warnings
from itertools import accumulate

from ... import _core
from ._sampler import own


class Dataset:
    """Base class of map-style data sets: subclasses define `__getitem__(i)` -> sample and `__len__`.

    A subclass may also define `__getitems__(indices)` -> list of samples, which DataLoader then calls once for a batch.
    """

    # Those of this module also define `_batch(index)`: the rows that a slice, an int64 tensor or a list of ints
    # selects, collated.

    def __getitem__(self, index):
        raise NotImplementedError(f"{type(self).__name__} does not define __getitem__")

    def __add__(self, other):
        return ConcatDataset([self, other])


class IterableDataset(Dataset):
    """Base class of streams: subclasses define `__iter__`, which gives samples one after another."""

    def __iter__(self):
        raise NotImplementedError(f"{type(self).__name__} does not define __iter__")

    def __add__(self, other):
        return ChainDataset([self, other])


def batch_reader(dataset):
    """The `_batch` of a data set, or None if it has none or a subclass has redefined what a sample is.

    Asked for once per pass: Subset makes its index tensor at that moment.
    """
    return own(dataset, "_batch", "__getitem__", "__getitems__")


def read_samples(dataset, indices):
    """The samples at a list of indices, asked for at once where the data set can do that."""
    many = own(dataset, "__getitems__", "__getitem__")
    return many(indices) if callable(many) else [dataset[i] for i in indices]


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


class StackDataset(Dataset):
    """Sample i joins the samples i of several data sets: a tuple of them, or a dictionary if they are given by name.

    ValueError where none is given, both ways are mixed, or the lengths differ.
    """

    def __init__(self, *args, **kwargs):
        if bool(args) == bool(kwargs):
            how = "got both" if args else "got none"
            raise ValueError(f"StackDataset takes data sets in a row or by name, {how}")
        self.datasets = args or kwargs
        lengths = {name: len(dataset) for name, dataset in self._named()}
        if len(set(lengths.values())) > 1:
            sizes = ", ".join(f"{name}: {length}" for name, length in lengths.items())
            raise ValueError(f"Size mismatch between datasets: their lengths are {sizes}")

    def _named(self):
        return list(self.datasets.items() if isinstance(self.datasets, dict) else enumerate(self.datasets))

    def _join(self, members):
        return dict(members) if isinstance(self.datasets, dict) else tuple(member for _, member in members)

    def __getitem__(self, index):
        return self._join([(name, dataset[index]) for name, dataset in self._named()])

    def __getitems__(self, indices):
        members = [(name, read_samples(dataset, indices)) for name, dataset in self._named()]
        for name, samples in members:
            if len(samples) != len(indices):
                raise ValueError(f"__getitems__ of dataset {name} gave {len(samples)} samples for {len(indices)}")
        return [self._join([(name, samples[i]) for name, samples in members]) for i in range(len(indices))]

    @property
    def _batch(self):
        readers = [(name, batch_reader(dataset)) for name, dataset in self._named()]
        if any(read is None for _, read in readers):
            return None

        def read_all(index):
            batch = self._join([(name, read(index)) for name, read in readers])
            return list(batch) if isinstance(batch, tuple) else batch

        return read_all

    def __len__(self):
        return len(self._named()[0][1])


class ConcatDataset(Dataset):
    """The samples of several map-style data sets, one set after another."""

    def __init__(self, datasets):
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset needs at least one data set")
        for i, dataset in enumerate(self.datasets):
            if isinstance(dataset, IterableDataset):
                raise TypeError(f"ConcatDataset: data set {i} is an IterableDataset; chain those with ChainDataset")
        self.cumulative_sizes = list(accumulate(len(dataset) for dataset in self.datasets))

    def __getitem__(self, index):
        n = len(self)
        if not -n <= index < n:
            raise IndexError(f"index {index} is out of range for a ConcatDataset of {n} samples")
        from bisect import bisect_right

        index %= n
        which = bisect_right(self.cumulative_sizes, index)
        return self.datasets[which][index - (self.cumulative_sizes[which - 1] if which else 0)]

    def __len__(self):
        return self.cumulative_sizes[-1]


class ChainDataset(IterableDataset):
    """The samples of several IterableDatasets, one stream after another. TypeError for data sets of another kind."""

    def __init__(self, datasets):
        self.datasets = datasets

    def _checked(self):
        for i, dataset in enumerate(self.datasets):
            if not isinstance(dataset, IterableDataset):
                raise TypeError(
                    f"ChainDataset: data set {i} is a {type(dataset).__name__}, not an IterableDataset; "
                    "join map-style data sets with ConcatDataset"
                )
            yield dataset

    def __iter__(self):
        for dataset in self._checked():
            yield from dataset

    def __len__(self):
        return sum(len(dataset) for dataset in self._checked())


class Subset(Dataset):
    """The samples of `dataset` at `indices` (a sequence of ints), in that order."""

    def __init__(self, dataset, indices):
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index):
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices):
        return read_samples(self.dataset, [self.indices[i] for i in indices])

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
    if math.isclose(sum(lengths), 1):
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
        raise ValueError(
            f"Sum of input lengths {list(lengths)} does not equal the length of the input dataset, {size}, "
            "nor do they sum to 1 as fractions"
        )
    order = _core.randperm(size, generator=generator).tolist()
    ends = accumulate(lengths)
    return [Subset(dataset, order[end - length : end]) for end, length in zip(ends, lengths, strict=True)]
