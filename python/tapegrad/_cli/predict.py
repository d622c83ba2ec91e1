"""tapegrad predict: applies a saved model to a CSV file or to IDX images."""

from __future__ import annotations

import csv
import math
import sys

import numpy as np

from .._files.atomic import write_atomically
from ..fit import predict
from ..tables import Features, Target, read_csv
from .data import filled_in, read_images, scaled
from .model import CHUNK, load_model, probabilities


def predict_file(options) -> int:
    """Runs the command; what was filled in, and the score when the file has the target, go to standard error."""
    model, preprocessing = load_model(options.model)
    if preprocessing["kind"] == "images":
        header, rows, notes = _predict_images(model, preprocessing, options)
    else:
        header, rows, notes = _predict_table(model, preprocessing, options)
    for note in notes:
        print(note, file=sys.stderr)
    if options.output is None:
        _write(sys.stdout, header, rows)
    else:
        write_atomically(options.output, lambda path: _write_file(path, header, rows))
    return 0


def _predict_images(model, preprocessing: dict, options):
    images = read_images(options.file)
    if list(images.shape[1:]) != preprocessing["shape"]:
        sizes = ["x".join(map(str, shape)) for shape in (images.shape[1:], preprocessing["shape"])]
        raise ValueError(f"{options.file}: images are {sizes[0]}, the model was trained on {sizes[1]}")
    outputs = predict(model, scaled(images, preprocessing["scale"]), batch_size=CHUNK)
    names, columns = _class_columns(outputs, preprocessing["classes"], options.proba)
    return ["index", *names], [[i, *row] for i, row in enumerate(zip(*columns, strict=True))], []


def _predict_table(model, preprocessing: dict, options):
    table = read_csv(options.file)
    features, target = Features.from_dict(preprocessing["features"]), Target(**preprocessing["target"])
    inputs, counts = features.transform(table)
    outputs = predict(model, inputs, batch_size=CHUNK)
    notes = [f"{table.path}: {note}" for note in filled_in(counts, features)]
    if target.task == "classification":
        names, columns = _class_columns(outputs, target.classes, options.proba)
    else:
        if options.proba:
            raise ValueError(
                f"--proba needs a classification model; {options.model} predicts the number {target.name!r}"
            )
        values = outputs[:, 0].astype(np.float64) * target.std + target.mean
        names, columns = ["prediction"], [[f"{value:.7g}" for value in values]]
        outputs = values
    if target.name in table.columns:
        notes += _score(table, target, outputs)
    names = [_free_name(name, table.columns) for name in names]
    columns = [*(table.columns[name] for name in table.names), *columns]
    return [*table.names, *names], list(zip(*columns, strict=True)), notes


def _class_columns(outputs: np.ndarray, classes: list[str], proba: bool):
    """Names and texts of the columns to write: the class, and with `proba` the probability of each."""
    names, columns = ["prediction"], [[classes[place] for place in outputs.argmax(axis=1)]]
    if proba:
        names += [f"probability_{name}" for name in classes]
        columns += [[f"{share:.6g}" for share in column] for column in probabilities(outputs).T]
    return names, columns


def _free_name(name: str, taken) -> str:
    while name in taken:
        name += "_"
    return name


def _score(table, target: Target, outputs: np.ndarray) -> list[str]:
    """How well the predictions fit the target column that the file has, over its known rows."""
    truth = target.encode(table)
    if target.task == "classification":
        known = truth >= 0
        text = f"accuracy {100 * (outputs.argmax(axis=1) == truth)[known].mean():.2f}%" if known.any() else ""
    else:
        known = ~np.isnan(truth)
        spread = truth[known].var() if known.any() else 0.0
        share = 1 - np.square(outputs - truth)[known].mean() / spread if spread else math.nan
        text = f"R^2 {share:.4f}"
    return [f"{table.path}: {text} against its column {target.name!r} ({known.sum()} rows)"] if known.any() else []


def _write(file, header: list[str], rows) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)


def _write_file(path, header: list[str], rows) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        _write(file, header, rows)
