"""Callbacks within fit(): schedules, clipping, early stopping, checkpoints and logs, captured or not."""

import csv

import numpy as np
import pytest

import tapegrad as tg
from callback_runs import network, problem, same, train, weights
from tapegrad import optim
from tapegrad.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    GradientClipping,
    LambdaCallback,
    LRScheduler,
    ModelCheckpoint,
)
from tapegrad.nn.utils import clip_grad_norm_, clip_grad_value_
from tapegrad.optim import lr_scheduler

CAPTURED = pytest.mark.parametrize("compile", [False, True], ids=["eager", "captured"])


def _rates(seen):
    """Notes the learning rate that each step had."""
    return LambdaCallback(on_step=lambda run: seen.append(run.optimizer.param_groups[0]["lr"]))


def _by_hand(make_optimizer, *, clip=None, make_scheduler=None, each="epoch", epochs=3):
    """The loop that fit() stands for; returns (model, rate of each step)."""
    model, rates = network(), []
    x, y = map(tg.from_numpy, problem())
    optimizer = make_optimizer(model.parameters())
    scheduler = make_scheduler(optimizer) if make_scheduler else None
    for _ in range(epochs):
        for rows in range(0, 64, 16):
            optimizer.zero_grad()
            tg.nn.functional.cross_entropy(model(x[rows : rows + 16]), y[rows : rows + 16]).backward()
            if clip:
                clip(model.parameters())
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if scheduler and each == "step":
                scheduler.step()
        if scheduler and each == "epoch":
            scheduler.step()
    return model, rates


@CAPTURED
@pytest.mark.parametrize(
    "options, clip",
    [
        ({"max_norm": 0.1}, lambda p: clip_grad_norm_(p, 0.1)),
        ({"max_norm": 0.01, "norm_type": float("inf")}, lambda p: clip_grad_norm_(p, 0.01, float("inf"))),
        ({"max_norm": 1, "norm_type": 1}, lambda p: clip_grad_norm_(p, 1, 1)),
        ({"value": 0.01}, lambda p: clip_grad_value_(p, 0.01)),
    ],
    ids=["norm", "largest", "sum", "value"],
)
def test_clipping_is_that_of_a_loop_by_hand(options, clip, compile):
    def sgd(parameters):
        return optim.SGD(parameters, lr=0.5, momentum=0.9)

    expected, _ = _by_hand(sgd, clip=clip)
    unclipped, _ = _by_hand(sgd)
    model = network()
    train(model, optimizer=sgd(model.parameters()), epochs=3, shuffle=False, compile=compile,
          callbacks=GradientClipping(**options))  # fmt: skip
    same(weights(model), weights(expected))
    assert not np.array_equal(weights(model)["0.weight"], weights(unclipped)["0.weight"])


def test_clipping_leaves_the_step_captured():
    calls = []

    class Spy(GradientClipping):
        def on_gradients(self, run):
            calls.append(run.step)
            super().on_gradients(run)

    train(network(), epochs=9, compile=True, callbacks=Spy(max_norm=0.1))
    assert 0 < len(calls) < 6  # of 36 steps


def test_clipping_leaves_out_what_the_optimizer_does_not_train():
    results = []
    for grad in (0.0, 1e6):
        model = network()
        head = optim.SGD(model[4].parameters(), lr=0.1)
        model[0].weight.grad = tg.full(model[0].weight.shape, grad)
        model[0].weight.requires_grad = False
        train(model, optimizer=head, shuffle=False, callbacks=GradientClipping(max_norm=0.1))
        results.append(weights(model))
    same(*results)


def test_bad_arguments_of_clipping():
    for options, text in [
        ({}, "one of max_norm and value"),
        ({"max_norm": 1, "value": 1}, "one of max_norm and value"),
        ({"max_norm": 0}, "max_norm must be positive"),
        ({"value": float("nan")}, "value must be positive"),
        ({"max_norm": 1, "norm_type": 0}, "norm_type must be positive"),
    ]:
        with pytest.raises(ValueError, match=text):
            GradientClipping(**options)


SCHEDULES = {
    "step": ("epoch", lambda o: lr_scheduler.StepLR(o, 2, gamma=0.1)),
    "one cycle": ("step", lambda o: lr_scheduler.OneCycleLR(o, max_lr=0.1, total_steps=12)),
    "cyclic": ("step", lambda o: lr_scheduler.CyclicLR(o, 0.001, 0.1, step_size_up=5)),
    "milestones": ("step", lambda o: lr_scheduler.MultiStepLR(o, [3, 7])),
    "warm-up": (
        "step",
        lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.LinearLR(o, 0.1, total_iters=4), lr_scheduler.CosineAnnealingLR(o, 8)], [4]
        ),
    ),
    "function": ("epoch", lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 0.5**epoch)),
}


@CAPTURED
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_are_those_of_a_loop_by_hand(name, compile):
    each, make = SCHEDULES[name]

    def adam(parameters):
        return optim.Adam(parameters, lr=0.05)

    expected, rates = _by_hand(adam, make_scheduler=make, each=each)
    for given in (False, True):
        model, seen = network(), []
        optimizer = adam(model.parameters()) if given else "adam"
        callback = LRScheduler(make(optimizer) if given else make, every=each)
        train(model, optimizer=optimizer, lr=None if given else 0.05, epochs=3, shuffle=False, compile=compile,
              callbacks=[_rates(seen), callback])  # fmt: skip
        assert seen == rates and len(set(seen)) > 1
        same(weights(model), weights(expected))


def test_a_plateau_is_that_of_the_monitor():
    scores = iter([0.5, 0.6, 0.6, 0.6, 0.6, 0.7])

    def score(output, target):
        return next(scores)

    seen = []
    plateau = LRScheduler(
        lambda o: lr_scheduler.ReduceLROnPlateau(o, mode="max", factor=0.5, patience=1), monitor="score"
    )
    train(network(), optimizer="sgd", lr=1.0, epochs=6, batch_size=64, metrics=score, compile=False,
          callbacks=[plateau, _rates(seen)])  # fmt: skip
    assert seen == [1.0, 1.0, 1.0, 1.0, 0.5, 0.5]  # epochs 3 and 4 are no better, so that 5 has half the rate


def test_bad_schedules():
    def plateau(optimizer, mode="min"):
        return lr_scheduler.ReduceLROnPlateau(optimizer, mode)

    other = optim.SGD(network().parameters(), lr=1.0)
    for callback, text in [
        (LRScheduler(plateau), "'val_loss' is not recorded"),
        (LRScheduler(plateau, every="step"), "every=\"epoch\""),
        (LRScheduler(plateau, monitor="accuracy"), "mode='min', but 'accuracy' .*mode='max'"),
        (LRScheduler(lr_scheduler.StepLR(other, 3)), "belongs to another optimizer"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=text):
            train(network(), metrics="accuracy", callbacks=callback)
    with pytest.raises(ValueError, match='every must be "epoch" or "step", got 3'):
        LRScheduler(plateau, every=3)
    with pytest.raises(TypeError, match=r"scheduler must be .* got float"):
        LRScheduler(0.1)


@CAPTURED
def test_early_stopping_ends_with_the_weights_of_the_best_epoch(compile):
    kept = {}
    keeper = LambdaCallback(on_epoch_end=lambda run: kept.update({run.epoch: weights(run.model)}))
    stopping = EarlyStopping(patience=2)
    model = network()
    history = train(model, optimizer="sgd", lr=2.0, epochs=40, validation=problem(32), compile=compile,
                    callbacks=[keeper, stopping])  # fmt: skip
    losses = history["val_loss"]
    assert stopping.best == min(losses) == losses[stopping.best_epoch - 1]
    assert len(losses) == stopping.stopped_epoch == stopping.best_epoch + 2
    assert history.stopped.startswith("early stopping: no better val_loss for 2 epochs (best ")
    same(weights(model), kept[stopping.best_epoch])
    measured = tg.evaluate(model, problem(32), loss="cross_entropy")
    assert measured["loss"] == pytest.approx(stopping.best, rel=1e-6)


def _callbacks(folder, clip=True):
    return [
        ModelCheckpoint(folder / "run.safetensors"),
        EarlyStopping("loss", patience=9),
        LRScheduler(lambda o: lr_scheduler.CyclicLR(o, 0.001, 0.1, step_size_up=7), every="step"),
        LRScheduler(lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 1.0)),
        GradientClipping(max_norm=1.0),
        CSVLogger(folder / "log.csv"),
    ]


def test_a_resumed_run_has_the_bits_of_one_that_was_not_interrupted(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    expected, model = network(0.3), network(0.3)
    train(expected, epochs=5, callbacks=_callbacks(whole))
    train(network(0.3), epochs=2, callbacks=_callbacks(parts))
    callbacks = _callbacks(parts)
    tg.manual_seed(99)
    history = train(model, epochs=5, callbacks=callbacks, resume=parts / "run.safetensors")
    same(weights(model), weights(expected))
    assert len(history) == 5 and callbacks[1].best == min(history["loss"])
    rows = [[row[:2] for row in csv.reader((f / "log.csv").read_text().splitlines())] for f in (whole, parts)]
    assert rows[0] == rows[1] and len(rows[0]) == 6


def test_a_resumed_run_restores_best_weights_from_before(tmp_path):
    path = tmp_path / "run.safetensors"
    scores = iter([3, 1, 2, 2, 2, 2, 2])
    best = {}

    def fit(epochs, patience=3, **options):
        model = network()
        stopping = EarlyStopping("score", patience=patience, mode="min")
        note = LambdaCallback(on_epoch_end=lambda run: best.update({run.epoch: weights(run.model)}))
        history = train(
            model, epochs=epochs, metrics={"score": lambda output, target: next(scores)}, batch_size=64, compile=False,
            callbacks=[note, stopping, ModelCheckpoint(path)], **options,
        )  # fmt: skip
        return model, stopping, history

    fit(3)
    model, stopping, history = fit(9, resume=path)
    assert (stopping.best_epoch, stopping.stopped_epoch, len(history)) == (2, 5, 5)
    same(weights(model), best[2])
    model, stopping, again = fit(9, resume=path)  # it is over: nothing is trained, and the best weights come back
    assert (stopping.best_epoch, stopping.stopped_epoch, len(again)) == (2, 5, 5)
    assert again.stopped == history.stopped
    same(weights(model), best[2])


def test_checkpoints_by_steps_hold_weights_of_those_steps(tmp_path):
    kept = {}

    class Keeper(Callback):
        def on_step(self, run):
            kept[run.step] = weights(run.model)

    path = tmp_path / "{step}.safetensors"
    train(network(), epochs=2, callbacks=[Keeper(), ModelCheckpoint(path, every=3, weights_only=True)])
    assert sorted(p.stem for p in tmp_path.iterdir()) == ["3", "6"]
    for step in (3, 6):
        other = network()
        other.load_state_dict(tg.load(tmp_path / f"{step}.safetensors"))
        same(weights(other), kept[step])


def test_a_checkpoint_saves_what_other_callbacks_made_of_the_epoch(tmp_path):
    path = tmp_path / "run.safetensors"
    train(network(), epochs=3, callbacks=[ModelCheckpoint(path), EarlyStopping("loss"), CSVLogger(tmp_path / "x.csv")])
    found = {one["type"]: one["state"] for one in tg.load(path)["callbacks"]}
    assert found["EarlyStopping"]["best_epoch"] == 3 and found["ModelCheckpoint"]["files"] == [str(path)]
