"""Where a pass over a DataLoader stands, and what it takes to stand there again."""

from collections import deque
from contextlib import contextmanager
from itertools import islice

import numpy as np

from ... import _core
from ._sampler import draw_seed

_FORMAT = 1


class Position:
    """An iterator over what a pass reads next: it counts, and remembers the generators' states before the draws.

    loader: its generators are those of its samplers and the default one. indices: a function that begins the draws.
    state: of the pass that this one goes on with, as state() gave it. Its draws are repeated with the generators set
    back meanwhile, so that afterwards they stand where they stood (the default one: where it stands now).
    """

    def __init__(self, loader, indices, state=None):
        self._generators = generators_of(loader)
        self.yielded = 0  # batches handed out
        self.drawn = 0  # batches whose indices are drawn: more, where they are read ahead
        self.ended = False  # whether the draws are at their end
        self.done = False  # whether the pass is
        self._first = None
        self._waiting = deque()
        if state is None:
            self._before = self._states()
            self._indices = indices()
            # PyTorch draws a seed for its workers here, also when there are none; without it the streams would part.
            draw_seed(loader.generator)
            return
        self.yielded, self.drawn, self.ended = state["yielded"], state["drawn"], state["ended"]
        self._before, self._first = state["before"], state["first"]
        with self._set_back(self._before):
            self._indices = indices()
        self._now = state["now"]

    def repeat(self, pulls, keep):
        """Repeats the draws of the state: `pulls` of them, of which the last `keep` are given again."""
        if pulls:
            with self._set_back(self._first):
                self._waiting.extend(deque(islice(self._indices, pulls), maxlen=keep))
        for generator, now in zip(self._generators[1:], self._now[1:], strict=True):
            generator.set_state(now)

    def __iter__(self):
        return self

    def __next__(self):
        if self._waiting:
            return self._waiting.popleft()
        if self._first is None:
            self._first = self._states()
        try:
            index = next(self._indices)
        except StopIteration:
            self.ended = True
            raise
        self.drawn += 1
        return index

    def state(self):
        return {
            "yielded": self.yielded,
            "drawn": self.drawn,
            "ended": self.ended,
            "before": self._before,
            "first": self._first,
            "now": self._states(),
        }

    def _states(self):
        return [generator.get_state() for generator in self._generators]

    @contextmanager
    def _set_back(self, states):
        now = self._states()
        try:
            for generator, state in zip(self._generators, states, strict=True):
                generator.set_state(state)
            yield
        finally:
            for generator, state in zip(self._generators, now, strict=True):
                generator.set_state(state)


def generators_of(loader):
    """The default generator, and those that the loader and its samplers have of their own."""
    found = [_core.default_generator]
    nested = getattr(loader.batch_sampler, "sampler", None)
    for owner in (loader, loader.batch_sampler, loader.sampler, nested):
        generator = getattr(owner, "generator", None)
        if isinstance(generator, _core.Generator) and all(generator is not known for known in found):
            found.append(generator)
    return found


def pack(loader, state):
    """A position's state (None: between two passes) as numbers and tensors, with what tells a loader from another."""
    packed = {"format": _FORMAT, **_shape_of(loader), "begun": state is not None}
    for name, value in (state or {}).items():
        packed[name] = value if isinstance(value, (int, type(None))) else [_tensor(one) for one in value]
    return packed


def unpack(loader, packed):
    """What pack() was given. TypeError or ValueError where it is nothing of the kind, or of another loader."""
    if not isinstance(packed, dict) or "format" not in packed:
        raise TypeError(f"load_state_dict: expected what state_dict() of a DataLoader gave, got {_kind(packed)}")
    if packed["format"] != _FORMAT:
        raise ValueError(f"load_state_dict: format {packed['format']} is not known, this version reads {_FORMAT}")
    for name, here in _shape_of(loader).items():
        if packed.get(name) != here:
            raise ValueError(f"load_state_dict: {name} was {packed.get(name)} when saved, this loader has {here}")
    if not packed.get("begun"):
        return None
    state = {name: packed.get(name) for name in ("yielded", "drawn", "ended")}
    if not 0 <= state["yielded"] <= state["drawn"] or (state["drawn"] and packed.get("first") is None):
        raise ValueError(f"load_state_dict: a pass cannot stand at {state}")
    own = len(generators_of(loader)) - 1
    for name in ("before", "first", "now"):
        states = packed.get(name)
        if states is not None and len(states) != own + 1:
            raise ValueError(
                f"load_state_dict: the saved loader had {len(states) - 1} generators of its own, this one has {own}"
            )
        state[name] = states and [bytes(one.numpy()) for one in states]
    return state


def _shape_of(loader):
    length = len(loader.dataset) if hasattr(loader.dataset, "__len__") else None
    return {"samples": length, "batch_size": loader.batch_size, "drop_last": loader.drop_last}


def _tensor(state):
    return _core.from_numpy(np.frombuffer(state, dtype=np.uint8).copy())


def _kind(value):
    return f"a dictionary with {', '.join(map(repr, value))}" if isinstance(value, dict) else type(value).__name__
