"""The default generator's seed and state, under the names of torch.random."""

import os
from contextlib import contextmanager

import numpy as np

from . import _core
from ._core import default_generator
from ._core import manual_seed as manual_seed


def get_rng_state():
    """The state of the default generator, as a tensor of bytes (uint8)."""
    return _core.from_numpy(np.frombuffer(default_generator.get_state(), np.uint8).copy())


def set_rng_state(new_state):
    """Restores what get_rng_state() returned. ValueError for anything else."""
    default_generator.set_state(new_state.numpy().tobytes() if isinstance(new_state, _core.Tensor) else new_state)


def initial_seed():
    """The seed that the default generator had last."""
    return default_generator.initial_seed()


def seed():
    """Seeds the default generator from the operating system's randomness; returns the seed."""
    chosen = int.from_bytes(os.urandom(8), "little")
    manual_seed(chosen)
    return chosen


@contextmanager
def fork_rng(devices=None, enabled=True):
    """Puts the state of the default generator back at the end of the block. devices has no effect."""
    before = default_generator.get_state()
    try:
        yield
    finally:
        if enabled:
            default_generator.set_state(before)
