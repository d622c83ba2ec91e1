"""Weights of samples and classes in fit(): against a loop by hand, and against samples left out and repeated."""

import math

import numpy as np
import pytest

import tapegrad as tg
from fitting import CAPTURED, assert_close, classes, make_model, short_fit, weights_of
from tapegrad import nn, optim
from tapegrad.utils.data import DataLoader, Dataset, TensorDataset


def _by_hand(model, x, y, w, batch, epochs=2):
    """SGD on sum(w * loss) / n."""
    x, y, w = (tg.from_numpy(a) for a in (x, y, w))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    for _ in range(epochs):
        for i in range(0, len(x), batch):
            optimizer.zero_grad()
            losses = nn.functional.cross_entropy(model(x[i : i + batch]), y[i : i + batch], reduction="none")
            (losses * w[i : i + batch]).mean().backward()
            optimizer.step()


@pytest.mark.parametrize("compile", CAPTURED)
def test_sample_weights(compile):
    x, y = classes()
    x, w = x.astype(np.float64), np.random.RandomState(1).rand(60)
    model, other = make_model(dtype=tg.float64), make_model(dtype=tg.float64)
    history = short_fit(model, (x, y, w), batch_size=16, compile=compile, validation=(x, y, w))
    _by_hand(other, x, y, w, 16)
    assert_close(weights_of(model), weights_of(other))
    losses = nn.functional.cross_entropy(other(tg.from_numpy(x)), tg.from_numpy(y), reduction="none").detach().numpy()
    assert history["val_loss"][-1] == pytest.approx((losses * w).mean())
    assert tg.evaluate(other, (x, y, w), loss="cross_entropy")["loss"] == pytest.approx((losses * w).mean())


@pytest.mark.parametrize("compile", CAPTURED)
@pytest.mark.parametrize("loss", ["cross_entropy", nn.functional.cross_entropy, nn.CrossEntropyLoss(reduction="sum")])
def test_weights_of_zero_and_two_are_samples_left_out_and_repeated(loss, compile):
    x, y = classes(12)
    x = x.astype(np.float64)
    times = np.array([0, 1, 2, 1, 0, 2, 1, 1, 2, 0, 1, 1])
    model, other = make_model(dtype=tg.float64), make_model(dtype=tg.float64)
    lr = 0.01
    short_fit(model, (x, y, times), batch_size=12, loss=loss, lr=lr, compile=compile)
    short_fit(other, (x.repeat(times, 0), y.repeat(times)), batch_size=12, loss=loss, lr=lr, compile=compile)
    assert times.sum() == 12  # so that the means have one divisor
    assert_close(weights_of(model), weights_of(other))


@pytest.mark.parametrize("compile", CAPTURED)
def test_class_weights_are_weights_of_samples_in_training_alone(compile):
    x, y = classes()
    y[y == 2] = np.where(np.arange(60)[y == 2] % 3 == 0, 2, 1)
    table = 60 / (3 * np.bincount(y))
    results = []
    for given in (
        "balanced",
        dict(enumerate(table)),
        table,
        tg.from_numpy(table),
        {0: table[0], 1: table[1], 2: table[2]},
    ):
        model = make_model()
        history = short_fit(model, (x, y), class_weight=given, validation=(x, y), compile=compile)
        results.append(([*weights_of(model)], history["val_loss"]))
    model = make_model()
    short_fit(model, (x, y, table[y]), compile=compile)
    plain = tg.evaluate(model, (x, y), loss="cross_entropy")["loss"]
    for weights, losses in results:
        assert_close(weights, weights_of(model), 1e-6)
        assert losses[-1] == pytest.approx(plain, rel=1e-5)


def test_class_weights_multiply_sample_weights():
    x, y = classes()
    w = np.random.RandomState(1).rand(60)
    model, other = make_model(), make_model()
    short_fit(model, (x, y, w), class_weight={1: 3.0})
    short_fit(other, (x, y, w * np.where(y == 1, 3.0, 1.0)))
    assert_close(weights_of(model), weights_of(other), 1e-6)


def test_class_weights_of_a_binary_loss_and_of_a_loader():
    x, y = classes(40, 2)
    target = y[:, None].astype(np.float32)
    models = [make_model(outputs=1) for _ in range(3)]
    short_fit(models[0], (x, target), loss="bce_with_logits", class_weight={0: 0.5, 1: 2.0}, batch_size=8)
    loader = DataLoader(TensorDataset(tg.from_numpy(x), tg.from_numpy(target)), batch_size=8)
    short_fit(models[1], loader, loss="bce_with_logits", class_weight=[0.5, 2.0])
    batches = [(tg.from_numpy(x[i : i + 8]), tg.from_numpy(target[i : i + 8])) for i in range(0, 40, 8)]
    short_fit(models[2], batches, loss=nn.BCEWithLogitsLoss(), class_weight={0: 0.5, 1: 2.0})
    assert_close(weights_of(models[0]), weights_of(models[1]))
    assert_close(weights_of(models[0]), weights_of(models[2]))


def _losses_of_samples(output, target):
    return nn.functional.cross_entropy(output, target, reduction="none")


def _mean_alone(output, target):
    return nn.functional.cross_entropy(output, target)


def test_a_loss_of_ones_own_with_weights():
    x, y = classes()
    w = np.random.RandomState(1).rand(60)
    model, other = make_model(), make_model()
    short_fit(model, (x, y, w), loss=_losses_of_samples)
    short_fit(other, (x, y, w))
    assert_close(weights_of(model), weights_of(other))
    with pytest.raises(ValueError, match=r"weights need the loss of each sample, \(60,\) or .* gave shape \(\)"):
        short_fit(model, (x, y, w), loss=_mean_alone)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("even", ValueError, 'class_weight must be "balanced"'),
        ({"a": 1.0}, ValueError, r"from 0 on to weights, got the keys \['a'\]"),
        ({-1: 1.0}, ValueError, "class indices from 0 on"),
        ([1.0, 2.0], ValueError, "class_weight has 2 weights, but the targets have 3 classes"),
        ([1.0, math.nan, 1.0], ValueError, "one finite weight of at least 0 per class"),
        ([[1.0, 1.0, 1.0]], ValueError, "one finite weight"),
    ],
)
def test_bad_class_weights(given, error, message):
    with pytest.raises(error, match=message):
        short_fit(make_model(), classes(), class_weight=given)


def test_class_weights_that_do_not_fit_the_data():
    x, y = classes()
    batches = [(tg.from_numpy(x), tg.from_numpy(y))]
    with pytest.raises(ValueError, match='"balanced" counts targets in memory'):
        short_fit(make_model(), batches, class_weight="balanced")
    with pytest.raises(ValueError, match="one class index for each loss"):
        short_fit(make_model(), (x, np.eye(3, dtype=np.float32)[y]), class_weight=[1.0, 1.0, 1.0])


class _Stream(Dataset):
    def __init__(self, x, y, w):
        self.parts = x, y, w

    def __len__(self):
        return len(self.parts[0])

    def __getitem__(self, i):
        return tuple(part[i] for part in self.parts)


def test_weights_in_batches_of_any_source():
    x, y = classes(24)
    w = np.random.RandomState(1).rand(24).astype(np.float32)
    results = []
    for train in ((x, y, w), _Stream(x, y, w), DataLoader(_Stream(x, y, w), batch_size=8)):
        model = make_model()
        short_fit(model, train, batch_size=8)
        results.append(weights_of(model))
    assert_close(results[0], results[1], 1e-6)
    assert_close(results[0], results[2], 1e-6)
