"""Samplers: the order in which a DataLoader asks for samples, drawn as PyTorch draws it."""

from itertools import islice

import numpy as np

from ... import _core


def draw_seed(generator=None):
    """A seed that takes as much from the stream as PyTorch's does and has the same low 32 bits; no others count."""
    return int(_core.randint(0, 2**62, (), generator=generator))


def own(thing, name, *rests_on):
    """The method `name` of an object, or None if it has none or a subclass has redefined a method that it rests on."""
    for cls in type(thing).__mro__:
        if name in cls.__dict__:
            return getattr(thing, name)
        if any(method in cls.__dict__ for method in rests_on):
            return None
    return None


def check_count(name, value):
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ValueError(f"{name} should be a positive integer value, but got {name}={value}")


def check_flag(name, value):
    if not isinstance(value, bool):
        raise TypeError(f"{name} should be a boolean value, but got {name}={value}")


class Sampler:
    """Base class of samplers: subclasses define `__iter__`, which gives indices (or lists of them), and `__len__`.

    Those of this module also define `_chunks()`: the same indices as int64 tensors (or a range), each drawn only when
    an index of it is asked for.
    """

    def __iter__(self):
        raise NotImplementedError(f"{type(self).__name__} does not define __iter__")


class SequentialSampler(Sampler):
    """The indices of a data set in order."""

    def __init__(self, data_source):
        self.data_source = data_source

    def __iter__(self):
        return iter(range(len(self)))

    def _chunks(self):
        yield range(len(self))

    def __len__(self):
        return len(self.data_source)


class RandomSampler(Sampler):
    """The indices of a data set in random order, anew in every pass.

    replacement: draws every index from all. num_samples: how many, len(data_source) if None; without replacement, one
    permutation after another. generator: draws them. If None, each pass seeds one of its own from the default
    generator, as PyTorch does, so that the same `manual_seed` gives the same order.
    """

    def __init__(self, data_source, replacement=False, num_samples=None, generator=None):
        check_flag("replacement", replacement)
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        check_count("num_samples", self.num_samples)

    @property
    def num_samples(self):
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self):
        for chunk in self._chunks():
            yield from chunk.tolist()

    def _chunks(self):
        n, samples, generator = len(self.data_source), self.num_samples, self.generator
        if generator is None:
            generator = _core.Generator().manual_seed(draw_seed())
        if self.replacement:
            for start in range(0, samples, 32):
                yield _core.randint(0, n, (min(32, samples - start),), generator=generator)
            return
        for _ in range(samples // n):
            yield _core.randperm(n, generator=generator)
        yield _core.randperm(n, generator=generator)[: samples % n]  # drawn, as PyTorch does, even if none is taken

    def __len__(self):
        return self.num_samples


class SubsetRandomSampler(Sampler):
    """The given indices (a sequence) in random order, drawn anew in every pass by `generator` or the default one."""

    def __init__(self, indices, generator=None):
        self.indices = indices
        self.generator = generator

    def __iter__(self):
        for i in _core.randperm(len(self.indices), generator=self.generator).tolist():
            yield self.indices[i]

    def _chunks(self):
        indices = _core.tensor(np.asarray(self.indices, dtype=np.int64))
        yield indices[_core.randperm(len(indices), generator=self.generator)]

    def __len__(self):
        return len(self.indices)


class WeightedRandomSampler(Sampler):
    """num_samples indices from 0 .. len(weights) - 1, each drawn with a probability proportional to its weight.

    weights: a sequence of finite numbers >= 0, of any sum. replacement: whether an index may come again; without, at
    most as many as there are weights above 0. ValueError for weights or counts that cannot be drawn from.
    """

    def __init__(self, weights, num_samples, replacement=True, generator=None):
        check_count("num_samples", num_samples)
        check_flag("replacement", replacement)
        weights = np.array(weights, dtype=np.float64)
        if weights.ndim != 1:
            raise ValueError(f"weights should be a 1d sequence but given weights have shape {weights.shape}")
        wrong = np.flatnonzero(~((weights >= 0) & np.isfinite(weights)))
        if len(wrong):
            raise ValueError(f"weights must be finite and >= 0, but weights[{wrong[0]}] is {weights[wrong[0]]}")
        positive = np.count_nonzero(weights)
        if positive == 0:
            raise ValueError(f"weights must not all be 0, got {len(weights)} of them")
        if not replacement and num_samples > positive:
            raise ValueError(
                f"cannot draw num_samples={num_samples} without replacement: only {positive} weights are above 0"
            )
        self.weights = _core.from_numpy(weights)
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self):
        for chunk in self._chunks():
            yield from chunk.tolist()

    def _chunks(self):
        weights = self.weights.numpy()
        with_replacement = self.replacement and self.num_samples > 1
        drawn = self.num_samples if with_replacement else len(weights)
        uniform = _core.rand(drawn, dtype=_core.float64, generator=self.generator).numpy()
        if with_replacement:  # the cumulative sums inverted
            sums = np.cumsum(weights)
            sums /= sums[-1]
            sums[-1] = 1
            indices = np.searchsorted(sums, uniform)
        else:  # the largest of weight / exponential (Efraimidis and Spirakis 2006)
            with np.errstate(divide="ignore", invalid="ignore"):
                keys = np.where(weights > 0, weights / -np.log1p(-uniform), -1)
            indices = np.argsort(-keys, kind="stable")[: self.num_samples]
        yield _core.from_numpy(indices)

    def __len__(self):
        return self.num_samples


class BatchSampler(Sampler):
    """Lists of batch_size indices from another sampler (any iterable); drop_last leaves out a last, shorter one."""

    def __init__(self, sampler, batch_size, drop_last):
        check_count("batch_size", batch_size)
        check_flag("drop_last", drop_last)
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self):
        indices = iter(self.sampler)
        while batch := list(islice(indices, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def _batches(self):
        """The same batches as int64 tensors or slices where the sampler has chunks, drawn at the same moments."""
        chunks = own(self.sampler, "_chunks", "__iter__")
        return iter(self) if chunks is None else _cut(chunks(), self.batch_size, self.drop_last)

    def __len__(self):
        n = len(self.sampler)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


def _cut(chunks, size, drop_last):
    parts, missing = [], size  # of the batch that the next chunk goes on with
    for chunk in chunks:
        at = 0
        while len(chunk) - at >= missing:
            parts.append(_piece(chunk, at, at + missing))
            at += missing
            yield parts[0] if len(parts) == 1 else _core.cat(parts)
            parts, missing = [], size
        if at < len(chunk):
            parts.append(_piece(chunk, at, len(chunk)))
            missing -= len(chunk) - at
    if parts and not drop_last:
        yield parts[0] if len(parts) == 1 else _core.cat(parts)


def _piece(chunk, start, stop):
    return slice(start, stop) if isinstance(chunk, range) else chunk[start:stop]
