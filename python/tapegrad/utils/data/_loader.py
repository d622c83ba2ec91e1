"""DataLoader: shuffles, cuts into batches and collates."""

from collections.abc import Mapping
from itertools import islice

import numpy as np

from ... import _core
from ._dataset import Subset, TensorDataset, batch_reader


def _draw_seed(generator=None):
    """A seed that takes as much from the stream as PyTorch's does and has the same low 32 bits; no others count."""
    return int(_core.randint(0, 2**62, (), generator=generator))


class SequentialSampler:
    """The indices of a data set in order."""

    def __init__(self, data_source):
        self.data_source = data_source

    def __iter__(self):
        return iter(range(len(self.data_source)))

    def __len__(self):
        return len(self.data_source)


class RandomSampler:
    """The indices of a data set in random order, without replacement, anew in every pass.

    generator: draws the permutation. If None, each pass seeds one of its own from the default generator, as PyTorch
    does, so that the same `manual_seed` gives the same order.
    """

    def __init__(self, data_source, generator=None):
        self.data_source = data_source
        self.generator = generator

    def permutation(self):
        """The order of the next pass: int64 tensor (n,)."""
        generator = self.generator
        if generator is None:
            generator = _core.Generator().manual_seed(_draw_seed())
        return _core.randperm(len(self.data_source), generator=generator)

    def finish(self):
        """What PyTorch draws at the end of a pass; the next pass with the same generator starts behind it."""
        if self.generator is not None:
            self.permutation()

    def __iter__(self):
        yield from self.permutation().tolist()
        self.finish()

    def __len__(self):
        return len(self.data_source)


class DataLoader:
    """Iterates over batches of a map-style data set, in this process.

    dataset: has `__getitem__` and `__len__`. batch_size: rows per batch; None gives single samples.
    shuffle: a new random order in every pass, PyTorch's for the same seed. sampler: iterable of indices, instead of
    shuffle. batch_sampler: iterable of lists of indices, instead of the four before. drop_last: leave out a last batch
    that is not full. generator: draws the order. collate_fn: list of samples -> batch, `default_collate` if None;
    rows of a TensorDataset are then gathered at once. num_workers: 0 only; pin_memory has no effect.
    ValueError for arguments that exclude each other.
    """

    def __init__(
        self,
        dataset,
        batch_size=1,
        shuffle=None,
        sampler=None,
        batch_sampler=None,
        num_workers=0,
        collate_fn=None,
        pin_memory=False,
        drop_last=False,
        *,
        generator=None,
    ):
        if num_workers != 0:
            raise ValueError(f"num_workers={num_workers}: data are loaded in this process; use num_workers=0")
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
                )
            batch_size = None
        elif batch_size is None:
            if drop_last:
                raise ValueError("batch_size=None disables batches and is mutually exclusive with drop_last")
        elif not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size <= 0:
            raise ValueError(f"batch_size should be a positive integer value, but got batch_size={batch_size}")
        if shuffle and len(dataset) == 0:
            raise ValueError("shuffle=True needs a data set with at least one sample")
        self.dataset = dataset
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.generator = generator
        self.batch_sampler = batch_sampler
        self.num_workers = 0
        self.pin_memory = pin_memory
        if collate_fn is None:
            collate_fn = _convert if batch_size is None and batch_sampler is None else default_collate
        self.collate_fn = collate_fn
        if sampler is None:
            sampler = RandomSampler(dataset, generator) if shuffle else SequentialSampler(dataset)
        self.sampler = sampler

    def __len__(self):
        if self.batch_sampler is not None:
            return len(self.batch_sampler)
        n = len(self.sampler)
        if self.batch_size is None:
            return n
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self):
        # PyTorch draws a seed for its workers here, also when there are none; without it the streams would part.
        _draw_seed(self.generator)
        return self._batches()

    def _batches(self):
        if self.batch_size is None and self.batch_sampler is None:
            yield from (self.collate_fn(self.dataset[i]) for i in self.sampler)
            return
        read = batch_reader(self.dataset) if self.collate_fn is default_collate else None
        for index in self._indices():
            yield read(index) if read else self._collate(index)

    def _collate(self, index):
        if isinstance(index, slice):
            index = range(index.start, index.stop)
        elif isinstance(index, _core.Tensor):
            index = index.tolist()
        return self.collate_fn([self.dataset[i] for i in index])

    def _indices(self):
        """The rows of each batch: a slice, an int64 tensor or a list of ints."""
        if self.batch_sampler is not None:
            yield from map(list, self.batch_sampler)
            return
        size, sampler = self.batch_size, self.sampler
        if type(sampler) not in (SequentialSampler, RandomSampler):
            indices = iter(sampler)
            while (rows := list(islice(indices, size))) and not (self.drop_last and len(rows) < size):
                yield rows
            return
        n, shuffled = len(sampler), type(sampler) is RandomSampler
        order = sampler.permutation() if shuffled else None
        full = n - n % size
        for start in range(0, full, size):
            rows = slice(start, start + size)
            yield order[rows] if shuffled else rows
        if shuffled:
            sampler.finish()
        if full < n and not self.drop_last:
            yield order[full:] if shuffled else slice(full, n)


class Rows:
    """A pass over rows of tensors, for who makes the batches of a DataLoader himself, with the same random numbers.

    Between start() and finish() the batches [0, full) are due, then those up to `end`. `order` holds the row numbers,
    None for rows as they lie.
    """

    def __init__(self, loader, dataset, positions):
        self._loader = loader
        self._dataset = dataset
        self._positions = positions
        self.tensors = dataset.tensors
        self.size = loader.batch_size
        n = len(loader.sampler)
        self.full = n - n % self.size
        self.end = self.full if loader.drop_last else n
        self.order = None

    def start(self):
        _draw_seed(self._loader.generator)
        self.order = self._positions
        if type(self._loader.sampler) is RandomSampler:
            order = self._loader.sampler.permutation()
            self.order = order if self._positions is None else self._positions[order]

    def finish(self):
        if type(self._loader.sampler) is RandomSampler:
            self._loader.sampler.finish()

    def read(self, start, stop):
        return self._dataset._batch(slice(start, stop) if self.order is None else self.order[start:stop])


def rows_of(loader):
    """The Rows of a DataLoader over a TensorDataset, or a Subset of one; None where its batches are something else."""
    if type(loader) is not DataLoader or loader.collate_fn is not default_collate or loader.batch_size is None:
        return None
    sampler, dataset, positions = loader.sampler, loader.dataset, None
    if type(sampler) not in (SequentialSampler, RandomSampler) or sampler.data_source is not dataset:
        return None
    while type(dataset) is Subset:
        indices = _core.tensor(list(dataset.indices), dtype=_core.int64)
        positions = indices if positions is None else indices[positions]
        dataset = dataset.dataset
    if type(dataset) is not TensorDataset or any(t.requires_grad or not t.is_contiguous() for t in dataset.tensors):
        return None
    if positions is not None and len(positions) and positions.min().item() < 0:
        return None
    return Rows(loader, dataset, positions)


def default_collate(batch):
    """Put a list of samples together into a batch with a new first dimension.

    Tensors and NumPy arrays are stacked, numbers become tensors (float64, int64, bool), strings stay a list; in
    mappings, tuples and lists the members are collated. ValueError or TypeError for what does not fit together.
    """
    first = batch[0]
    if isinstance(first, _core.Tensor):
        return _core.stack(list(batch))
    if isinstance(first, (np.ndarray, np.generic)):
        return _core.from_numpy(np.stack(batch))
    if isinstance(first, (bool, int, float)):
        return _core.tensor(list(batch), dtype=_core.float64 if isinstance(first, float) else None)
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return {key: default_collate([sample[key] for sample in batch]) for key in first}
    if isinstance(first, (tuple, list)):
        if any(len(sample) != len(first) for sample in batch):
            raise ValueError("default_collate: the samples of a batch should have equally many members")
        members = [default_collate(member) for member in zip(*batch, strict=True)]
        return type(first)(*members) if hasattr(first, "_fields") else members
    raise TypeError(
        "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; "
        f"found {type(first).__name__}"
    )


def _convert(sample):
    """A single sample with its NumPy arrays as tensors."""
    if isinstance(sample, np.ndarray):
        return _core.from_numpy(sample)
    if isinstance(sample, Mapping):
        return {key: _convert(value) for key, value in sample.items()}
    if isinstance(sample, (tuple, list)):
        members = [_convert(member) for member in sample]
        return type(sample)(*members) if hasattr(sample, "_fields") else type(sample)(members)
    return sample
