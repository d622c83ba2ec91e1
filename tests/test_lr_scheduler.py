"""Schedules of the learning rate: against their formulas, and number for number against PyTorch."""

from __future__ import annotations

import copy
import math
import warnings

import numpy as np
import pytest

import tapegrad as tg
from captured import compiled
from tapegrad import nn, optim
from tapegrad.optim import lr_scheduler, swa_utils

STEPS = 60


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")


class Triangle:
    """A callable object, whose attributes are part of the state."""

    def __init__(self, slope):
        self.slope = slope

    def __call__(self, epoch):
        return 1 / (1 + self.slope * epoch)


# name: schedulers of an optimizer, given the modules of the schedulers and of the averages.
SCHEDULES = {
    "step": lambda s, a, o: s.StepLR(o, 7),
    "step gamma": lambda s, a, o: s.StepLR(o, 3, gamma=0.9),
    "multistep": lambda s, a, o: s.MultiStepLR(o, [3, 9, 9, 20], gamma=0.5),
    "exponential": lambda s, a, o: s.ExponentialLR(o, 0.93),
    "constant": lambda s, a, o: s.ConstantLR(o),
    "constant long": lambda s, a, o: s.ConstantLR(o, factor=0.25, total_iters=11),
    "linear": lambda s, a, o: s.LinearLR(o),
    "linear down": lambda s, a, o: s.LinearLR(o, start_factor=1.0, end_factor=0.1, total_iters=20),
    "polynomial": lambda s, a, o: s.PolynomialLR(o),
    "polynomial power": lambda s, a, o: s.PolynomialLR(o, total_iters=30, power=2.5),
    "lambda": lambda s, a, o: s.LambdaLR(o, lambda epoch: 0.95**epoch),
    "lambda for each": lambda s, a, o: s.LambdaLR(o, [Triangle(0.5), lambda epoch: epoch % 3]),
    "multiplicative": lambda s, a, o: s.MultiplicativeLR(o, lambda epoch: 0.9 if epoch % 2 else 1.05),
    "cosine": lambda s, a, o: s.CosineAnnealingLR(o, 20),
    "cosine up and down": lambda s, a, o: s.CosineAnnealingLR(o, T_max=7, eta_min=0.02),
    "restarts": lambda s, a, o: s.CosineAnnealingWarmRestarts(o, 9),
    "restarts longer": lambda s, a, o: s.CosineAnnealingWarmRestarts(o, T_0=4, T_mult=2, eta_min=0.01),
    "cyclic": lambda s, a, o: s.CyclicLR(o, 0.01, 0.1, step_size_up=6),
    "cyclic triangular2": lambda s, a, o: s.CyclicLR(o, [0.01, 0.02], [0.1, 0.3], 5, 9, mode="triangular2"),
    "cyclic exp_range": lambda s, a, o: s.CyclicLR(o, 0.01, 0.1, 8, mode="exp_range", gamma=0.97, cycle_momentum=False),
    "cyclic function": lambda s, a, o: s.CyclicLR(o, 0.01, 0.1, 8, scale_fn=Triangle(0.2), scale_mode="iterations"),
    "one cycle": lambda s, a, o: s.OneCycleLR(o, 0.5, total_steps=STEPS + 1),
    "one cycle linear": lambda s, a, o: s.OneCycleLR(
        o, [0.5, 0.2], epochs=8, steps_per_epoch=8, pct_start=0.4, anneal_strategy="linear", div_factor=5
    ),
    "one cycle three phases": lambda s, a, o: s.OneCycleLR(
        o, 0.5, total_steps=80, three_phase=True, cycle_momentum=False
    ),
    "sequential": lambda s, a, o: s.SequentialLR(
        o, [s.LinearLR(o, total_iters=5), s.CosineAnnealingLR(o, 20), s.ExponentialLR(o, 0.9)], [5, 25]
    ),
    "sequential constant": lambda s, a, o: s.SequentialLR(
        o, [s.ConstantLR(o, 0.1, 2), s.StepLR(o, 4), s.MultiStepLR(o, [3]), s.PolynomialLR(o)], [10, 30, 40]
    ),
    "chained": lambda s, a, o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 4), s.ExponentialLR(o, 0.9)], optimizer=o),
    "sequence of chains": lambda s, a, o: s.SequentialLR(
        o, [s.ChainedScheduler([s.LinearLR(o), s.StepLR(o, 2)]), s.ExponentialLR(o, 0.9)], [6]
    ),
    "swa": lambda s, a, o: a.SWALR(o, swa_lr=0.02),
    "swa linear": lambda s, a, o: a.SWALR(o, swa_lr=[0.02, 0.5], anneal_epochs=5, anneal_strategy="linear"),
    "swa at once": lambda s, a, o: a.SWALR(o, swa_lr=0.02, anneal_epochs=0),
}
each = pytest.mark.parametrize("name", SCHEDULES)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:torch")


def optimizer_of(lib, kind="SGD", tensor_lr=False):
    groups = [{"params": [lib.nn.Parameter(lib.ones(1))]}, {"params": [lib.nn.Parameter(lib.ones(1))], "lr": 0.25}]
    if tensor_lr:
        groups[1]["lr"] = lib.tensor(0.25)
    return getattr(lib.optim, kind)(groups, lr=0.1, **({"momentum": 0.9} if kind == "SGD" else {}))


def made(lib, name, optimizer):
    return SCHEDULES[name](lib.optim.lr_scheduler, lib.optim.swa_utils, optimizer)


def rates(optimizer):
    """What the groups have now, options that schedulers change."""
    names = ("lr", "momentum", "betas")
    return [[np.float64(value).tolist() for value in (g[n] for n in names if n in g)] for g in optimizer.param_groups]


def course(lib, name, steps=STEPS, kind="SGD", **options):
    """The options after each step, with what get_last_lr() says."""
    optimizer = optimizer_of(lib, kind, **options)
    scheduler = made(lib, name, optimizer)
    values = []
    for _ in range(steps):
        values.append(
            (
                rates(optimizer),
                [float(lr) for lr in scheduler.get_last_lr()],
                scheduler.last_epoch if hasattr(scheduler, "last_epoch") else None,
            )
        )
        optimizer.step()
        scheduler.step()
    return values


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@each
def test_same_numbers_as_torch(torch, name, kind):
    for ours, theirs in zip(course(tg, name, kind=kind), course(torch, name, kind=kind), strict=True):
        np.testing.assert_array_equal(flat(ours), flat(theirs))


def flat(values):
    if isinstance(values, (list, tuple)):
        return [number for value in values for number in flat(value)]
    return [np.nan if values is None else values]


@each
def test_rate_in_a_tensor(name):
    """It is filled, so that whoever holds it sees the new rate."""
    for ours, plain in zip(course(tg, name, tensor_lr=True), course(tg, name), strict=True):
        np.testing.assert_allclose(flat(ours), flat(plain), rtol=2e-5)


@each
def test_state_round_trip(name):
    optimizer = optimizer_of(tg)
    scheduler = made(tg, name, optimizer)
    for _ in range(11):
        optimizer.step()
        scheduler.step()
    saved = copy.deepcopy((optimizer.state_dict(), scheduler.state_dict()))
    other = optimizer_of(tg)
    loaded = made(tg, name, other)
    other.load_state_dict(saved[0])
    loaded.load_state_dict(saved[1])
    for _ in range(30):
        assert rates(other) == rates(optimizer) and loaded.get_last_lr() == scheduler.get_last_lr()
        for o, s in ((optimizer, scheduler), (other, loaded)):
            o.step()
            s.step()


@each
def test_state_of_torch(torch, name):
    """The attributes are PyTorch's: a schedule may go on here."""
    theirs = optimizer_of(torch)
    scheduler = made(torch, name, theirs)
    for _ in range(11):
        theirs.step()
        scheduler.step()
    ours = optimizer_of(tg)
    loaded = made(tg, name, ours)
    ours.load_state_dict(theirs.state_dict())
    loaded.load_state_dict(copy.deepcopy(scheduler.state_dict()))
    for _ in range(30):
        assert rates(ours) == rates(theirs)
        for o, s in ((ours, loaded), (theirs, scheduler)):
            o.step()
            s.step()


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
@pytest.mark.parametrize("options", [{}, {"cooldown": 3, "min_lr": [0.01, 0.02]}, {"min_lr": 0.05, "eps": 0.02}])
def test_plateau_as_in_torch(torch, mode, threshold_mode, options):
    metrics = np.repeat(np.random.default_rng(0).normal(size=40).cumsum(), 4)
    results = []
    for lib in (tg, torch):
        optimizer = optimizer_of(lib)
        scheduler = lib.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, mode, factor=0.5, patience=2, threshold=0.05, threshold_mode=threshold_mode, **options
        )
        results.append([])
        for i, metric in enumerate(metrics):
            scheduler.step(lib.tensor(metric) if i % 2 else metric)
            results[-1].append((rates(optimizer), scheduler.get_last_lr(), scheduler.num_bad_epochs, scheduler.best))
            if i == 70:
                state = copy.deepcopy(scheduler.state_dict())
                scheduler = lib.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
                scheduler.load_state_dict(state)
    assert results[0] == results[1]


# Without PyTorch: the closed forms


@pytest.mark.parametrize(
    ("make", "factor"),
    [
        (lambda s, o: s.StepLR(o, 5, gamma=0.5), lambda t: 0.5 ** (t // 5)),
        (lambda s, o: s.MultiStepLR(o, [4, 10]), lambda t: 0.1 ** ((t >= 4) + (t >= 10))),
        (lambda s, o: s.ExponentialLR(o, 0.9), lambda t: 0.9**t),
        (lambda s, o: s.ConstantLR(o, 0.25, 8), lambda t: 0.25 if t < 8 else 1),
        (lambda s, o: s.LinearLR(o, 0.2, 0.8, 10), lambda t: 0.2 + 0.6 * min(t, 10) / 10),
        (lambda s, o: s.PolynomialLR(o, 10, 2.0), lambda t: (1 - min(t, 10) / 10) ** 2),
        (lambda s, o: s.CosineAnnealingLR(o, 10), lambda t: (1 + math.cos(math.pi * t / 10)) / 2),
        (lambda s, o: s.CosineAnnealingWarmRestarts(o, 10), lambda t: (1 + math.cos(math.pi * (t % 10) / 10)) / 2),
        (lambda s, o: s.LambdaLR(o, lambda t: t + 1), lambda t: t + 1),
        (lambda s, o: s.MultiplicativeLR(o, lambda t: 0.5), lambda t: 0.5**t),
    ],
)
def test_formula(make, factor):
    optimizer = optimizer_of(tg)
    scheduler = make(lr_scheduler, optimizer)
    for t in range(STEPS):
        np.testing.assert_allclose(
            [g["lr"] for g in optimizer.param_groups], [0.1 * factor(t), 0.25 * factor(t)], rtol=1e-12, atol=1e-15
        )
        assert scheduler.last_epoch == t and scheduler.get_last_lr() == [g["lr"] for g in optimizer.param_groups]
        optimizer.step()
        scheduler.step()


def test_one_cycle_and_cyclic():
    optimizer = optimizer_of(tg)
    scheduler = lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=101, pct_start=0.5, anneal_strategy="linear")
    seen = []
    for _ in range(101):
        seen.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"]))
        optimizer.step()
        if len(seen) < 101:
            scheduler.step()
    np.testing.assert_allclose([seen[0], seen[-1]], [(0.04, 0.95), (4e-6, 0.95)], rtol=1e-9)
    assert max(lr for lr, _ in seen) == pytest.approx(1.0, abs=0.02)
    optimizer.step()
    scheduler.step()
    with pytest.raises(ValueError, match="Tried to step 102 times"):
        scheduler.step()
    optimizer = optimizer_of(tg)
    scheduler = lr_scheduler.CyclicLR(optimizer, 0.0, 1.0, step_size_up=4)
    seen = []
    for _ in range(9):
        seen.append(optimizer.param_groups[1]["lr"])
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose(seen, [0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25, 0], atol=1e-15)


def test_resuming_with_last_epoch(torch):
    results = []
    for lib in (tg, torch):
        for name in ("step", "cosine", "linear", "exponential", "restarts"):
            optimizer = optimizer_of(lib)
            for group in optimizer.param_groups:
                group["initial_lr"] = group["lr"]
            kind = {
                "step": lambda s, o: s.StepLR(o, 3, last_epoch=8),
                "cosine": lambda s, o: s.CosineAnnealingLR(o, 20, last_epoch=8),
                "linear": lambda s, o: s.LinearLR(o, last_epoch=2),
                "exponential": lambda s, o: s.ExponentialLR(o, 0.5, last_epoch=3),
                "restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 5, last_epoch=3),
            }[name]
            scheduler = kind(lib.optim.lr_scheduler, optimizer)
            for _ in range(12):
                results.append((lib is tg, rates(optimizer)))
                optimizer.step()
                scheduler.step()
    assert [r for ours, r in results if ours] == [r for ours, r in results if not ours]


def test_epoch_as_argument(torch):
    results = []
    for lib in (tg, torch):
        optimizer = optimizer_of(lib)
        names = ("step gamma", "multistep", "exponential", "constant", "linear", "polynomial power", "cosine", "lambda")
        for name in names:
            scheduler = made(lib, name, optimizer)
            optimizer.step()
            with pytest.warns(UserWarning, match="epoch parameter"):
                scheduler.step(4)
            results.append((lib is tg, rates(optimizer)))
        scheduler = made(lib, "restarts longer", optimizer)
        for epoch in (0.5, 3.25, 4, 11.5, 30):
            scheduler.step(epoch)
            results.append((lib is tg, rates(optimizer)))
    assert [r for ours, r in results if ours] == [r for ours, r in results if not ours]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda o: lr_scheduler.StepLR(3, 1), TypeError, "int is not an Optimizer"),
        (lambda o: lr_scheduler.ReduceLROnPlateau(3), TypeError, "int is not an Optimizer"),
        (lambda o: lr_scheduler.StepLR(o, 1, last_epoch=3), KeyError, "initial_lr"),
        (lambda o: lr_scheduler.LambdaLR(o, [abs]), ValueError, "Expected 2 lr_lambdas, but got 1"),
        (lambda o: lr_scheduler.MultiplicativeLR(o, 3), TypeError, "should be a function, but got int"),
        (lambda o: lr_scheduler.ConstantLR(o, 2.0), ValueError, "between 0 and 1"),
        (lambda o: lr_scheduler.LinearLR(o, 0.0), ValueError, "greater than 0"),
        (lambda o: lr_scheduler.LinearLR(o, 0.5, 2.0), ValueError, "Ending multiplicative factor"),
        (lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 0), ValueError, "positive integer T_0"),
        (lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3, 0), ValueError, "T_mult"),
        (lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3).step(-1), ValueError, "non-negative epoch"),
        (lambda o: lr_scheduler.CyclicLR(o, [0.1], 1.0), ValueError, "base_lr must have the same length"),
        (lambda o: lr_scheduler.CyclicLR(o, 0.1, 1.0, mode="up"), ValueError, "mode is invalid"),
        (lambda o: lr_scheduler.OneCycleLR(o, 1.0), ValueError, "total_steps OR"),
        (lambda o: lr_scheduler.OneCycleLR(o, 1.0, total_steps=0), ValueError, "positive integer total_steps"),
        (lambda o: lr_scheduler.OneCycleLR(o, 1.0, 10, pct_start=2), ValueError, "pct_start"),
        (lambda o: lr_scheduler.OneCycleLR(o, 1.0, 10, anneal_strategy="x"), ValueError, "anneal_strategy"),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=1.0), ValueError, "Factor should be < 1.0"),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o, "up"), ValueError, "mode up is unknown"),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o, min_lr=[0.1]), ValueError, "expected 2 min_lrs, got 1"),
        (lambda o: lr_scheduler.SequentialLR(o, [], []), ValueError, "at least one scheduler"),
        (lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.StepLR(o, 1)], [3]), ValueError, "one more"),
        (lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.ReduceLROnPlateau(o)]), ValueError, "needs a metric"),
        (
            lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.StepLR(optimizer_of(tg), 1)], o),
            ValueError,
            "same optimizer",
        ),
        (lambda o: swa_utils.SWALR(o, 0.1, anneal_epochs=-1), ValueError, "anneal_epochs"),
        (lambda o: lr_scheduler.LRScheduler(o), NotImplementedError, "get_lr"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make(optimizer_of(tg))


def test_momentum_where_there_is_none():
    with pytest.raises(ValueError, match="must support momentum"):
        lr_scheduler.OneCycleLR(optim.Adagrad([nn.Parameter(tg.ones(1))]), 1.0, total_steps=10)


def test_warnings():
    optimizer = optimizer_of(tg)
    scheduler = lr_scheduler.StepLR(optimizer, 1)
    with pytest.warns(UserWarning, match=r"before `optimizer.step\(\)`"):
        scheduler.step()
    with pytest.warns(UserWarning, match="get_last_lr"):
        scheduler.get_lr()
    optimizer = optimizer_of(tg)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scheduler = lr_scheduler.StepLR(optimizer, 1)
        optimizer.step()
        scheduler.step()


def test_compiled_steps_follow_the_schedule():
    """The rate is read at each replay; the schedule itself steps outside, and says so where it does not."""
    results = []
    for capture in (False, True):
        p = nn.Parameter(tg.ones(3))
        optimizer = optim.AdamW([p], lr=0.1)
        scheduler = lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=21)

        def step(p=p, optimizer=optimizer):
            optimizer.zero_grad()
            loss = (p * p).sum()
            loss.backward()
            optimizer.step()
            return loss

        inner = None
        if capture:
            step, inner = compiled(step)
        losses = []
        for _ in range(20):
            losses.append(step().item())
            scheduler.step()
        results.append(losses)
    assert results[0] == results[1] and inner.runs <= 2

    @tg.compile
    def wrong():
        scheduler.step()
        return tg.ones(1)

    with pytest.raises(tg.CaptureError, match=r"step\(\) of OneCycleLR is called, which sets the learning rate"):
        wrong()
