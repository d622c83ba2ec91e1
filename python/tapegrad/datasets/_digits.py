"""The handwritten digits that come with the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .. import _core

_FILE = Path(__file__).with_name("digits.npz")  # made by make_digits.py
_TEST_SHARE = 0.2


def load_digits(split: str = "all"):
    """1,797 images of handwritten digits, 8x8 pixels: returns (images, labels).

    images: float32 (N, 64), 0 is blank and 1 is black; labels: int64 (N,), 0..9.
    split: "all" (N = 1797), "train" (1438) or "test" (359). The split is fixed: for each digit from 0 to 9 its rows are
    shuffled by one numpy.random.RandomState(0), and the first fifth (rounded) of them are test rows; order is kept.

    Source: E. Alpaydin and C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository, https://doi.org/10.24432/C50P49, licence CC BY 4.0.
    """
    if split not in ("all", "train", "test"):
        raise ValueError(f"load_digits: split must be 'all', 'train' or 'test', got {split!r}")
    with np.load(_FILE, allow_pickle=False) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    if split != "all":
        rows = _test_rows(labels)
        images, labels = (images[rows], labels[rows]) if split == "test" else (images[~rows], labels[~rows])
    images = images.reshape(len(images), 64).astype(np.float32) / np.float32(16)
    return _core.from_numpy(images), _core.from_numpy(labels.astype(np.int64))


def _test_rows(labels: np.ndarray) -> np.ndarray:
    """Marks the rows of the test split."""
    random = np.random.RandomState(0)
    marked = np.zeros(len(labels), bool)
    for digit in range(10):
        rows = random.permutation(np.flatnonzero(labels == digit))
        marked[rows[: round(_TEST_SHARE * len(rows))]] = True
    return marked
