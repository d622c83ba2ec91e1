"""fit() beyond the plain loop: accumulation, hooks, splits, time limits, losses and optimizers by name, predict()."""

import math
import time

import numpy as np
import pytest

import tapegrad as tg
from fitting import CAPTURED, assert_close, classes, make_model, short_fit, weights_of
from tapegrad import callbacks, nn, optim
from tapegrad.utils.data import DataLoader, TensorDataset


@pytest.mark.parametrize("compile", CAPTURED)
@pytest.mark.parametrize("loss", ["mse", nn.MSELoss(reduction="sum")])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_accumulated_batches_are_one_large_batch(compile, loss, optimizer):
    random = np.random.RandomState(0)
    x, y = random.randn(50, 4), random.randn(50, 2)
    model, other = make_model(outputs=2, dtype=tg.float64), make_model(outputs=2, dtype=tg.float64)
    options = {"loss": loss, "optimizer": optimizer, "lr": 0.01, "epochs": 3, "compile": compile}
    history = short_fit(model, (x, y), batch_size=4, accumulate=4, **options)
    large = short_fit(other, (x, y), batch_size=16, **options)
    assert_close(weights_of(model), weights_of(other), 1e-10)
    assert history["steps"] == large["steps"] == [4, 4, 4]  # 16 16 16 2
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("compile", CAPTURED)
def test_accumulated_gradients_that_a_hook_replaces(compile):
    def halve(run):
        for p in run.model.parameters():
            p.grad = p.grad * 0.5

    model, other = make_model(dtype=tg.float64), make_model(dtype=tg.float64)
    x, y = classes()
    hook = callbacks.LambdaCallback(on_gradients=halve)
    short_fit(
        model, (x.astype(np.float64), y), batch_size=5, accumulate=4, compile=compile and "auto", callbacks=[hook]
    )
    short_fit(other, (x.astype(np.float64), y), batch_size=20, lr=0.05)
    assert_close(weights_of(model), weights_of(other), 1e-10)


def test_accumulate_has_the_bits_of_its_uncompiled_self_at_any_number_of_threads():
    results = []
    for compile in CAPTURED:
        for threads in (1, 2, 3):
            with tg.threads(threads):
                model = make_model()
                short_fit(model, classes(), batch_size=7, accumulate=3, compile=compile, optimizer="adam", shuffle=True)
                results.append(weights_of(model))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("compile", CAPTURED)
def test_hooks_at_gradients_and_steps(compile):
    seen, model = [], make_model()

    def halve(run):
        for p in run.model.parameters():
            p.grad.mul_(0.5)

    def note(run):
        seen.append((run.epoch, run.step, run.loss))

    hooks = callbacks.LambdaCallback(on_gradients=halve, on_step=note)
    history = short_fit(model, classes(), batch_size=16, compile=compile, callbacks=[hooks])
    other = make_model()
    short_fit(other, classes(), batch_size=16, lr=0.05)
    assert_close(weights_of(model), weights_of(other), 1e-6)
    assert [entry[:2] for entry in seen] == [(1 + i // 4, i + 1) for i in range(8)]
    sizes = np.array([16, 16, 16, 12])
    assert history["loss"][0] == pytest.approx(np.dot([s[2] for s in seen[:4]], sizes) / 60)


def test_hooks_come_in_order_and_know_where_they_are():
    seen = []
    hooks = {name: lambda run, name=name: seen.append((name, run.epoch, len(run.history))) for name in (
        "on_fit_begin", "on_epoch_begin", "on_epoch_end", "on_fit_end")}  # fmt: skip
    history = short_fit(make_model(), classes(), callbacks=callbacks.LambdaCallback(**hooks))
    expected = [("on_fit_begin", 0, 0), ("on_epoch_begin", 1, 0), ("on_epoch_end", 1, 1)]
    assert seen == [*expected, ("on_epoch_begin", 2, 1), ("on_epoch_end", 2, 2), ("on_fit_end", 2, 2)]
    assert history.stopped is None
    with pytest.raises(TypeError, match=r"callbacks must be objects of tapegrad\.callbacks\.Callback, got 3"):
        short_fit(make_model(), classes(), callbacks=[3])


@pytest.mark.parametrize("compile", CAPTURED)
def test_stop_at_a_step_and_at_an_epoch(compile):
    def stopping(hook, **where):
        def stop(run):
            if all(getattr(run, name) == value for name, value in where.items()):
                run.stop("enough")

        return {"callbacks": [callbacks.LambdaCallback(**{hook: stop})], "epochs": 9, "compile": compile}

    for accumulate, steps in ((1, [8, 6]), (2, [4, 2])):
        options = stopping("on_step", step=sum(steps))
        history = short_fit(
            make_model(), classes(), batch_size=8, accumulate=accumulate, validation=classes(20), **options
        )
        assert history["steps"] == steps and history.stopped == "enough" and not history.interrupted
        assert math.isnan(history["val_loss"][-1])
    history = short_fit(make_model(), classes(), **stopping("on_epoch_end", epoch=3))
    assert len(history) == 3 and history.stopped == "enough"


@pytest.mark.parametrize("compile", CAPTURED)
def test_max_seconds(compile):
    start = time.perf_counter()
    history = short_fit(make_model(), classes(), epochs=10**9, max_seconds=0.2, compile=compile)
    assert 0.2 <= time.perf_counter() - start < 60
    assert history.stopped == "max_seconds are over" and 0 < len(history) < 10**6
    with pytest.raises(ValueError, match="max_seconds must be positive"):
        short_fit(make_model(), classes(), max_seconds=0)


def test_on_divergence_ends_quietly():
    quiet = callbacks.LambdaCallback(on_divergence=lambda run: True)
    x, _ = classes()
    history = short_fit(nn.Linear(4, 1), (x, x[:, :1]), loss="mse", lr=1e6, epochs=99, batch_size=8, callbacks=[quiet])
    assert "diverged" in history.stopped and len(history) < 99


def test_a_share_for_validation():
    x, y = classes(50)
    seen = []
    for data in ((x, y), (x, y, np.ones(50)), TensorDataset(tg.from_numpy(x), tg.from_numpy(y))):
        model = make_model()
        tg.manual_seed(7)
        history = short_fit(model, data, validation=0.25, batch_size=8, metrics="accuracy")
        seen.append((history["val_loss"], history["val_accuracy"], history["steps"]))
    assert seen[0] == seen[2]
    assert seen[1] == (pytest.approx(seen[0][0]), *seen[0][1:])  # weights of 1 are summed in another order
    assert seen[0][2] == [5, 5]  # 37 samples
    tg.manual_seed(7)
    held_out = tg.randperm(50)[37:]
    expected = tg.evaluate(model, (x[held_out.numpy()], y[held_out.numpy()]), loss="cross_entropy", metrics="accuracy")
    assert seen[2][0][-1] == pytest.approx(expected["loss"]) and seen[2][1][-1] == expected["accuracy"]
    with pytest.raises(ValueError, match="validation=1 of 50 samples leaves none"):
        short_fit(model, (x, y), validation=1)
    with pytest.raises(TypeError, match="takes a share of a Dataset or of a pair"):
        short_fit(model, DataLoader(TensorDataset(tg.from_numpy(x), tg.from_numpy(y))), validation=0.2)


NAMED = sorted(n for n, kind in vars(optim).items() if isinstance(kind, type) and n != "Optimizer")


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("compile", [False, "auto"])
def test_every_optimizer_by_its_name(name, compile):
    if name == "Muon":
        model = nn.Linear(4, 3, bias=False)  # it takes matrices alone
    else:
        model = make_model()
    x, y = classes(32)
    options = {"batch_size": 32 if name == "LBFGS" else 8, "compile": compile, "epochs": 5}
    history = short_fit(model, (x, y), optimizer=name.lower(), lr=None, **options)
    assert history["loss"][-1] < history["loss"][0]


def test_lbfgs_is_that_of_a_closure():
    x, y = classes(32)
    model, other = make_model(), make_model()
    short_fit(model, (x, y), optimizer="LBFGS", lr=None, batch_size=32)
    optimizer = optim.LBFGS(other.parameters())

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(other(tg.from_numpy(x)), tg.from_numpy(y))
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(closure)
    assert_close(weights_of(model), weights_of(other), 0)
    with pytest.raises(ValueError, match="accumulate does not go with LBFGS"):
        short_fit(model, (x, y), optimizer="lbfgs", lr=None, accumulate=2)


LOSSES = {"bce": 1, "bce_with_logits": 1, "huber": 2, "l1": 2, "mse": 2, "poisson_nll": 2, "smooth_l1": 2, "nll": 3}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_by_name(name):
    width = LOSSES[name]
    x, y = classes(20, width if name == "nll" else 2)
    y = y if name == "nll" else np.stack([y] * width, 1)
    last = {"bce": [nn.Sigmoid()], "nll": [nn.LogSoftmax(dim=1)]}.get(name, [])
    model = nn.Sequential(nn.Linear(4, width), *last)
    history = short_fit(model, (x, y), loss=name, epochs=20)
    assert history["loss"][-1] < history["loss"][0]


def test_predict():
    x, _ = classes(50)
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
