"""fit() and evaluate(): numbers against a loop by hand, modes, Ctrl-C, divergence, bad arguments."""

import io
import math
import subprocess
import sys

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.utils.data import DataLoader, Dataset, TensorDataset


def _line(n=10, seed=0):
    random = np.random.RandomState(seed)
    x = random.randn(n, 3).astype(np.float32)
    return x, (x @ np.array([[1.0], [-2.0], [0.5]], np.float32) + 3)


def _classes(n=60):
    random = np.random.RandomState(0)
    y = random.randint(0, 3, n)
    x = random.randn(n, 4).astype(np.float32)
    x[:, :3] += 4 * np.eye(3, dtype=np.float32)[y]
    return x, y


def _fit(model, train, **options):
    settings = {"loss": "mse", "optimizer": "sgd", "lr": 0.1, "epochs": 2, "progress": False, **options}
    return tg.fit(model, train, **settings)


def test_fit_is_the_function():
    import tapegrad.fit  # must not put the module in place of the function

    assert callable(tg.fit) and tapegrad.fit is tg.fit


def test_same_numbers_as_a_loop_by_hand():
    x, y = _line(10)
    tg.manual_seed(3)
    model = nn.Linear(3, 1)
    history = _fit(model, (x, y), batch_size=4, shuffle=False, metrics=["mae", "r2"], validation=(x[:5], y[:5]))

    tg.manual_seed(3)
    other = nn.Linear(3, 1)
    optimizer = optim.SGD(other.parameters(), lr=0.1)
    for epoch in range(2):
        total = 0.0
        outputs = []
        for start in (0, 4, 8):
            xb, yb = (tg.from_numpy(a[start : start + 4].copy()) for a in (x, y))
            optimizer.zero_grad()
            output = other(xb)
            loss = nn.functional.mse_loss(output, yb)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(xb)
            outputs.append(output.detach().numpy().copy())
        outputs = np.concatenate(outputs).astype(np.float64)
        assert history["loss"][epoch] == pytest.approx(total / 10, rel=1e-6)
        assert history["mae"][epoch] == pytest.approx(np.abs(outputs - y).mean(), rel=1e-6)
        r2 = 1 - np.square(outputs - y).sum() / np.square(y - y.mean()).sum()
        assert history["r2"][epoch] == pytest.approx(r2, rel=1e-5)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    with tg.no_grad():
        expected = np.square(other(tg.from_numpy(x[:5])).numpy() - y[:5]).mean()
    assert history["val_loss"][-1] == pytest.approx(expected, rel=1e-5)
    assert history["steps"] == [3, 3] and len(history) == 2
    assert all(seconds > 0 for seconds in history["seconds"])
    assert history.names == ["loss", "mae", "r2", "val_loss", "val_mae", "val_r2", "seconds", "steps"]


def test_learns_to_classify_and_repeats_bit_for_bit():
    x, y = _classes()
    losses = []
    for _ in range(2):
        tg.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
        history = _fit(
            model, (x, y), loss="cross_entropy", optimizer="adam", lr=0.02, epochs=15, metrics="accuracy", batch_size=16
        )
        losses.append(history["loss"])
    assert history["accuracy"][-1] > 0.95
    assert losses[0] == losses[1]
    measured = tg.evaluate(model, (x, y), loss="cross_entropy", metrics="accuracy")
    predicted = model(tg.from_numpy(x)).detach().numpy().argmax(1)
    assert measured["accuracy"] == pytest.approx((predicted == y).mean())


def test_kinds_of_training_data():
    x, y = (tg.from_numpy(a) for a in _line(8))

    class Rows(Dataset):
        def __len__(self):
            return 8

        def __getitem__(self, i):
            return x[i], y[i]

    kinds = [
        (x, y),
        (x.numpy(), y.numpy()),
        (x.numpy().astype(np.float64), y.numpy().astype(np.float64)),
        TensorDataset(x, y),
        Rows(),
        DataLoader(TensorDataset(x, y), batch_size=4),
        [(x[:4], y[:4]), (x[4:], y[4:])],
    ]
    losses = []
    for train in kinds:
        tg.manual_seed(0)
        losses.append(_fit(nn.Linear(3, 1), train, batch_size=4, shuffle=False)["loss"])
    for other in losses[1:]:
        assert other == pytest.approx(losses[0], rel=1e-6)


def test_arrays_take_the_dtype_of_the_parameters():
    x, y = _line(6)
    history = _fit(nn.Linear(3, 1).double(), (x, (10 * y).astype(np.int64)))
    assert math.isfinite(history["loss"][-1])


def test_a_loss_that_sums_is_still_a_mean_per_sample():
    x, y = _line(10)
    tg.manual_seed(0)
    mean = _fit(nn.Linear(3, 1), (x, y), optimizer="sgd", lr=0.0, epochs=1)["loss"]
    tg.manual_seed(0)
    total = _fit(nn.Linear(3, 1), (x, y), loss=nn.MSELoss(reduction="sum"), lr=0.0, epochs=1)["loss"]
    assert total == pytest.approx(mean, rel=1e-5)


def test_modes_during_and_after():
    seen = []

    class Spy(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 1)
            self.dropout = nn.Dropout(0.5)

        def forward(self, x):
            seen.append((self.training, self.dropout.training, tg.is_grad_enabled()))
            return self.linear(x)

    model = Spy()
    model.dropout.eval()
    data = _line(4)
    _fit(model, data, epochs=1, validation=data)
    assert seen == [(True, True, True), (False, False, False)]
    assert model.training and not model.dropout.training
    model.eval()
    tg.evaluate(model, data, loss="mse")
    assert not model.training


def test_ctrl_c_returns_what_there_is():
    x, y = _line(12)
    steps = 0

    def loss(output, target):
        nonlocal steps
        steps += 1
        if steps == 5:
            raise KeyboardInterrupt
        return nn.functional.mse_loss(output, target)

    model = nn.Linear(3, 1).eval()
    history = _fit(model, (x, y), loss=loss, compile=False, batch_size=4, epochs=9, validation=DataLoader(TensorDataset(
        tg.from_numpy(x), tg.from_numpy(y)), batch_size=12), shuffle=False)  # fmt: skip
    assert history.interrupted and not model.training
    assert len(history) == 1 and history["steps"] == [3]  # validation was the fourth call, the fifth was cut short

    steps = 1
    history = _fit(model, (x, y), loss=loss, compile=False, batch_size=4, epochs=9, shuffle=False, metrics="mae")
    assert history.interrupted and history["steps"] == [3]
    steps = 2
    history = _fit(
        model, (x, y), loss=loss, compile=False, batch_size=4, epochs=9, shuffle=False, metrics="mae", validation=(x, y)
    )
    assert history["steps"] == [2] and math.isnan(history["val_mae"][0]) and math.isfinite(history["mae"][0])
    assert "interrupted" in repr(history)
    assert _fit(model, (x, y))["loss"]  # still usable


def test_ctrl_c_from_on_epoch():
    def stop(history):
        if len(history) == 2:
            raise KeyboardInterrupt

    history = _fit(nn.Linear(3, 1), _line(4), epochs=5, on_epoch=stop)
    assert history.interrupted and len(history) == 2


def test_diverging_loss_names_epoch_and_step():
    x, y = _line(8)
    model = nn.Linear(3, 1).eval()
    with pytest.raises(
        FloatingPointError,
        match=r"loss is (inf|nan) at epoch \d+, step \d.*\(lr is 1e\+06\); training has diverged: try",
    ) as info:
        _fit(model, (x, y), lr=1e6, epochs=100, batch_size=4)
    assert len(info.value.history) >= 1
    assert not model.training


def test_a_last_step_that_diverges_shows_in_the_validation_loss():
    with pytest.raises(
        FloatingPointError, match=r"validation loss is (inf|nan) after epoch 1; training has div"
    ) as info:
        _fit(nn.Linear(3, 1), _line(4), lr=1e30, epochs=1, batch_size=4, validation=_line(4))
    assert len(info.value.history) == 1


def test_nan_in_the_data_is_named():
    x, y = _line(8)
    x[5, 1] = np.nan
    model = nn.Linear(3, 1)
    before = model.weight.detach().numpy().copy()
    with pytest.raises(FloatingPointError, match=r"epoch 1, step 2: the inputs of this batch contain nan or inf"):
        _fit(model, (x, y), lr=0.0, batch_size=4, shuffle=False)
    np.testing.assert_array_equal(model.weight.detach().numpy(), before)
    x, y = _line(8)
    y[2] = np.inf
    with pytest.raises(FloatingPointError, match="step 1: the targets"):
        _fit(nn.Linear(3, 1), (x, y), shuffle=False)


X, Y = _line(4)


@pytest.mark.parametrize(
    ("train", "options", "error", "message"),
    [
        ((X, Y), {"epochs": -1}, ValueError, "epochs must be at least 0, got -1"),
        ((X, Y), {"epochs": 1.5}, TypeError, "epochs must be an integer"),
        ((X, Y), {"epochs": True}, TypeError, "epochs must be an integer"),
        ((X, Y), {"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ((X, Y), {"metrics": ["acuracy"]}, ValueError, "unknown metric 'acuracy'; known metrics: accuracy, precision"),
        ((X, Y), {"metrics": ["mae", "mae"]}, ValueError, "'mae' is taken"),
        ((X, Y), {"metrics": [3]}, TypeError, "a metric is a name or a callable"),
        ((X, Y), {"metrics": {"m": lambda o, t: o - t}}, TypeError, r"must return one number .*, got shape \(4, 1\)"),
        ((X, Y), {"metrics": {"m": lambda o, t: None}}, TypeError, "must return one number for a batch, got None"),
        ((X, Y), {"resume": 3}, TypeError, "PathLike"),
        ((X, Y), {"metrics": "accuracy"}, IndexError, "accuracy: targets must be classes, 0 to 1"),
        ((X, Y), {"loss": "hinge"}, ValueError, "unknown loss 'hinge'; known losses: bce, bce_with_logits, cr"),
        ((X, Y), {"loss": 3}, TypeError, "loss must be a name or a callable"),
        ((X, Y), {"loss": nn.MSELoss(reduction="none")}, ValueError, r"must be a scalar, got shape \(4, 1\)"),
        ((X, Y), {"optimizer": "adan"}, ValueError, "unknown optimizer 'adan'; known optimizers: .*lion"),
        ((X, Y), {"loss": nn.MSELoss}, TypeError, r"got a class: pass MSELoss\(\)"),
        ((X, Y), {"loss": lambda output, target: 1.0}, TypeError, "the loss must be a scalar tensor, .* got 1.0"),
        ((X, Y), {"optimizer": 1}, TypeError, "optimizer must be a name, or an optimizer"),
        ((X, Y), {"optimizer": optim.Adam}, TypeError, "made with model.parameters"),
        ((X, Y), {"on_epoch": 3}, TypeError, "on_epoch must be a function of the History, got int"),
        ((X, Y), {"validation": math.nan}, ValueError, "validation=nan of 4 samples"),
        ((X[:0], Y[:0]), {}, ValueError, "train has no samples"),
        ((X, Y), {"validation": (X[:0], Y[:0])}, ValueError, "validation has no samples"),
        ((X, Y[:3]), {}, ValueError, r"train: X \(4, 3\) and y \(3, 1\)"),
        ((X, Y, Y), {}, ValueError, r"train: sample_weight must have shape \(4,\), got \(4, 1\)"),
        ((X, Y, [1, 2, 3, 4]), {}, TypeError, r"np.asarray .* a tuple of ndarray, ndarray, list"),
        ((X.tolist(), Y.tolist()), {}, TypeError, "a tuple of list, list"),
        ("data.csv", {}, TypeError, "train must be a DataLoader, .* got str"),
        ([(tg.zeros(3), tg.tensor(1.0))], {}, ValueError, r"samples along its first axis, .* DataLoader\("),
        ((X, Y, -(X[:, 0] ** 2)), {}, ValueError, "sample_weight must be finite numbers of at least 0"),
        (X, {}, TypeError, "train must be a DataLoader, a Dataset or a pair"),
        (iter([]), {}, TypeError, "read only once"),
        ([], {}, ValueError, "train gave no samples"),
        ([X], {}, TypeError, r"a batch must be a pair \(input, target\), or \(.*\), got ndarray"),
        ((X, np.array(list("abcd"))), {}, TypeError, "train y must be an array of numbers"),
    ],
)
def test_bad_arguments(train, options, error, message):
    with pytest.raises(error, match=message):
        _fit(nn.Linear(3, 1), train, **options)


def test_more_bad_arguments():
    with pytest.raises(TypeError, match=r"model must be an nn\.Module, got function"):
        _fit(lambda x: x, (X, Y))
    model = nn.Linear(3, 1)
    with pytest.raises(ValueError, match="lr goes with an optimizer given by name"):
        _fit(model, (X, Y), optimizer=optim.SGD(model.parameters(), lr=0.1), lr=0.1)
    loader = DataLoader(TensorDataset(tg.from_numpy(X), tg.from_numpy(Y)), batch_size=8, drop_last=True)
    with pytest.raises(ValueError, match="drop_last"):
        _fit(model, loader)


def test_an_optimizer_of_another_model_is_told():
    with pytest.warns(UserWarning, match="has none of the model's parameters"):
        other = optim.SGD(nn.Linear(3, 1).parameters(), lr=0.1)
        tg.fit(nn.Linear(3, 1), (X, Y), loss="mse", optimizer=other, epochs=1, progress=False)


def test_none_for_no_metrics_and_no_callbacks():
    history = _fit(nn.Linear(3, 1), (X, Y), metrics=None, callbacks=None, validation=np.float32(0.5))
    assert history.names == ["loss", "val_loss", "seconds", "steps"]


def test_no_epochs():
    history = _fit(nn.Linear(3, 1), (X, Y), epochs=0)
    assert len(history) == 0 and history["loss"] == [] and "loss" in repr(history)


def test_metrics_against_numpy():
    random = np.random.RandomState(0)
    x, y = random.randn(50, 3).astype(np.float32), (1e4 + random.randn(50, 2)).astype(np.float32)
    model = nn.Linear(3, 2)
    with tg.no_grad():
        model.bias.fill_(1e4)
        output = model(tg.from_numpy(x)).numpy().astype(np.float64)

    def largest(output, target):
        return (output - target).abs().max()

    got = tg.evaluate(model, (x, y), loss="mse", metrics=["mae", "mse", "rmse", "r2", largest], batch_size=7)
    error = output - y
    parts = [np.abs(error[i : i + 7]).max() * len(error[i : i + 7]) for i in range(0, 50, 7)]
    spread = np.square(y - y.mean(axis=0, dtype=np.float64)).sum(axis=0)
    assert got["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-9)
    assert got["rmse"] == pytest.approx(math.sqrt(got["mse"]))
    assert got["loss"] == pytest.approx(got["mse"], rel=1e-5)
    assert got["r2"] == pytest.approx((1 - np.square(error).sum(axis=0) / spread).mean(), rel=1e-9)
    assert got["largest"] == pytest.approx(sum(parts) / 50, rel=1e-6)
    constant = tg.evaluate(model, (x, np.ones((50, 2), np.float32)), loss="mse", metrics="r2")
    assert math.isnan(constant["r2"])


def test_accuracy_of_class_probabilities():
    x = np.eye(3, dtype=np.float32)
    model = nn.Linear(3, 3, bias=False)
    with tg.no_grad():
        model.weight.copy_(tg.eye(3))
    target = np.array([[0.9, 0.1, 0], [0.8, 0.2, 0], [0, 0, 1]], np.float32)
    assert tg.evaluate(model, (x, target), loss="mse", metrics="accuracy")["accuracy"] == pytest.approx(2 / 3)


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_bar_only_on_a_terminal(monkeypatch, capsys):
    _fit(nn.Linear(3, 1), _line(8), progress=True)
    assert capsys.readouterr() == ("", "")
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    _fit(nn.Linear(3, 1), _line(8), progress=False)
    assert terminal.getvalue() == ""
    _fit(nn.Linear(3, 1), _line(8), progress=True, batch_size=3)
    assert "epoch" in terminal.getvalue() and "loss=" in terminal.getvalue() and "16.0/16.0" in terminal.getvalue()


def test_tqdm_and_matplotlib_are_not_imported_early():
    code = "import sys, tapegrad; print([m for m in ('tqdm', 'matplotlib', 'safetensors') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
