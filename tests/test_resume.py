"""fit(resume=): the bits of a run that was never interrupted, wherever it was saved, stopped or killed."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn
from tapegrad.callbacks import Callback, EarlyStopping, LRScheduler, ModelCheckpoint
from tapegrad.optim import lr_scheduler
from tapegrad.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

EPOCHS = 4


def _data(n=70):
    random = np.random.RandomState(0)
    x = random.randn(n, 4).astype(np.float32)
    return x, (x[:, 0] > 0).astype(np.int64) + (x[:, 1] > 0)


class _Rows(Dataset):
    def __init__(self):
        self.x, self.y = map(tg.from_numpy, _data())

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class _Stream(IterableDataset):
    def __iter__(self):
        return iter([_Rows()[i] for i in range(70)])


class _Shuffled:
    """Batches of one's own, in an order that the default generator draws in each pass."""

    def __iter__(self):
        rows = _Rows()
        for part in tg.randperm(70).split(16):
            yield rows.x[part], rows.y[part]


def _loader(**options):
    generator = tg.Generator().manual_seed(5)
    return DataLoader(TensorDataset(*map(tg.from_numpy, _data())), shuffle=True, generator=generator, **options)


SOURCES = {
    "arrays": _data,
    "weights": lambda: (*_data(), np.random.RandomState(1).rand(70)),
    "loader with a generator": lambda: _loader(batch_size=16),
    "drop_last": lambda: _loader(batch_size=16, drop_last=True),
    "samples": _Rows,
    "workers": lambda: DataLoader(_Rows(), batch_size=16, shuffle=True, num_workers=2),
    "stream": _Stream,
    "batches of one's own": _Shuffled,
}
OPTIONS = {
    "plain": {},
    "captured": {"compile": True},
    "not captured": {"compile": False},
    "sgd and weights of classes": {"optimizer": "sgd", "lr": 0.1, "class_weight": {0: 2.0}},
    "accumulated": {"accumulate": 3},
    "validation": {"validation": _data(20), "metrics": ["accuracy", "mae"]},
    "share": {"validation": 0.2, "metrics": ["accuracy", "f1", "auc"]},
}


def _model():
    return nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))


def _spread(output, target):
    return output.abs().max()


class _SaveAt(Callback):
    """Saves the run after a step of it."""

    recapture = False

    def __init__(self, path, step):
        self.path, self.at = path, step

    def on_step(self, run):
        if run.step == self.at:
            run.save(self.path)


def _schedule():
    return LRScheduler(lambda optimizer: lr_scheduler.StepLR(optimizer, 3, gamma=0.9), every="step")


def _run(train, *, callbacks=(), resume=None, **options):
    """What a run leaves behind: weights and buffers, history, the default stream."""
    if resume is None or not os.path.exists(resume):
        tg.manual_seed(1)
    else:
        tg.manual_seed(99)  # what the file holds decides
    model = _model()
    if options.get("metrics") and "mae" in options["metrics"]:
        options["metrics"] = ["accuracy", _spread]
    settings = {"loss": "cross_entropy", "optimizer": "adam", "epochs": EPOCHS, "batch_size": 16, "progress": False}
    history = tg.fit(model, train(), callbacks=list(callbacks), resume=resume, **{**settings, **options})
    columns = {k: v for k, v in history.to_dict().items() if k != "seconds"}
    return [t.numpy().copy() for t in model.state_dict().values()], columns, tg.rand(3).numpy()


def _assert_same(a, b):
    for x, y in zip(a[0], b[0], strict=True):
        np.testing.assert_array_equal(x, y)
    assert repr(a[1]) == repr(b[1])  # nan is like nan
    np.testing.assert_array_equal(a[2], b[2])


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("source", ["arrays", "samples"])
def test_every_kind_of_step_goes_on_with_the_same_bits(source, options, tmp_path):
    _compare(SOURCES[source], OPTIONS[options], tmp_path)


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_of_batches_goes_on_with_the_same_bits(source, tmp_path):
    _compare(SOURCES[source], {"metrics": "accuracy"}, tmp_path)


def _compare(train, options, tmp_path):
    whole = _run(train, callbacks=[_schedule()], **options)
    steps = sum(whole[1]["steps"])
    per_epoch = whole[1]["steps"][0]
    for step in sorted({1, 2, per_epoch - 1, per_epoch, per_epoch + 1, 2 * per_epoch, steps - 1, steps}):
        path = tmp_path / f"{step}.safetensors"
        again = _run(train, callbacks=[_schedule(), _SaveAt(path, step)], **options)
        _assert_same(whole, again)  # saving changes nothing
        _assert_same(whole, _run(train, callbacks=[_schedule(), _SaveAt(path, -1)], resume=path, **options))


def test_a_run_that_is_over_goes_on_to_more_epochs(tmp_path):
    path = tmp_path / "run.safetensors"
    whole = _run(_data)
    short = _run(_data, callbacks=[ModelCheckpoint(path)], epochs=2)
    assert len(short[1]["loss"]) == 2
    unchanged = _run(_data, callbacks=[ModelCheckpoint(path)], epochs=2, resume=path)
    _assert_same(short, unchanged)
    _assert_same(whole, _run(_data, callbacks=[ModelCheckpoint(path)], resume=path))


def test_a_time_limit_in_the_middle_of_an_epoch(tmp_path):
    path = tmp_path / "run.safetensors"
    whole = _run(_data, callbacks=[EarlyStopping("loss", patience=99)])

    class Late(Callback):
        recapture = False

        def on_step(self, run):
            if run.step == 7:
                time.sleep(0.05)

    def callbacks():
        return [Late(), EarlyStopping("loss", patience=99), ModelCheckpoint(path)]

    limited = _run(_data, callbacks=callbacks(), max_seconds=0.04, resume=path)
    state = tg.load(path)
    assert sum(limited[1]["steps"]) == state["step"] <= 7 and state["totals"] is not None
    _assert_same(whole, _run(_data, callbacks=callbacks(), resume=path))


def test_early_stopping_goes_on_counting_and_restores_the_best(tmp_path):
    path = tmp_path / "run.safetensors"
    options = {"validation": _data(20), "epochs": 30, "lr": 0.3}

    def callbacks(*others):
        return [EarlyStopping(patience=2, restore_best=True), *others]

    whole = _run(_data, callbacks=callbacks(), **options)
    epochs = len(whole[1]["loss"])
    assert 3 <= epochs < 30
    for epoch in range(1, epochs + 1):
        _run(_data, callbacks=callbacks(ModelCheckpoint(path)), **{**options, "epochs": epoch})
        _assert_same(whole, _run(_data, callbacks=callbacks(ModelCheckpoint(path)), resume=path, **options))


def test_what_does_not_fit_the_file(tmp_path):
    path = tmp_path / "run.safetensors"
    _run(_data, callbacks=[ModelCheckpoint(path)], epochs=1)
    with pytest.raises(ValueError, match=r"had the callbacks \['ModelCheckpoint'\], this one has \[\]"):
        _run(_data, resume=path)
    with pytest.raises(ValueError, match="recorded loss, seconds, steps; this one would record loss, accuracy"):
        _run(_data, callbacks=[ModelCheckpoint(path)], resume=path, metrics="accuracy")
    with pytest.raises(ValueError, match="had the optimizer Adam, this one has SGD"):
        _run(_data, callbacks=[ModelCheckpoint(path)], resume=path, optimizer="sgd")
    with pytest.raises(ValueError, match="batch_size was 16 when saved, this loader has 8"):
        _run(_data, callbacks=[ModelCheckpoint(path)], resume=path, batch_size=8)
    with pytest.raises(ValueError, match="DataLoader"):
        _run(_Shuffled, callbacks=[ModelCheckpoint(path)], resume=path)
    tg.save(_model().state_dict(), path)
    with pytest.raises(ValueError, match=r"run\.safetensors: not the state of a run of fit\(\)"):
        _run(_data, callbacks=[ModelCheckpoint(path)], resume=path)
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"run\.safetensors"):
        _run(_data, callbacks=[ModelCheckpoint(path)], resume=path)


CHILD = """
import sys
import numpy as np
import tapegrad as tg
from tapegrad import callbacks, nn
from tapegrad.optim import lr_scheduler

path, out, threads = sys.argv[1:]
tg.set_num_threads(int(threads))
tg.manual_seed(3)
x = tg.randn(400, 20)
y = x[:, :3].argmax(1)
model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 3))
first = callbacks.LambdaCallback(on_step=lambda run: print("step", run.step, flush=True))
first.recapture = False
history = tg.fit(
    model, (x, y), loss="cross_entropy", optimizer="adamw", epochs=12, batch_size=16, validation=0.1, progress=False,
    metrics=["accuracy", "auc"], resume=path,
    callbacks=[
        first, callbacks.GradientClipping(max_norm=1.0), callbacks.EarlyStopping(patience=50),
        callbacks.LRScheduler(lambda o: lr_scheduler.OneCycleLR(o, 0.01, total_steps=300), every="step"),
        callbacks.ModelCheckpoint(path, every=1),
    ],
)
tg.save({"model": model.state_dict(), "loss": history["loss"], "auc": history["val_auc"]}, out)
"""


def _child(folder, name, threads=2):
    arguments = [sys.executable, "-c", CHILD, str(folder / f"{name}.run"), str(folder / f"{name}.out"), str(threads)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_killed_at_twenty_moments(tmp_path):
    process = _child(tmp_path, "whole")
    assert process.communicate(timeout=100) and process.returncode == 0
    expected = tg.load(tmp_path / "whole.out")
    seed = random.randrange(2**32)
    draw = random.Random(seed)
    kills = runs = 0
    while kills < 20:
        runs += 1
        while True:
            process = _child(tmp_path, f"run{runs}", threads=1 + (kills + runs) % 3)
            process.stdout.readline()  # it has begun
            time.sleep(draw.random() * 0.15)
            process.kill()
            process.communicate(timeout=100)
            if process.returncode == 0:
                break
            assert process.returncode == -signal.SIGKILL, f"seed {seed}"
            kills += 1
        found = tg.load(tmp_path / f"run{runs}.out")
        assert found["loss"] == expected["loss"] and found["auc"] == expected["auc"], f"seed {seed}"
        for name, value in expected["model"].items():
            np.testing.assert_array_equal(found["model"][name].numpy(), value.numpy(), err_msg=f"{name}, seed {seed}")
