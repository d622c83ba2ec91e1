"""The command line's data: digits, folders of IDX files and CSV files, as arrays for training and testing."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .. import datasets
from ..tables import Features, Table, Target, find_target, read_csv, split_rows


@dataclass
class Problem:
    """Arrays to train and test on, and what a saved model must remember to be applied to new data."""

    source: str
    task: str  # "classification" or "regression"
    train: tuple[np.ndarray, np.ndarray]  # float32 (N, inputs); int64 (N,) or float32 (N, 1)
    test: tuple[np.ndarray, np.ndarray]
    outputs: int
    preprocessing: dict
    defaults: dict  # settings that the user did not give
    notes: list[str] = field(default_factory=list)
    scale: float = 1.0  # of the standardised regression target, in its own unit

    @property
    def inputs(self) -> int:
        return self.train[0].shape[1]

    def summary(self) -> str:
        """One line: where the rows come from and how many there are."""
        kind = f"{self.outputs} classes" if self.task == "classification" else "regression"
        return f"{self.source}: {len(self.train[0])} training and {len(self.test[0])} test rows, {kind}"


def load_problem(options) -> Problem:
    """The data that the options of `tapegrad train` name. Raises ValueError or OSError with a message for the user."""
    if options.data is not None and not os.path.isdir(options.data):
        return _table_problem(options)
    for name in ("target", "task", "test_size", "drop"):
        if getattr(options, name):
            raise ValueError(f"--{name.replace('_', '-')} goes with --data FILE.csv")
    return _digits_problem() if options.data is None else _idx_problem(Path(options.data))


def _defaults(hidden: list[int], *, epochs: int, batch_size: int, adam_lr: float, dropout: float = 0.0) -> dict:
    return {
        "hidden": hidden,
        "dropout": dropout,
        "epochs": epochs,
        "batch_size": batch_size,
        "adam_lr": adam_lr,
        "sgd_lr": 0.1,
    }


def _digits_problem() -> Problem:
    train, test = (tuple(t.numpy() for t in datasets.load_digits(split)) for split in ("train", "test"))
    return Problem(
        source="handwritten digits (UCI, 8x8)",
        task="classification",
        train=train,
        test=test,
        outputs=10,
        preprocessing=_image_preprocessing((8, 8), 16, 10),
        defaults=_defaults([512], dropout=0.5, epochs=30, batch_size=64, adam_lr=4e-3),
    )


def _image_preprocessing(shape, scale: int, classes: int) -> dict:
    return {"kind": "images", "shape": list(shape), "scale": scale, "classes": [str(i) for i in range(classes)]}


def _idx_problem(folder: Path) -> Problem:
    train, test = (datasets.IdxImages(folder, train=part) for part in (True, False))
    if len(train) == 0 or len(test) == 0:
        raise ValueError(f"{folder}: there are {len(train)} training and {len(test)} test images")
    shape, classes = tuple(train.data.shape[1:]), len(train.classes)
    if tuple(test.data.shape[1:]) != shape:
        raise ValueError(f"{folder}: training images are {shape}, test images {tuple(test.data.shape[1:])}")
    if len(test.classes) > classes:
        raise ValueError(f"{folder}: test labels go up to {len(test.classes) - 1}, training labels to {classes - 1}")
    return Problem(
        source=f"{folder}, images {'x'.join(map(str, shape))}",
        task="classification",
        train=(scaled(train.data.numpy(), 255), train.targets.numpy()),
        test=(scaled(test.data.numpy(), 255), test.targets.numpy()),
        outputs=classes,
        preprocessing=_image_preprocessing(shape, 255, classes),
        defaults=_defaults([256], epochs=10, batch_size=128, adam_lr=1e-3),
    )


def read_images(path) -> np.ndarray:
    """An IDX file of images, uint8 (N, height, width). Raises ValueError that names the file."""
    images = datasets.read_idx(path)
    if images.ndim != 3 or images.dtype != np.uint8 or 0 in images.shape[1:]:
        raise ValueError(f"{path}: expected images (N, height, width) of bytes, got {images.dtype} {images.shape}")
    return images


def scaled(images: np.ndarray, scale: float) -> np.ndarray:
    """uint8 (N, height, width) -> float32 (N, height * width), divided by `scale`."""
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(scale)


def _table_problem(options) -> Problem:
    table = read_csv(options.data)
    if options.target is None:
        raise ValueError(f"--data {options.data} needs --target COLUMN; columns: {', '.join(table.names)}")
    for name in options.drop:
        table.column(name)  # must exist
    target = find_target(table, options.target, options.task)
    labels = target.encode(table)
    known = labels >= 0 if target.task == "classification" else ~np.isnan(labels)
    rows = np.flatnonzero(known)
    groups = labels[rows] if target.task == "classification" else None
    train_rows, test_rows = split_rows(rows, options.test_size or 0.2, options.seed, groups)
    names = [name for name in table.names if name != target.name and name not in options.drop]
    features = Features.fit(table, names, train_rows, options.max_categories)
    inputs, counts = features.transform(table)
    if target.task == "regression":
        target.mean, target.std = float(labels[train_rows].mean()), float(labels[train_rows].std()) or 1.0
        labels = ((labels - target.mean) / target.std).astype(np.float32)[:, None]
    batch = 2 ** int(np.clip(np.log2(len(train_rows) / 64), 4, 8))
    hidden, dropout = ([128, 128], 0.0) if target.task == "regression" else ([64, 64], 0.3)
    return Problem(
        source=f"{table.path}, {target.name!r} from {counted(len(features.columns), 'column')}",
        task=target.task,
        train=(inputs[train_rows], labels[train_rows]),
        test=(inputs[test_rows], labels[test_rows]),
        outputs=target.width,
        preprocessing={"kind": "table", "features": features.to_dict(), "target": vars(target)},
        defaults=_defaults(hidden, dropout=dropout, epochs=40, batch_size=batch, adam_lr=2e-3),
        notes=[*_left_out(table, names, features), *filled_in(counts, features), *_dropped(table, rows, target)],
        scale=target.std,
    )


def _left_out(table: Table, names: list[str], features: Features) -> list[str]:
    used = {column.name for column in features.columns}
    notes = [f"column {name!r} is blank in every training row: left out" for name in names if name not in used]
    for column in features.columns:
        if column.kind == "text" and column.other:
            notes.append(
                f"column {column.name!r}: {len(column.categories)} most frequent categories kept, others in one"
            )
    return notes


def counted(n: int, noun: str) -> str:
    """1 row, 2 rows."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def filled_in(counts, features: Features) -> list[str]:
    """Lines that say what was put in place of blanks and unknown categories."""
    notes = []
    for column in features.columns:
        blanks, unknown = counts.blanks.get(column.name, 0), counts.unknown.get(column.name, 0)
        if blanks:
            if column.kind == "numeric":
                how = f"imputed with the median {column.median:g}"
            elif "" in column.categories:
                how = "taken as a category of their own"
            else:
                how = f"imputed with the most frequent category {column.categories[0]!r}"
            notes.append(f"column {column.name!r}: {counted(blanks, 'blank')} {how}")
        if unknown:
            notes.append(
                f"column {column.name!r}: {unknown} value{'s' * (unknown != 1)} of categories not seen in training"
            )
    return notes


def _dropped(table: Table, rows: np.ndarray, target: Target) -> list[str]:
    count = len(table) - len(rows)
    return [f"{counted(count, 'row')} without a {target.name!r} left out"] if count else []
