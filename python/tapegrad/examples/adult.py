"""Classification of a table: does a person earn more than $50,000 a year? The Adult data, from files to AUC.

    python -m tapegrad.examples.adult [--data FOLDER] [--seeds 5] [--epochs 30]

FOLDER holds adult.data and adult.test, as UCI gives them; it may also stand in the environment variable TAPEGRAD_DATA.
The model learns from adult.data alone, of which a tenth says when to stop; adult.test is only measured, at the end.

Source: Becker and Kohavi (1996), Adult, UCI Machine Learning Repository, https://doi.org/10.24432/C5XW20, CC BY 4.0.
"""

import argparse
from collections.abc import Callable

import numpy as np

import tapegrad as tg
from tapegrad import nn
from tapegrad.callbacks import EarlyStopping
from tapegrad.metrics import F1
from tapegrad.tables import OneHot, Standardize, Table, read_csv

from ._shared import find_file, numbers, over_seeds, positive, texts

COLUMNS = [
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship", "race",
    "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income",
]  # fmt: skip
# Left out: fnlwgt, how many people a row stands for, and education, which education-num says in order.
NUMBERS = ["age", "education-num", "hours-per-week"]
AMOUNTS = ["capital-gain", "capital-loss"]  # mostly 0, else up to 99,999
# The amounts are categories too: some of them, of deductions and limits of tax, tell the income almost by themselves.
CATEGORIES = [
    "workclass", "marital-status", "occupation", "relationship", "race", "sex", "native-country", *AMOUNTS,
]  # fmt: skip
METRICS = {"accuracy": "accuracy", "auc": "auc", "f1": F1(average="binary")}


def read(root=None, part: str = "data") -> Table:
    """adult.data or adult.test ("test"), whose first line is no data."""
    path = find_file(root, "adult", f"adult.{part}", "https://archive.ics.uci.edu/dataset/2/adult")
    return read_csv(path, ",", names=COLUMNS, comment="|")


class Preprocessing:
    """Rows of a table as float32 (N, inputs), by statistics and categories of the table it is made of."""

    def __init__(self, table: Table):
        self.scale = Standardize().fit(self._numbers(table))
        self.codes = OneHot().fit(texts(table, CATEGORIES))  # of them "?", a blank

    def __call__(self, table: Table) -> np.ndarray:
        scaled = self.scale.transform(self._numbers(table))
        return np.concatenate([scaled, self.codes.transform(texts(table, CATEGORIES))], axis=1).astype(np.float32)

    @staticmethod
    def _numbers(table: Table) -> np.ndarray:
        return np.concatenate([numbers(table, NUMBERS), np.log1p(numbers(table, AMOUNTS))], axis=1)


def targets(table: Table) -> np.ndarray:
    """float32 (N, 1): 1 for more than $50,000. In adult.test the labels end in a full stop."""
    labels = [label.rstrip(".") for label in table.column("income")]
    unknown = set(labels) - {"<=50K", ">50K"}
    if unknown:
        raise ValueError(f"{table.path}: income must be <=50K or >50K, got {sorted(unknown)}")
    return np.array([[label == ">50K"] for label in labels], dtype=np.float32)


def load(root=None) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """(X, y) of adult.data and (X, y) of adult.test."""
    train, test = read(root, "data"), read(root, "test")
    preprocess = Preprocessing(train)
    return (preprocess(train), targets(train)), (preprocess(test), targets(test))


def train(data: tuple[np.ndarray, np.ndarray], *, epochs: int = 30, seed: int = 0) -> tuple[nn.Module, tg.History]:
    """A model from a seed, of the epoch that was best on the tenth held out."""
    tg.manual_seed(seed)
    model = nn.Sequential(nn.Linear(data[0].shape[1], 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 1))
    history = tg.fit(
        model,
        data,
        loss="bce_with_logits",
        optimizer="adamw",
        epochs=epochs,
        validation=0.1,
        callbacks=[EarlyStopping(patience=5)],
        batch_size=128,
    )
    return model, history


def runner(data, test, epochs: int) -> Callable[[int], dict[str, float]]:
    """run(seed): the metrics of a model from that seed on the test rows, and the epochs it was trained."""

    def run(seed: int) -> dict[str, float]:
        model, history = train(data, epochs=epochs, seed=seed)
        return {**tg.evaluate(model, test, loss="bce_with_logits", metrics=METRICS), "epochs": len(history)}

    return run


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder with adult.data and adult.test")
    parser.add_argument("--seeds", type=positive, default=5, help="how many models to train, each from its own seed")
    parser.add_argument("--epochs", type=positive, default=30, help="at most so many (default: 30)")
    options = parser.parse_args(argv)
    try:
        data, test = load(options.data)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f"{len(data[0])} training rows, {len(test[0])} test rows, {data[0].shape[1]} inputs")
    print(f"always <=50K: test accuracy {1 - test[1].mean():.4f}")
    over_seeds(
        runner(data, test, options.epochs),
        options.seeds,
        {"accuracy": ".4f", "auc": ".4f", "f1": ".4f", "epochs": ".0f"},
    )


if __name__ == "__main__":
    main()
