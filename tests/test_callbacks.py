"""Callbacks: the base class, early stopping and checkpoints."""

import math

import pytest

import tapegrad as tg
from callback_runs import Run
from tapegrad.callbacks import Callback, EarlyStopping, LambdaCallback, ModelCheckpoint, defines

NAN = math.nan


def test_a_lambda_callback_defines_what_it_was_given():
    class Stepping(Callback):
        def on_step(self, run): ...

    callback = LambdaCallback(on_gradients=lambda run: None)
    assert defines(callback, "on_gradients") and not defines(callback, "on_step")
    assert defines(Stepping(), "on_step") and not defines(Stepping(), "on_gradients")
    with pytest.raises(TypeError, match=r"no hook 'on_batch_end'; hooks: on_fit_begin, .*on_divergence"):
        LambdaCallback(on_batch_end=print)
    with pytest.raises(TypeError, match="on_step must be a function of the run, got int"):
        LambdaCallback(on_step=3)


def test_early_stopping_is_the_rule_of_its_documentation():
    # (values, options) -> (best, best epoch, last epoch, stopped epoch)
    cases = [
        ([5, 4, 3, 4, 4, 4, 1], {"patience": 3}, (3, 3, 6, 6)),
        ([5, 4, 3, 4, 2, 4, 1], {"patience": 3}, (1, 7, 7, None)),
        ([5, 4, 4, 4], {"patience": 2}, (4, 2, 4, 4)),
        ([5, 4.9, 4.8, 4.7], {"patience": 2, "min_delta": 0.5}, (5, 1, 3, 3)),
        ([5, 4.4, 4.2, 3.8], {"patience": 2, "min_delta": 0.5}, (3.8, 4, 4, None)),
        ([5, NAN, NAN, 1], {"patience": 2}, (5, 1, 3, 3)),
        ([NAN, NAN, 3, 4], {"patience": 3}, (3, 3, 4, None)),
        ([NAN, NAN, 3], {"patience": 2}, (None, None, 2, 2)),
        ([1, 2, 3], {"patience": 0}, (1, 1, 2, 2)),
        ([1, 2, 3], {"patience": 2, "mode": "max"}, (3, 3, 3, None)),
        ([9, 8, 7, 6], {"patience": 2, "baseline": 5.0}, (8, 2, 2, 2)),
        ([9, 4, 7, 6, 6], {"patience": 2, "baseline": 5.0}, (4, 2, 4, 4)),
        ([1, 9, 8, 8, 8, 8], {"patience": 2, "start_from_epoch": 2}, (8, 3, 5, 5)),
    ]
    for values, options, (best, best_epoch, last, stopped) in cases:
        run, callback = Run(), EarlyStopping(**options)
        assert run.epochs_of(callback, "val_loss", values) == last, (values, options)
        assert (callback.best, callback.best_epoch, callback.stopped_epoch) == (best, best_epoch, stopped)
        assert (run.stopped is not None) == (stopped is not None)
        callback.on_fit_end(run)
        assert run.model.weight.item() == (best_epoch or last)
        assert run.model.count.item() == 10 * run.model.weight.item()


def test_early_stopping_says_why():
    run = Run()
    run.epochs_of(EarlyStopping(patience=2), "val_loss", [1.5, 0.123456, 2, 2])
    assert run.stopped == "early stopping: no better val_loss for 2 epochs (best 0.1235 in epoch 2)"


def test_the_best_weights_go_into_the_same_tensors():
    for restore, expected in ((True, 1.0), (False, 3.0)):
        run, callback = Run(), EarlyStopping(patience=2, restore_best=restore)
        weight, count = run.model.weight, run.model.count
        run.epochs_of(callback, "val_loss", [1, 2, 3])
        callback.on_fit_end(run)
        assert run.model.weight is weight and run.model.count is count
        assert weight.item() == expected and count.item() == 10 * expected
        assert weight.requires_grad and weight.is_leaf


def test_the_best_weights_include_buffers_that_are_not_saved():
    run, callback = Run(), EarlyStopping()
    run.model.register_buffer("scratch", tg.zeros(2), persistent=False)
    callback.on_fit_begin(run)
    run.epochs_of(callback, "val_loss", [1])
    run.step = 1
    run.model.scratch.fill_(7.0)
    callback.on_fit_end(run)
    assert run.model.scratch.tolist() == [0.0, 0.0]


def test_an_early_stopping_goes_on_from_its_state():
    values = [5, 4, 4.5, 4.6, 4.7, 1]
    for cut in range(1, 5):
        first, whole = Run(), Run()
        half, callback = EarlyStopping(patience=3), EarlyStopping(patience=3)
        whole.epochs_of(callback, "val_loss", values)
        first.epochs_of(half, "val_loss", values[:cut])
        resumed, again = Run(), EarlyStopping(patience=3)
        resumed.resume(again, "val_loss", values[:cut], half.state_dict())
        resumed.epochs_of(again, "val_loss", values[cut:])
        again.on_fit_end(resumed)
        assert resumed.epoch == whole.epoch == 5 and resumed.stopped == whole.stopped
        assert resumed.model.weight.item() == 2 and again.best == callback.best
        assert again.stopped_epoch == callback.stopped_epoch == 5


def test_a_callback_begins_anew_in_the_next_fit():
    callback = EarlyStopping(patience=2)
    for first in (1, 5):
        Run().epochs_of(callback, "val_loss", [first, 9, 9])
        assert (callback.best, callback.best_epoch, callback.stopped_epoch) == (first, 1, 3)


@pytest.mark.parametrize(
    "name, mode",
    [
        ("val_loss", "min"), ("mse", "min"), ("val_rmse", "min"), ("mae", "min"), ("error_rate", "min"),
        ("log_loss", "min"), ("accuracy", "max"), ("val_top5", "max"), ("top_5_accuracy", "max"), ("f1_macro", "max"),
        ("precision", "max"), ("recall", "max"), ("roc_auc", "max"), ("r2", "max"), ("balanced_accuracy", "max"),
    ],
)  # fmt: skip
def test_the_name_tells_which_way_is_better(name, mode):
    assert EarlyStopping(name).monitor.mode == mode


@pytest.mark.parametrize("name", ["seconds", "distance", "accuracy_loss", "stop"])
def test_a_name_that_does_not_tell_is_an_error(name):
    with pytest.raises(ValueError, match=rf"'{name}' does not tell .*pass mode=\"min\" or \"max\""):
        EarlyStopping(name)
    assert EarlyStopping(name, mode="max").monitor.mode == "max"


def test_bad_arguments_of_early_stopping():
    for options, text in [
        ({"mode": "down"}, "mode must be"),
        ({"min_delta": -1}, "min_delta"),
        ({"patience": -1}, "patience"),
        ({"start_from_epoch": -1}, "start_from_epoch"),
    ]:
        with pytest.raises(ValueError, match=text):
            EarlyStopping(**options)
    with pytest.raises(ValueError, match=r"'val_loss' is not recorded; recorded: loss, seconds, steps; .*validation"):
        EarlyStopping().on_fit_begin(Run(["loss"]))


def test_checkpoints_of_the_best_epochs(tmp_path):
    path = tmp_path / "new" / "{epoch:02d}-{val_accuracy:.2f}-{step}.safetensors"
    callback = ModelCheckpoint(path, monitor="val_accuracy", save_best_only=True)
    run = Run(["loss", "val_accuracy"])
    run.epochs_of(callback, "val_accuracy", [0.5, 0.4, 0.75, NAN, 0.75, 0.8])
    names = ["01-0.50-5", "03-0.75-15", "06-0.80-30"]
    assert sorted(p.stem for p in (tmp_path / "new").iterdir()) == names
    assert callback.files == [str(tmp_path / "new" / f"{name}.safetensors") for name in names]
    assert callback.best == 0.8
    assert tg.load(callback.files[1])["weight"].item() == 3


def test_checkpoints_keep_the_last_files(tmp_path):
    (tmp_path / "e0.safetensors").write_text("of somebody else")
    run, callback = Run(), ModelCheckpoint(tmp_path / "e{epoch}.safetensors", keep=2)
    run.epochs_of(callback, "val_loss", [1, 2, 3])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["e0.safetensors", "e2.safetensors", "e3.safetensors"]
    resumed, again = Run(), ModelCheckpoint(tmp_path / "e{epoch}.safetensors", keep=2)
    resumed.resume(again, "val_loss", [1, 2, 3], callback.state_dict())
    resumed.epochs_of(again, "val_loss", [4])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["e0.safetensors", "e3.safetensors", "e4.safetensors"]


def test_checkpoints_by_seconds(tmp_path, monkeypatch):
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    run, callback = Run(), ModelCheckpoint(tmp_path / "{step}.safetensors", every_seconds=60)
    assert defines(callback, "on_step") and not defines(callback, "on_epoch_end")
    callback.on_fit_begin(run)
    for step, now in enumerate([110.0, 159.0, 161.0, 170.0, 220.0, 221.5], start=1):  # noqa: B007  (the clock reads it)
        run.step = step
        callback.on_step(run)
    assert sorted(p.stem for p in tmp_path.iterdir()) == ["3", "6"]


def test_bad_arguments_of_checkpoints(tmp_path):
    for options, text in [
        ({"monitor": "loss"}, "save_best_only"),
        ({"every": 0}, "every must be"),
        ({"every": "step"}, "every must be"),
        ({"every": True}, "every must be"),
        ({"every": 5, "every_seconds": 1}, "without `every`"),
        ({"every_seconds": -1}, "every_seconds must be"),
        ({"every": 5, "save_best_only": True}, "compares epochs"),
        ({"keep": 3}, "path that has fields"),
        ({"save_best_only": True, "monitor": "seconds"}, "does not tell"),
    ]:
        with pytest.raises(ValueError, match=text):
            ModelCheckpoint(tmp_path / "x", **options)
    with pytest.raises(ValueError, match=r"unknown fields \['val_acc'\]; known: epoch, step, loss, val_loss"):
        ModelCheckpoint("{val_acc:.3f}").on_fit_begin(Run())
    with pytest.raises(ValueError, match=r"unknown fields \['loss'\]; known: epoch, step$"):
        ModelCheckpoint("{loss:.3f}", every=10).on_fit_begin(Run())
    with pytest.raises(ValueError, match="'val_loss' is not recorded"):
        ModelCheckpoint("x", save_best_only=True).on_fit_begin(Run(["loss"]))


def test_a_hook_that_would_never_be_called_is_an_error():
    with pytest.raises(TypeError, match="there is no hook 'on_batch_end'; hooks: on_fit_begin"):
        type("Keras", (Callback,), {"on_batch_end": lambda self, batch, logs: None})
