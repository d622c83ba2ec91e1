"""fit() through captured steps: the same numbers as without, and what happens where a step cannot be captured."""

import math
import signal
import threading
import warnings

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.utils.data import DataLoader, Dataset, Subset, TensorDataset, random_split


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def threads():
    before = tg.get_num_threads()
    yield tg.set_num_threads
    tg.set_num_threads(before)


def _data(n=70, classes=True):
    random = np.random.RandomState(0)
    x = random.randn(n, 4).astype(np.float32)
    y = random.randint(0, 3, n) if classes else random.randn(n, 2).astype(np.float32)
    return tg.from_numpy(x), tg.from_numpy(y)


class _Centred(nn.Module):
    """Takes off a running mean, which it learns in training."""

    def __init__(self, n):
        super().__init__()
        self.register_buffer("mean", tg.zeros(n))

    def forward(self, x):
        if self.training:
            with tg.no_grad():
                self.mean.mul_(0.9).add_(x.mean(0) * 0.1)
        return x - self.mean.clone()


def _model(outputs=3, dropout=0.0, centred=False):
    layers = [nn.Linear(4, 16), nn.ReLU()]
    layers += [_Centred(16)] if centred else []
    layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Linear(16, outputs))


def _run(train, compile, *, model=_model, seed=1, **options):
    """What a fit leaves behind: history, tensors of the model, state of the default stream."""
    tg.manual_seed(seed)
    net = model()
    settings = {"loss": "cross_entropy", "optimizer": "adam", "epochs": 3, "batch_size": 16, "progress": False}
    train = train() if callable(train) else train
    history = tg.fit(net, train, compile=compile, **{**settings, **options})
    columns = {k: v for k, v in history.to_dict().items() if k != "seconds"}
    return columns, [t.numpy().copy() for t in net.state_dict().values()], tg.rand(4).numpy()


def _same(a, b):
    assert a[0] == b[0]
    for x, y in zip(a[1], b[1], strict=True):
        np.testing.assert_array_equal(x, y)
    np.testing.assert_array_equal(a[2], b[2])


def _spread(output, target):
    return output.abs().max() - target.abs().min()


def _largest(output, target):
    return float(output.max())


def _own_loss(output, target):
    return nn.functional.cross_entropy(output, target) + 0.01 * output.square().mean()


def _loader(**options):
    def make():
        generator = tg.Generator().manual_seed(5)
        return DataLoader(TensorDataset(*_data()), batch_size=16, shuffle=True, generator=generator, **options)

    return make


CASES = {
    "plain": (_data(), {}),
    "in order": (_data(), {"shuffle": False}),
    "full batches": (_data(64), {}),
    "one batch": (_data(16), {}),
    "sgd": (_data(), {"optimizer": "sgd", "lr": 0.1}),
    "accuracy and validation": (_data(), {"metrics": "accuracy", "validation": _data(50)}),
    "callable metrics": (_data(), {"metrics": ["accuracy", _spread, _largest], "validation": _data(50)}),
    "captured metric": (_data(), {"metrics": [_spread, "accuracy"]}),
    "dropout": (_data(), {"model": lambda: _model(dropout=0.4), "validation": _data(20)}),
    "buffer": (_data(), {"model": lambda: _model(centred=True), "validation": _data(20)}),
    "errors": (
        _data(classes=False),
        {
            "model": lambda: _model(2), "loss": "mse", "metrics": ["mae", "mse", "rmse", "r2"],
            "validation": _data(9, False),
        },
    ),
    "sum": (_data(classes=False), {"model": lambda: _model(2), "loss": nn.MSELoss(reduction="sum"), "lr": 1e-4}),
    "own loss": (_data(), {"loss": _own_loss}),
    "generator": (_loader(), {}),
    "drop_last": (_loader(drop_last=True), {}),
    "split": (lambda: random_split(TensorDataset(*_data()), [50, 20])[0], {}),
    "subset in order": (Subset(TensorDataset(*_data()), [3, 1, 4, 1, 5, -9, 2]), {"batch_size": 3, "shuffle": False}),
    "nested subset": (Subset(Subset(TensorDataset(*_data()), range(10, 60)), range(0, 40, 2)), {"batch_size": 8}),
    "list of batches": ([_data(8), _data(8), _data(5)], {}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_numbers_of_an_uncompiled_fit(name, threads):
    train, options = CASES[name]
    results = []
    for compile in (False, True, "auto"):
        for count in (1, 2, 3):
            threads(count)
            results.append(_run(train, compile, **options))
    for other in results[1:]:
        _same(results[0], other)


def test_generator_of_the_loader_goes_on_alike():
    draws = []
    for compile in (False, True):
        loader = _loader()()
        _run(loader, compile)
        draws.append(tg.rand(5, generator=loader.generator).numpy())
    np.testing.assert_array_equal(*draws)


def test_on_epoch_changes_rate_dropout_and_loss():
    results = []
    for compile in (False, True):
        tg.manual_seed(0)
        model, weight = _model(dropout=0.5), [1.0]
        optimizer = optim.Adam(model.parameters(), lr=0.01)

        def step(history, model=model, weight=weight, optimizer=optimizer):
            optimizer.param_groups[0]["lr"] *= 0.5
            model[2].p *= 0.5
            weight[0] += 1

        history = tg.fit(
            model, _data(), loss=lambda o, t, w=weight: nn.functional.cross_entropy(o, t) * w[0], optimizer=optimizer,
            epochs=4, batch_size=16, progress=False, on_epoch=step, compile=compile,
        )  # fmt: skip
        results.append((history["loss"], model[0].weight.detach().numpy().copy()))
    assert results[0][0] == results[1][0]
    np.testing.assert_array_equal(results[0][1], results[1][1])


def test_most_steps_run_no_python():
    calls = []

    class Spy(nn.Linear):
        def forward(self, x):
            calls.append(len(x))
            return super().forward(x)

    options = {"loss": "cross_entropy", "optimizer": "adam", "epochs": 5, "batch_size": 16, "progress": False}
    tg.fit(Spy(4, 3), _data(), **options, metrics=["accuracy", _spread], validation=_data(40))
    assert len(calls) < 10


class _Reads(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        y = self.linear(x)
        return y if y.sum().item() > 0 else -y


def test_a_step_that_cannot_be_captured():
    expected = _run(_data(), False, model=_Reads, validation=_data(30))
    with pytest.warns(RuntimeWarning, match=r"fit: the value of a tensor .* is read by item\(\) at .*test_fit") as seen:
        got = _run(_data(), "auto", model=_Reads, validation=_data(30))
    assert len(seen) == 1
    _same(expected, got)
    with pytest.raises(tg.CaptureError, match=r"item\(\)"):
        _run(_data(), True, model=_Reads)


def test_an_optimizer_of_the_users_own_runs_as_it_is():
    class Decaying(optim.Optimizer):
        def __init__(self, params):
            super().__init__(params, {"lr": 0.1})
            self.count = 0

        def _update(self, group, params, grads):
            self.count += 1
            for p, g in zip(params, grads, strict=True):
                p.data.sub_(g * (group["lr"] / self.count))

    results = []
    for compile in (False, "auto"):
        tg.manual_seed(0)
        model = _model()
        optimizer = Decaying(model.parameters())
        options = {"loss": "cross_entropy", "epochs": 2, "batch_size": 16, "progress": False}
        results.append(tg.fit(model, _data(), optimizer=optimizer, compile=compile, **options)["loss"])
        assert optimizer.count == 10
    assert results[0] == results[1]


@pytest.mark.parametrize("bad", [0, 33, 69])
@pytest.mark.parametrize("epoch", [1, 3])
def test_a_loss_that_is_not_finite_stops_before_the_step(bad, epoch):
    results = []
    for compile in (False, True):
        tg.manual_seed(0)
        x, y = _data()
        x = x.clone()
        model = _model()

        def spoil(history, x=x):
            if len(history) == epoch - 1:
                x[bad, 1] = math.nan

        if epoch == 1:
            spoil([])
        with pytest.raises(
            FloatingPointError, match=rf"nan at epoch {epoch}, step {bad // 16 + 1}: the inputs"
        ) as info:
            tg.fit(
                model, (x, y), loss="cross_entropy", optimizer="adam", epochs=5, batch_size=16, shuffle=False,
                progress=False, on_epoch=spoil, compile=compile,
            )  # fmt: skip
        assert len(info.value.history) == epoch - 1
        assert all(p.grad is None for p in model.parameters())
        results.append([p.detach().numpy().copy() for p in model.parameters()])
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_divergence_in_the_middle_of_an_epoch():
    results = []
    for compile in (False, True):
        tg.manual_seed(0)
        model = _model(2)
        with pytest.raises(FloatingPointError, match=r"loss is (inf|nan) at epoch \d, step \d+ \(lr") as info:
            tg.fit(
                model, _data(classes=False), loss="mse", optimizer="sgd", lr=2e3, epochs=9, batch_size=4,
                progress=False, compile=compile,
            )  # fmt: skip
        results.append((str(info.value), info.value.history["loss"], [p.detach().numpy() for p in model.parameters()]))
    assert results[0][:2] == results[1][:2]
    for a, b in zip(results[0][2], results[1][2], strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_label_out_of_range_stops_before_the_step():
    x, y = _data()
    y = y.clone()
    y[60] = 7
    results = []
    for compile in (False, True):
        tg.manual_seed(0)
        model = _model()
        with pytest.raises(Exception, match="7") as info:
            tg.fit(model, (x, y), loss="cross_entropy", optimizer="adam", epochs=1, batch_size=16, shuffle=False,
                   progress=False, compile=compile)  # fmt: skip
        results.append((info.type, str(info.value), [p.detach().numpy() for p in model.parameters()]))
    assert results[0][:2] == results[1][:2]
    for a, b in zip(results[0][2], results[1][2], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture
def interruptible():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs signals to a thread")
def test_ctrl_c_in_the_middle_of_a_long_epoch(interruptible):
    random = np.random.RandomState(0)
    x, y = random.randn(200_000, 4).astype(np.float32), random.randint(0, 3, 200_000)
    model, main = _model(), threading.main_thread().ident
    model.eval()
    options = {"loss": "cross_entropy", "optimizer": "adam", "progress": False}
    presser = threading.Timer(0.3, lambda: signal.pthread_kill(main, signal.SIGINT))
    presser.start()
    history = tg.fit(model, (x, y), epochs=1000, batch_size=8, **options)
    presser.join()
    assert history.interrupted and not model.training
    assert math.isfinite(history["loss"][-1]) and history["steps"][-1] > 2
    again = tg.fit(model, _data(), epochs=2, **options)
    assert len(again) == 2 and math.isfinite(again["loss"][-1])
    nn.functional.cross_entropy(model(_data()[0]), _data()[1]).backward()
    assert model[0].weight.grad is not None


def test_gradients_are_none_afterwards():
    model = _model()
    tg.fit(model, _data(), loss="cross_entropy", optimizer="adam", epochs=1, progress=False)
    assert all(p.grad is None for p in model.parameters())


def test_optimizer_state_can_be_saved_and_goes_on():
    states = []
    for compile in (False, True):
        tg.manual_seed(0)
        model = _model()
        optimizer = optim.Adam(model.parameters(), lr=0.01)
        for _ in range(2):
            tg.fit(model, _data(), loss="cross_entropy", optimizer=optimizer, epochs=2, progress=False, compile=compile)
            optimizer.load_state_dict(optimizer.state_dict())
        states.append(optimizer.state_dict()["state"])
    for number, state in states[0].items():
        for key, value in state.items():
            np.testing.assert_array_equal(value.numpy(), states[1][number][key].numpy())


def test_data_that_other_code_changes_between_epochs():
    results = []
    for compile in (False, True):
        tg.manual_seed(0)
        x, y = (t.clone() for t in _data())
        history = tg.fit(_model(), (x, y), loss="cross_entropy", optimizer="adam", epochs=4, batch_size=16,
                         progress=False, compile=compile, on_epoch=lambda h, x=x: x.mul_(0.9))  # fmt: skip
        results.append(history["loss"])
    assert results[0] == results[1]


def test_a_model_that_writes_into_its_batch_leaves_the_data_alone():
    class Scales(nn.Linear):
        def forward(self, x):
            with tg.no_grad():
                x.mul_(0.5)
            return super().forward(x)

    x, y = _data()
    before = x.numpy().copy()
    results = [_run((x, y), c, model=lambda: Scales(4, 3), shuffle=False) for c in (False, True)]
    np.testing.assert_array_equal(x.numpy(), before)
    _same(*results)


def test_samples_from_a_data_set_of_the_users_own():
    class Rows(Dataset):
        def __len__(self):
            return 40

        def __getitem__(self, i):
            return tuple(t[i] for t in _data(40))

    _same(_run(Rows(), False), _run(Rows(), True))


def test_progress_bar_counts_every_sample(monkeypatch):
    import io
    import sys

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    _run(_data(), True, progress=True)
    assert "210/210" in sys.stderr.getvalue()


def test_compile_is_checked():
    with pytest.raises(ValueError, match="compile must be True, False or"):
        _run(_data(), "yes")
