"""Fixtures of the test suite: where the data sets are, and a fresh seed for every test."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data sets; TAPEGRAD_DATA names it, ../shared/data beside the checkout is the default."""
    root = Path(os.environ.get("TAPEGRAD_DATA", REPO.parent / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"no data sets: {root} is not a folder (set TAPEGRAD_DATA)")
    return root


@pytest.fixture
def rng() -> np.random.RandomState:
    return np.random.RandomState(1234)


@pytest.fixture(autouse=True)
def _same_start():
    """Every test starts from one seed and leaves the global settings as it found them."""
    threads = tg.get_num_threads()
    dtype = tg.get_default_dtype()
    tg.manual_seed(0)
    yield
    tg.set_default_dtype(dtype)
    if tg.get_num_threads() != threads:
        tg.set_num_threads(threads)
