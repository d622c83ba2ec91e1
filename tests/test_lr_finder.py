"""LRFinder: the rates it tries, what it suggests, and that it leaves no trace."""

import math

import numpy as np
import pytest

import tapegrad as tg
from callback_runs import Run, network, problem, same, train, weights
from tapegrad import nn, optim
from tapegrad.callbacks import LRFinder

CAPTURED = pytest.mark.parametrize("compile", [False, True], ids=["eager", "captured"])


def _feed(finder, losses):
    """Gives the finder the losses of steps, without training; returns the run."""
    run = Run()
    finder.on_fit_begin(run)
    for loss in losses:
        if run.stopped:
            break
        run.loss = loss
        finder.on_step(run)
    return run


def test_rates_have_equal_ratios_and_the_average_is_unbiased():
    finder = LRFinder(low=1e-4, high=1.0, steps=5, smoothing=0.25, divergence=1e9)
    losses = [5.0, 3.0, 4.0, 1.0, 2.0]
    run = _feed(finder, losses)
    assert finder.lrs == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1.0])
    expected = []
    for n in range(1, 6):
        weight = 0.75 ** np.arange(n)[::-1]
        expected.append((weight * losses[:n]).sum() / weight.sum())
    assert finder.losses == pytest.approx(expected)
    assert run.stopped == "learning rate finder: all rates tried"
    finder.on_fit_end(run)
    assert run.optimizer.param_groups[0]["lr"] == 1.0


@pytest.mark.parametrize(
    "losses, taken",
    [
        ([2, 1, 4.5, 0, 0], 3),
        ([2, 1, 3.9, 3.9, 3.9], 5),
        ([-1, -2, -2, 4.5, 0], 4),
        ([-1, -2, 3, 3.9, 0], 5),
    ],
)
def test_it_ends_where_the_loss_is_several_times_the_least(losses, taken):
    finder = LRFinder(steps=5, smoothing=1.0)
    run = _feed(finder, losses)
    assert len(finder.losses) == taken
    assert run.stopped.endswith("the loss has diverged" if taken < 5 else "all rates tried")


@pytest.mark.parametrize(
    "losses, index",
    [
        ([9, 8, 7, 6, 5, 4], 2),  # six fall, the middle one is three before the last
        ([9, 9, 9, 8, 7, 6, 5, 9, 9], 4),  # 9 8 7 6 5: half of five before the last
        ([5, 6, 4, 7, 3, 8, 2, 9], 4),  # 5 4 3 2
    ],
)
def test_it_suggests_the_middle_of_the_descent(losses, index):
    finder = LRFinder(steps=len(losses), smoothing=1.0, divergence=99)
    _feed(finder, losses)
    assert finder.suggestion == finder.lrs[index]


def test_there_is_no_suggestion_without_descent():
    finder = LRFinder(steps=4, smoothing=1.0, divergence=99)
    with pytest.raises(RuntimeError, match="no losses that fall"):
        _ = finder.suggestion
    _feed(finder, [1, 2, 3, 4])
    with pytest.raises(RuntimeError, match="no losses that fall"):
        _ = finder.suggestion


@CAPTURED
@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW"])
def test_it_leaves_no_trace(kind, compile):
    results = []
    for finds in (False, True):
        model = network(dropout=0.3)
        optimizer = getattr(optim, kind)(model.parameters(), lr=0.01)
        train(model, optimizer=optimizer, epochs=2, compile=compile)
        if finds:
            finder = LRFinder(steps=20)
            modes = [module.training for module in model.modules()]
            train(model, optimizer=optimizer, epochs=9, compile=compile, callbacks=finder)
            assert len(finder.lrs) == 20 and modes == [module.training for module in model.modules()]
        history = train(model, optimizer=optimizer, epochs=2, compile=compile)
        results.append((weights(model), history["loss"], tg.rand(2).tolist()))
    same(results[0][0], results[1][0])
    assert results[0][1:] == results[1][1:]


def test_a_rate_that_is_a_tensor_stays_the_same_tensor():
    model, lr = network(), tg.tensor(0.25)
    optimizer = optim.SGD([{"params": model[0].parameters()}, {"params": model[4].parameters(), "lr": 0.5}], lr=lr)
    train(model, optimizer=optimizer, callbacks=LRFinder(steps=8))
    assert optimizer.param_groups[0]["lr"] is lr and lr.item() == 0.25
    assert optimizer.param_groups[1]["lr"] == 0.5


@CAPTURED
def test_a_model_learns_with_the_suggestion(compile):
    finder = LRFinder()
    history = train(network(), optimizer="sgd", epochs=30, compile=compile, callbacks=finder)
    assert history.stopped.startswith("learning rate finder: ") and 50 < len(finder.losses) <= 100
    assert sum(history["steps"]) == len(finder.losses)
    assert 0.01 < finder.suggestion < 2.0
    losses = [
        train(network(), optimizer="sgd", lr=rate, epochs=20)["loss"][-1]
        for rate in (finder.suggestion, finder.suggestion / 1000)
    ]
    assert losses[0] < 0.6 * losses[1]


@CAPTURED
def test_a_loss_that_is_not_finite_ends_it_quietly(compile):
    x, _ = problem()
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 1))
    before = weights(model)
    finder = LRFinder(low=1.0, high=1e12, steps=50, divergence=math.inf)
    history = tg.fit(model, (x, x[:, :1]), loss="mse", optimizer="sgd", epochs=99, batch_size=16, progress=False,
                     callbacks=[finder], compile=compile)  # fmt: skip
    assert 0 < len(finder.losses) < 50 and np.isfinite(finder.losses).all()
    assert history.stopped is not None
    same(weights(model), before)


def test_too_few_epochs_are_noticed():
    with pytest.warns(RuntimeWarning, match="ended after 8 of 100 steps; give fit more epochs"):
        train(network(), epochs=2, callbacks=LRFinder())


def test_bad_arguments(tmp_path):
    for options, text in [
        ({"low": 0.0}, "0 < low < high"),
        ({"low": 1.0, "high": 0.1}, "0 < low < high"),
        ({"high": math.inf}, "0 < low < high"),
        ({"steps": 1}, "steps must be at least 2"),
        ({"smoothing": 0.0}, "smoothing must be in"),
        ({"smoothing": 1.1}, "smoothing must be in"),
        ({"divergence": 1.0}, "divergence must be above 1"),
    ]:
        with pytest.raises(ValueError, match=text):
            LRFinder(**options)
    with pytest.raises(ValueError, match="run it on a batch first"):
        train(nn.Sequential(nn.LazyLinear(3)), callbacks=LRFinder())


def test_it_does_not_go_on_from_a_file(tmp_path):
    from tapegrad.callbacks import LambdaCallback

    path = tmp_path / "run.safetensors"
    train(network(), epochs=1, callbacks=LambdaCallback(on_epoch_end=lambda run: run.save(path)))
    with pytest.raises(ValueError, match="leave resume out"):
        train(network(), callbacks=LRFinder(), resume=path)


def test_the_plot_has_the_losses_and_the_suggestion(tmp_path):
    pytest.importorskip("matplotlib")
    finder = LRFinder(steps=12)
    train(network(), callbacks=finder)
    figure = finder.plot(tmp_path / "rates.png")
    assert (tmp_path / "rates.png").stat().st_size > 1000
    curve, mark = figure.axes[0].lines
    np.testing.assert_allclose(curve.get_xdata(), finder.lrs)
    np.testing.assert_allclose(curve.get_ydata(), finder.losses)
    assert mark.get_xdata()[0] == finder.suggestion
