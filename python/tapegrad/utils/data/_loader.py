"""DataLoader: asks a sampler for indices, reads the samples and hands out batches."""

import warnings
from collections import deque
from itertools import islice

from ... import _core
from ._collate import default_collate, default_convert
from ._dataset import IterableDataset, batch_reader, read_samples
from ._position import Position, pack, unpack
from ._sampler import BatchSampler, RandomSampler, SequentialSampler, check_count, own

# What the order of a pass was made from: another value would change only a part of it.
_FIXED = ("dataset", "batch_size", "sampler", "batch_sampler", "drop_last")


class DataLoader:
    """Iterates over batches of a data set.

    dataset: has `__getitem__` and `__len__`, or is an IterableDataset. batch_size: samples per batch; None gives single
    samples. shuffle: a new random order in every pass, PyTorch's for the same seed. sampler: iterable of indices,
    instead of shuffle. batch_sampler: iterable of lists of indices, instead of the four before. drop_last: leave out a
    last batch that is not full. generator: draws the order. collate_fn: list of samples -> batch, `default_collate` if
    None (`default_convert` for single samples); rows of a TensorDataset are then gathered at once.

    num_workers: 0 makes a batch when it is asked for. With more, that many threads of this process read ahead,
    prefetch_factor batches each; the batches and their order are the same. That pays for samples that come from files
    or other code that releases the GIL. Rows of a TensorDataset are gathered at once without them. The threads share
    the data set, so worker_init_fn is not called (a warning says so once) and an IterableDataset is read by one of
    them, once. pin_memory, timeout, persistent_workers, multiprocessing_context, pin_memory_device and in_order have no
    effect.

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
        timeout=0,
        worker_init_fn=None,
        multiprocessing_context=None,
        generator=None,
        *,
        prefetch_factor=None,
        persistent_workers=False,
        pin_memory_device="",
        in_order=True,
    ):
        _check_workers(num_workers, worker_init_fn, prefetch_factor, persistent_workers, timeout)
        _check_dataset(dataset, shuffle, sampler, batch_sampler)
        _check_batches(batch_size, shuffle, sampler, batch_sampler, drop_last)
        if shuffle and len(dataset) == 0:
            raise ValueError("shuffle=True needs a data set with at least one sample")
        single = batch_size is None and batch_sampler is None
        if batch_sampler is not None:
            batch_size = None
        if sampler is None and not isinstance(dataset, IterableDataset):
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        if batch_size is not None:
            # A stream is cut into batches as indices are.
            batch_sampler = BatchSampler(dataset if sampler is None else sampler, batch_size, drop_last)
        self.dataset = dataset
        self.batch_size = batch_size
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.drop_last = drop_last
        self.generator = generator
        self.collate_fn = (default_convert if single else default_collate) if collate_fn is None else collate_fn
        self.num_workers = num_workers
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.pin_memory = pin_memory
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.persistent_workers = persistent_workers
        self._position = None  # of the newest pass
        self._resume = None  # the state of a pass that the next one goes on with

    def __setattr__(self, name, value):
        if name in _FIXED and hasattr(self, "_resume"):
            raise ValueError(f"{name} attribute should not be set after DataLoader is initialized; make a new one")
        super().__setattr__(name, value)

    def __len__(self):
        if self.batch_sampler is not None:
            return len(self.batch_sampler)
        return len(self.dataset if self.sampler is None else self.sampler)

    def __iter__(self):
        indices, read, threads = self._plan()
        position = self._begin(indices)
        if threads == 0:
            return _counted(position, map(read, position))
        return _counted(position, _read_ahead(position, read, threads, threads * self.prefetch_factor))

    def state_dict(self):
        """The position of the newest pass, in its middle or between two: numbers and tensors, for `tapegrad.save`.

        After load_state_dict() of it, also in a new process and with another loader over the same data, the next pass
        begins with the batch after the last one handed out, and goes on with the same batches bit for bit. Generators
        given to the loader or its samplers are saved and set back with it, the default generator is not
        (`default_generator.get_state()`). Samplers must draw from generators of tapegrad; an IterableDataset is read
        again up to the position.
        """
        if self._resume is not None:
            return pack(self, self._resume)
        position = self._position
        return pack(self, None if position is None or position.done else position.state())

    def load_state_dict(self, state):
        """Lets the next pass begin where state_dict() was called. TypeError or ValueError for any other state."""
        self._resume = unpack(self, state)
        self._position = None

    def _begin(self, indices, replay=None):
        """The position of a new pass, or of the one that load_state_dict() asked for."""
        state, self._resume = self._resume, None
        position = self._position = Position(self, indices, state)
        if state is not None:
            ahead = position.drawn - position.yielded
            position.repeat(*(replay(position) if replay else (position.drawn + position.ended, ahead)))
        return position

    def _plan(self):
        """What begins to draw the indices of each batch, what makes a batch of them, and how many threads may do so."""
        dataset, collate, workers = self.dataset, self.collate_fn, self.num_workers
        if self.sampler is None:
            stream = dataset if self.batch_sampler is None else self.batch_sampler
            return lambda: iter(stream), collate, min(workers, 1)
        if self.batch_sampler is None:
            return lambda: iter(self.sampler), lambda index: collate(dataset[index]), workers
        batches = lambda: iter(self.batch_sampler)  # noqa: E731
        rows = batch_reader(dataset) if collate is default_collate else None
        if rows is None:
            return batches, lambda index: collate(read_samples(dataset, _listed(index))), workers
        chunked = own(self.batch_sampler, "_batches", "__iter__")
        return (chunked, rows, 0) if chunked else (batches, lambda index: rows(_listed(index)), 0)


def get_worker_info():
    """None: batches are made in this process, whose threads share the data set. (PyTorch's tells workers apart.)"""


def _listed(index):
    return index.tolist() if isinstance(index, _core.Tensor) else list(index)


def _counted(position, batches):
    for batch in batches:
        position.yielded += 1
        yield batch
    position.done = True


def _read_ahead(indices, read, threads, most):
    """read(index) for each index in turn, by threads that are at most so many batches ahead."""
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(threads, thread_name_prefix="tapegrad-data")
    try:
        pending = deque(pool.submit(read, index) for index in islice(indices, most))
        while pending:
            batch = pending.popleft().result()
            pending.extend(pool.submit(read, index) for index in islice(indices, 1))
            yield batch
    finally:  # also where the loop over the batches was left
        pool.shutdown(wait=False, cancel_futures=True)


def _check_workers(num_workers, worker_init_fn, prefetch_factor, persistent_workers, timeout):
    if not isinstance(num_workers, int) or num_workers < 0:
        raise ValueError(f"num_workers should be an integer >= 0, but got num_workers={num_workers}")
    if timeout < 0:
        raise ValueError(f"timeout should be >= 0, but got timeout={timeout}")
    if num_workers == 0:
        if prefetch_factor is not None:
            raise ValueError(f"prefetch_factor={prefetch_factor} needs num_workers > 0: nothing else reads ahead")
        if persistent_workers:
            raise ValueError("persistent_workers=True needs num_workers > 0")
        return
    if prefetch_factor is not None:
        check_count("prefetch_factor", prefetch_factor)
    if worker_init_fn is not None:
        warnings.warn(
            "worker_init_fn is not called: workers are threads of this process and share its random states",
            stacklevel=3,
        )


def _check_dataset(dataset, shuffle, sampler, batch_sampler):
    if isinstance(dataset, IterableDataset):
        given = {"shuffle": shuffle or None, "sampler": sampler, "batch_sampler": batch_sampler}
        for name, value in given.items():
            if value is not None:
                raise ValueError(
                    f"DataLoader with IterableDataset: expected unspecified {name} option, but got {name}={value}; "
                    "a stream comes in its own order"
                )
    elif not hasattr(dataset, "__getitem__"):
        hint = "; derive its class from IterableDataset" if hasattr(dataset, "__iter__") else ""
        raise TypeError(f"a data set needs __getitem__ and __len__, {type(dataset).__name__} has no __getitem__{hint}")


def _check_batches(batch_size, shuffle, sampler, batch_sampler, drop_last):
    if sampler is not None and shuffle:
        raise ValueError("sampler option is mutually exclusive with shuffle: the sampler gives the order")
    if batch_sampler is not None:
        given = {
            "batch_size": batch_size != 1 and batch_size,
            "shuffle": shuffle,
            "sampler": sampler,
            "drop_last": drop_last,
        }
        names = [name for name, value in given.items() if value]
        if names:
            raise ValueError(
                "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last, "
                f"but {' and '.join(names)} came with it"
            )
    elif batch_size is None:
        if drop_last:
            raise ValueError("batch_size=None disables batches and is mutually exclusive with drop_last")
    else:
        check_count("batch_size", batch_size)
