"""Rows: a pass over rows of tensors in memory, for who makes the batches of a DataLoader himself."""

from ... import _core
from ._collate import default_collate
from ._dataset import Subset, TensorDataset
from ._loader import DataLoader
from ._sampler import BatchSampler, RandomSampler, SequentialSampler


class Rows:
    """A pass with the random numbers and the position of one over the loader.

    Between start(), which tells from which row on, and finish() the batches up to row `full` are due, then that up to
    `end`; reached() is told how far they are. `order` holds the row numbers, None for rows as they lie; `positions`
    those of the data set in its own order.
    """

    def __init__(self, loader, dataset, positions):
        self._loader = loader
        self._dataset = dataset
        self.positions = positions
        self.tensors = dataset.tensors
        self.size = loader.batch_size
        n = len(loader.sampler)
        self.full = n - n % self.size
        self.end = self.full if loader.drop_last else n
        self.order = None

    def start(self):
        def replay(position):
            chunks = 0 if position.drawn == 0 else 1 + (position.drawn * self.size > self.full or position.ended)
            return chunks, chunks

        self._position = position = self._loader._begin(self._loader.sampler._chunks, replay)
        batches = position.yielded
        order = next(position)
        position.drawn = position.yielded = batches
        self.order = self.positions
        if not isinstance(order, range):
            self.order = order if self.positions is None else self.positions[order]
        return min(batches * self.size, self.end)

    def reached(self, row):
        self._position.drawn = self._position.yielded = -(-row // self.size)

    def finish(self):
        """Draws what a pass over the loader draws before its last batch."""
        drawn = self._position.drawn
        for _ in self._position:
            pass
        self._position.drawn = drawn

    def close(self):
        self._position.done = True

    def read(self, start, stop):
        return self._dataset._batch(slice(start, stop) if self.order is None else self.order[start:stop])


def rows_of(loader):
    """The Rows of a DataLoader over a TensorDataset, or a Subset of one; None where its batches are something else."""
    if type(loader) is not DataLoader or loader.collate_fn is not default_collate or loader.batch_size is None:
        return None
    if type(loader.batch_sampler) is not BatchSampler or not _draws_at_once(loader.sampler, loader.dataset):
        return None
    dataset, positions = loader.dataset, None
    while type(dataset) is Subset:
        indices = _core.tensor(list(dataset.indices), dtype=_core.int64)
        positions = indices if positions is None else indices[positions]
        dataset = dataset.dataset
    if type(dataset) is not TensorDataset or any(t.requires_grad or not t.is_contiguous() for t in dataset.tensors):
        return None
    if positions is not None and len(positions) and positions.min().item() < 0:
        return None
    return Rows(loader, dataset, positions)


def _draws_at_once(sampler, dataset):
    """Whether the sampler's first chunk is its whole pass, and each index one of the data set's."""
    if type(sampler) is RandomSampler and (sampler.replacement or sampler.num_samples != len(dataset)):
        return False
    return type(sampler) in (SequentialSampler, RandomSampler) and sampler.data_source is dataset
