"""Regression on a table: what a house costs in each block group of California, in dollars of the census of 1990.

    python -m tapegrad.examples.california [--data FOLDER] [--seeds 5] [--epochs 30]

FOLDER holds housing.csv; it may also stand in the environment variable TAPEGRAD_DATA. Each seed draws its own fifth of
the rows for the test: a model that knows the neighbours' prices, as is usual for this data, but not a new region.
Prices end at $500,001, which stands for all above.

A network learns where the coast and the cities are far better from sines and cosines of the position than from
longitude and latitude: Tancik et al. (2020), Fourier features let networks learn high frequency functions in low
dimensional domains, arXiv:2006.10739. Data: Pace and Barry (1997), Sparse spatial autoregressions, Statistics and
Probability Letters 33; housing.csv adds ocean_proximity and 207 blanks.
"""

import argparse
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import tapegrad as tg
from tapegrad import nn
from tapegrad.callbacks import EarlyStopping, LRScheduler
from tapegrad.optim.lr_scheduler import CosineAnnealingLR
from tapegrad.tables import OneHot, Standardize, read_csv, train_test_split

from ._shared import find_file, numbers, over_seeds, positive, texts

PRICE = "median_house_value"
SCALES = (1, 2, 4, 8, 16, 32)  # half waves over 5 degrees


class Houses(NamedTuple):
    """The rows of the file."""

    features: np.ndarray  # (N, columns) float64, not yet standardised
    codes: np.ndarray  # (N, 5) float32, of the nearness to the ocean
    price: np.ndarray  # (N, 1) dollars


def position_features(longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
    """Both and their sine and cosine at several scales, along four directions: (N, 2 + 8 scales)."""
    x, y = (longitude + 119.5) / 5, (latitude - 37) / 5
    directions = np.stack([x, y, (x + y) / np.sqrt(2), (x - y) / np.sqrt(2)], axis=1)
    waves = [wave(np.pi * scale * directions) for scale in SCALES for wave in (np.sin, np.cos)]
    return np.concatenate([x[:, None], y[:, None], *waves], axis=1)


def load(root=None) -> Houses:
    source = "https://github.com/ageron/handson-ml2/tree/master/datasets/housing"
    table = read_csv(find_file(root, "california", "housing.csv", source))
    age, rooms, bedrooms, people, households, income, price = numbers(
        table,
        [
            "housing_median_age", "total_rooms", "total_bedrooms", "population", "households", "median_income", PRICE,
        ],
    ).T  # fmt: skip
    share = bedrooms / rooms
    share = np.where(np.isnan(share), np.nanmedian(share), share)
    counts = np.stack([income, rooms, share, people, households, rooms / households, people / households], axis=1)
    position = position_features(*numbers(table, ["longitude", "latitude"]).T)
    ocean = texts(table, ["ocean_proximity"])
    features = np.concatenate([position, age[:, None], income[:, None], np.log(counts)], axis=1)
    return Houses(features, OneHot().fit(ocean).transform(ocean), price[:, None])


def make_model(inputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, 128), nn.ReLU(), nn.Dropout(0.1),
        nn.Linear(128, 1),
    )  # fmt: skip


def train(X: np.ndarray, y: np.ndarray, *, epochs: int = 30) -> tuple[nn.Module, tg.History]:
    """A model of standardised rows and prices, of the epoch that was best on a tenth of them held out."""
    model = make_model(X.shape[1])
    history = tg.fit(
        model,
        (X, y),
        loss="mse",
        optimizer="adamw",
        lr=2e-3,
        epochs=epochs,
        validation=0.1,
        metrics="r2",
        callbacks=[LRScheduler(lambda optimizer: CosineAnnealingLR(optimizer, epochs)), EarlyStopping(patience=10)],
        batch_size=128,
    )
    return model, history


def runner(houses: Houses, epochs: int) -> Callable[[int], dict[str, float]]:
    """run(seed): R^2, MAE and RMSE in dollars on a fifth of the rows drawn by the seed, by a model of the others."""

    def run(seed: int) -> dict[str, float]:
        tg.manual_seed(seed)
        features, test_features, codes, test_codes, price, test_price = train_test_split(*houses, test_size=0.2)
        scale, money = Standardize().fit(features), Standardize().fit(price)
        X = np.concatenate([scale.transform(features), codes], axis=1)
        model, history = train(X, money.transform(price), epochs=epochs)
        output = tg.predict(model, np.concatenate([scale.transform(test_features), test_codes], axis=1))
        error = money.inverse(output.astype(np.float64)) - test_price
        return {
            "r2": 1 - float(np.square(error).mean() / test_price.var()),
            "mae": float(np.abs(error).mean()),
            "rmse": float(np.sqrt(np.square(error).mean())),
            "epochs": len(history),
        }

    return run


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder with housing.csv")
    parser.add_argument("--seeds", type=positive, default=5, help="how many models to train, each on its own split")
    parser.add_argument("--epochs", type=positive, default=30, help="at most so many (default: 30)")
    options = parser.parse_args(argv)
    try:
        houses = load(options.data)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    inputs = houses.features.shape[1] + houses.codes.shape[1]
    print(f"{len(houses.price)} rows, {inputs} inputs; MAE and RMSE in dollars")
    formats = {"r2": ".4f", "mae": ",.0f", "rmse": ",.0f", "epochs": ".0f"}
    over_seeds(runner(houses, options.epochs), options.seeds, formats)


if __name__ == "__main__":
    main()
