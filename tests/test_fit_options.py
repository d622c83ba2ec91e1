"""fit() beyond the plain loop: weights, accumulation, splits, time limits, losses and optimizers by name, predict()."""

import math
import time

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import callbacks, nn, optim
from tapegrad.utils.data import DataLoader, Dataset, TensorDataset

CAPTURED = [False, True]


def _classes(n=60, classes=3, seed=0):
    random = np.random.RandomState(seed)
    y = random.randint(0, classes, n)
    x = random.randn(n, 4).astype(np.float32)
    x[np.arange(n), y] += 2
    return x, y


def _model(seed=0, outputs=3, dtype=tg.float32):
    tg.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, outputs)).to(dtype)


def _fit(model, train, **options):
    settings = {"loss": "cross_entropy", "optimizer": "sgd", "lr": 0.1, "epochs": 2, "progress": False}
    return tg.fit(model, train, **{**settings, "shuffle": False, **options})


def _weights(model):
    return [p.detach().numpy().copy() for p in model.parameters()]


def _assert_close(a, b, rtol=1e-12):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol)


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
    x, y = _classes()
    x, w = x.astype(np.float64), np.random.RandomState(1).rand(60)
    model, other = _model(dtype=tg.float64), _model(dtype=tg.float64)
    history = _fit(model, (x, y, w), batch_size=16, compile=compile, validation=(x, y, w))
    _by_hand(other, x, y, w, 16)
    _assert_close(_weights(model), _weights(other))
    losses = nn.functional.cross_entropy(other(tg.from_numpy(x)), tg.from_numpy(y), reduction="none").detach().numpy()
    assert history["val_loss"][-1] == pytest.approx((losses * w).mean())
    assert tg.evaluate(other, (x, y, w), loss="cross_entropy")["loss"] == pytest.approx((losses * w).mean())


@pytest.mark.parametrize("compile", CAPTURED)
@pytest.mark.parametrize("loss", ["cross_entropy", nn.functional.cross_entropy, nn.CrossEntropyLoss(reduction="sum")])
def test_weights_of_zero_and_two_are_samples_left_out_and_repeated(loss, compile):
    x, y = _classes(12)
    x = x.astype(np.float64)
    times = np.array([0, 1, 2, 1, 0, 2, 1, 1, 2, 0, 1, 1])
    model, other = _model(dtype=tg.float64), _model(dtype=tg.float64)
    lr = 0.01
    _fit(model, (x, y, times), batch_size=12, loss=loss, lr=lr, compile=compile)
    _fit(other, (x.repeat(times, 0), y.repeat(times)), batch_size=12, loss=loss, lr=lr, compile=compile)
    assert times.sum() == 12  # so that the means have one divisor
    _assert_close(_weights(model), _weights(other))


@pytest.mark.parametrize("compile", CAPTURED)
def test_class_weights_are_weights_of_samples_in_training_alone(compile):
    x, y = _classes()
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
        model = _model()
        history = _fit(model, (x, y), class_weight=given, validation=(x, y), compile=compile)
        results.append(([*_weights(model)], history["val_loss"]))
    model = _model()
    _fit(model, (x, y, table[y]), compile=compile)
    plain = tg.evaluate(model, (x, y), loss="cross_entropy")["loss"]
    for weights, losses in results:
        _assert_close(weights, _weights(model), 1e-6)
        assert losses[-1] == pytest.approx(plain, rel=1e-5)


def test_class_weights_multiply_sample_weights():
    x, y = _classes()
    w = np.random.RandomState(1).rand(60)
    model, other = _model(), _model()
    _fit(model, (x, y, w), class_weight={1: 3.0})
    _fit(other, (x, y, w * np.where(y == 1, 3.0, 1.0)))
    _assert_close(_weights(model), _weights(other), 1e-6)


def test_class_weights_of_a_binary_loss_and_of_a_loader():
    x, y = _classes(40, 2)
    target = y[:, None].astype(np.float32)
    models = [_model(outputs=1) for _ in range(3)]
    _fit(models[0], (x, target), loss="bce_with_logits", class_weight={0: 0.5, 1: 2.0}, batch_size=8)
    loader = DataLoader(TensorDataset(tg.from_numpy(x), tg.from_numpy(target)), batch_size=8)
    _fit(models[1], loader, loss="bce_with_logits", class_weight=[0.5, 2.0])
    batches = [(tg.from_numpy(x[i : i + 8]), tg.from_numpy(target[i : i + 8])) for i in range(0, 40, 8)]
    _fit(models[2], batches, loss=nn.BCEWithLogitsLoss(), class_weight={0: 0.5, 1: 2.0})
    _assert_close(_weights(models[0]), _weights(models[1]))
    _assert_close(_weights(models[0]), _weights(models[2]))


def _losses_of_samples(output, target):
    return nn.functional.cross_entropy(output, target, reduction="none")


def _mean_alone(output, target):
    return nn.functional.cross_entropy(output, target)


def test_a_loss_of_ones_own_with_weights():
    x, y = _classes()
    w = np.random.RandomState(1).rand(60)
    model, other = _model(), _model()
    _fit(model, (x, y, w), loss=_losses_of_samples)
    _fit(other, (x, y, w))
    _assert_close(_weights(model), _weights(other))
    with pytest.raises(ValueError, match=r"weights need the loss of each sample, \(60,\) or .* gave shape \(\)"):
        _fit(model, (x, y, w), loss=_mean_alone)


@pytest.mark.parametrize("compile", CAPTURED)
@pytest.mark.parametrize("loss", ["mse", nn.MSELoss(reduction="sum")])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_accumulated_batches_are_one_large_batch(compile, loss, optimizer):
    random = np.random.RandomState(0)
    x, y = random.randn(50, 4), random.randn(50, 2)
    model, other = _model(outputs=2, dtype=tg.float64), _model(outputs=2, dtype=tg.float64)
    options = {"loss": loss, "optimizer": optimizer, "lr": 0.01, "epochs": 3, "compile": compile}
    history = _fit(model, (x, y), batch_size=4, accumulate=4, **options)
    large = _fit(other, (x, y), batch_size=16, **options)
    _assert_close(_weights(model), _weights(other), 1e-10)
    assert history["steps"] == large["steps"] == [4, 4, 4]  # 16 16 16 2
    assert all(p.grad is None for p in model.parameters())


def test_accumulate_has_the_bits_of_its_uncompiled_self_at_any_number_of_threads():
    results = []
    for compile in CAPTURED:
        for threads in (1, 2, 3):
            with tg.threads(threads):
                model = _model()
                _fit(model, _classes(), batch_size=7, accumulate=3, compile=compile, optimizer="adam", shuffle=True)
                results.append(_weights(model))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("compile", CAPTURED)
def test_hooks_at_gradients_and_steps(compile):
    seen, model = [], _model()

    def halve(run):
        for p in run.model.parameters():
            p.grad.mul_(0.5)

    def note(run):
        seen.append((run.epoch, run.step, run.loss))

    hooks = callbacks.LambdaCallback(on_gradients=halve, on_step=note)
    history = _fit(model, _classes(), batch_size=16, compile=compile, callbacks=[hooks])
    other = _model()
    _fit(other, _classes(), batch_size=16, lr=0.05)
    _assert_close(_weights(model), _weights(other), 1e-6)
    assert [entry[:2] for entry in seen] == [(1 + i // 4, i + 1) for i in range(8)]
    sizes = np.array([16, 16, 16, 12])
    assert history["loss"][0] == pytest.approx(np.dot([s[2] for s in seen[:4]], sizes) / 60)


def test_hooks_come_in_order_and_know_where_they_are():
    seen = []
    hooks = {name: lambda run, name=name: seen.append((name, run.epoch, len(run.history))) for name in (
        "on_fit_begin", "on_epoch_begin", "on_epoch_end", "on_fit_end")}  # fmt: skip
    history = _fit(_model(), _classes(), callbacks=callbacks.LambdaCallback(**hooks))
    expected = [("on_fit_begin", 0, 0), ("on_epoch_begin", 1, 0), ("on_epoch_end", 1, 1)]
    assert seen == [*expected, ("on_epoch_begin", 2, 1), ("on_epoch_end", 2, 2), ("on_fit_end", 2, 2)]
    assert history.stopped is None
    with pytest.raises(TypeError, match=r"callbacks must be objects of tapegrad\.callbacks\.Callback, got 3"):
        _fit(_model(), _classes(), callbacks=[3])


@pytest.mark.parametrize("compile", CAPTURED)
def test_stop_at_a_step_and_at_an_epoch(compile):
    def stopping(hook, **where):
        def stop(run):
            if all(getattr(run, name) == value for name, value in where.items()):
                run.stop("enough")

        return {"callbacks": [callbacks.LambdaCallback(**{hook: stop})], "epochs": 9, "compile": compile}

    for accumulate, steps in ((1, [8, 6]), (2, [4, 2])):
        options = stopping("on_step", step=sum(steps))
        history = _fit(_model(), _classes(), batch_size=8, accumulate=accumulate, validation=_classes(20), **options)
        assert history["steps"] == steps and history.stopped == "enough" and not history.interrupted
        assert math.isnan(history["val_loss"][-1])
    history = _fit(_model(), _classes(), **stopping("on_epoch_end", epoch=3))
    assert len(history) == 3 and history.stopped == "enough"


@pytest.mark.parametrize("compile", CAPTURED)
def test_max_seconds(compile):
    start = time.perf_counter()
    history = _fit(_model(), _classes(), epochs=10**9, max_seconds=0.2, compile=compile)
    assert 0.2 <= time.perf_counter() - start < 60
    assert history.stopped == "max_seconds are over" and 0 < len(history) < 10**6
    with pytest.raises(ValueError, match="max_seconds must be positive"):
        _fit(_model(), _classes(), max_seconds=0)


def test_on_divergence_ends_quietly():
    quiet = callbacks.LambdaCallback(on_divergence=lambda run: True)
    x, _ = _classes()
    history = _fit(nn.Linear(4, 1), (x, x[:, :1]), loss="mse", lr=1e6, epochs=99, batch_size=8, callbacks=[quiet])
    assert "diverged" in history.stopped and len(history) < 99


def test_a_share_for_validation():
    x, y = _classes(50)
    seen = []
    for data in ((x, y), (x, y, np.ones(50)), TensorDataset(tg.from_numpy(x), tg.from_numpy(y))):
        model = _model()
        tg.manual_seed(7)
        history = _fit(model, data, validation=0.25, batch_size=8, metrics="accuracy")
        seen.append((history["val_loss"], history["val_accuracy"], history["steps"]))
    assert seen[0] == seen[1] == seen[2]
    assert seen[0][2] == [5, 5]  # 37 samples
    tg.manual_seed(7)
    held_out = tg.randperm(50)[37:]
    expected = tg.evaluate(model, (x[held_out.numpy()], y[held_out.numpy()]), loss="cross_entropy", metrics="accuracy")
    assert seen[2][0][-1] == pytest.approx(expected["loss"]) and seen[2][1][-1] == expected["accuracy"]
    with pytest.raises(ValueError, match="validation=1 of 50 samples leaves none"):
        _fit(model, (x, y), validation=1)
    with pytest.raises(TypeError, match="takes a share of a Dataset or of a pair"):
        _fit(model, DataLoader(TensorDataset(tg.from_numpy(x), tg.from_numpy(y))), validation=0.2)


NAMED = sorted(n for n, kind in vars(optim).items() if isinstance(kind, type) and n != "Optimizer")


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("compile", [False, "auto"])
def test_every_optimizer_by_its_name(name, compile):
    if name == "Muon":
        model = nn.Linear(4, 3, bias=False)  # it takes matrices alone
    else:
        model = _model()
    x, y = _classes(32)
    options = {"batch_size": 32 if name == "LBFGS" else 8, "compile": compile, "epochs": 5}
    history = _fit(model, (x, y), optimizer=name.lower(), lr=None, **options)
    assert history["loss"][-1] < history["loss"][0]


def test_lbfgs_is_that_of_a_closure():
    x, y = _classes(32)
    model, other = _model(), _model()
    _fit(model, (x, y), optimizer="LBFGS", lr=None, batch_size=32)
    optimizer = optim.LBFGS(other.parameters())

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(other(tg.from_numpy(x)), tg.from_numpy(y))
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(closure)
    _assert_close(_weights(model), _weights(other), 0)
    with pytest.raises(ValueError, match="accumulate does not go with LBFGS"):
        _fit(model, (x, y), optimizer="lbfgs", lr=None, accumulate=2)


LOSSES = {"bce": 1, "bce_with_logits": 1, "huber": 2, "l1": 2, "mse": 2, "poisson_nll": 2, "smooth_l1": 2, "nll": 3}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_by_name(name):
    width = LOSSES[name]
    x, y = _classes(20, width if name == "nll" else 2)
    y = y if name == "nll" else np.stack([y] * width, 1)
    last = {"bce": [nn.Sigmoid()], "nll": [nn.LogSoftmax(dim=1)]}.get(name, [])
    model = nn.Sequential(nn.Linear(4, width), *last)
    history = _fit(model, (x, y), loss=name, epochs=20)
    assert history["loss"][-1] < history["loss"][0]


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
        _fit(_model(), _classes(), class_weight=given)


def test_class_weights_that_do_not_fit_the_data():
    x, y = _classes()
    batches = [(tg.from_numpy(x), tg.from_numpy(y))]
    with pytest.raises(ValueError, match='"balanced" counts targets in memory'):
        _fit(_model(), batches, class_weight="balanced")
    with pytest.raises(ValueError, match="one class index for each loss"):
        _fit(_model(), (x, np.eye(3, dtype=np.float32)[y]), class_weight=[1.0, 1.0, 1.0])


def test_predict():
    x, _ = _classes(50)
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5))
    model.eval()
    expected = model(tg.from_numpy(x)).detach().numpy()
    model.train()
    result = tg.predict(model, x, batch_size=7)
    assert isinstance(result, np.ndarray) and model.training
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    np.testing.assert_array_equal(tg.predict(model, x.astype(np.float64)), tg.predict(model, x))
    result = tg.predict(model, tg.from_numpy(x))
    assert isinstance(result, tg.Tensor) and not result.requires_grad
    rows = TensorDataset(tg.from_numpy(x), tg.zeros(50))
    for data in (rows, DataLoader(rows, batch_size=8), [(tg.from_numpy(x), 0)], [tg.from_numpy(x)]):
        np.testing.assert_allclose(tg.predict(model, data).numpy(), expected, rtol=1e-6)
    once = (tg.from_numpy(x[i : i + 8]) for i in range(0, 50, 8))
    np.testing.assert_allclose(tg.predict(model, once).numpy(), expected, rtol=1e-6)
    assert tg.predict(model, x[:0]).shape == (0, 3)
    for bad, error in (
        ((x, x), TypeError),
        (3, TypeError),
        (np.float32(1.0), ValueError),
        (tg.tensor(1.0), ValueError),
        ([], ValueError),
    ):
        with pytest.raises(error):
            tg.predict(model, bad)


def test_predict_of_several_outputs():
    class Two(nn.Module):
        def forward(self, x):
            return {"sum": x.sum(1), "parts": (x, -x)}

    x = np.arange(12, dtype=np.float32).reshape(6, 2)
    result = tg.predict(Two(), x, batch_size=4)
    np.testing.assert_array_equal(result["sum"], x.sum(1))
    np.testing.assert_array_equal(result["parts"][1], -x)


class _Stream(Dataset):
    def __init__(self, x, y, w):
        self.parts = x, y, w

    def __len__(self):
        return len(self.parts[0])

    def __getitem__(self, i):
        return tuple(part[i] for part in self.parts)


def test_weights_in_batches_of_any_source():
    x, y = _classes(24)
    w = np.random.RandomState(1).rand(24).astype(np.float32)
    results = []
    for train in ((x, y, w), _Stream(x, y, w), DataLoader(_Stream(x, y, w), batch_size=8)):
        model = _model()
        _fit(model, train, batch_size=8)
        results.append(_weights(model))
    _assert_close(results[0], results[1], 1e-6)
    _assert_close(results[0], results[2], 1e-6)
