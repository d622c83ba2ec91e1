"""The data the benchmarks work on, the same bits in every process."""

from __future__ import annotations

import gzip
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cases import TrainStep
from expressions import Expression

SEED = 20
IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"


@dataclass(frozen=True)
class TrainData:
    """Batch `x` (batch, inputs) float32, labels `y` (batch,) int64, weights (outputs, inputs) and biases float32."""

    x: np.ndarray
    y: np.ndarray
    weights: list[np.ndarray]
    biases: list[np.ndarray]


def make_data(case: TrainStep) -> TrainData:
    """Standard normal inputs, uniform labels, He-normal weights, small biases."""
    rng = np.random.default_rng(SEED)
    x = rng.standard_normal((case.batch, case.sizes[0]), np.float32)
    y = rng.integers(0, case.sizes[-1], case.batch)
    weights, biases = [], []
    for fan_in, fan_out in zip(case.sizes[:-1], case.sizes[1:], strict=True):
        weights.append(rng.standard_normal((fan_out, fan_in), np.float32) * np.float32(np.sqrt(2 / fan_in)))
        biases.append(rng.uniform(-0.1, 0.1, fan_out).astype(np.float32))
    return TrainData(x, y, weights, biases)


def make_arrays(case: Expression) -> dict[str, np.ndarray]:
    """Standard normal float32 arrays of the case's shapes."""
    rng = np.random.default_rng(SEED)
    return {name: rng.standard_normal(shape, np.float32) for name, shape in case.arrays.items()}


def fashion_mnist_folder() -> Path | None:
    """The folder of the gzipped IDX files: $TAPEGRAD_DATA (by default "data") or its fashion-mnist; None if absent."""
    root = Path(os.environ.get("TAPEGRAD_DATA", "data"))
    folders = (root, root / "fashion-mnist", root / "FashionMNIST" / "raw")
    return next((f for f in folders if (f / IMAGES).is_file() and (f / LABELS).is_file()), None)


def fashion_mnist() -> tuple[np.ndarray, np.ndarray]:
    """Training images (60000, 784), float32 in [0, 1], and labels, int64, in a fixed random order."""
    folder = fashion_mnist_folder()
    pixels = np.frombuffer(gzip.decompress((folder / IMAGES).read_bytes()), np.uint8, offset=16).reshape(-1, 784)
    labels = np.frombuffer(gzip.decompress((folder / LABELS).read_bytes()), np.uint8, offset=8)
    order = np.random.default_rng(SEED).permutation(len(labels))
    return pixels[order] / np.float32(255), labels[order].astype(np.int64)
