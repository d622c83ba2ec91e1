"""What the user changes between the calls of a compiled training step: it takes effect as in eager, bit for bit."""

from __future__ import annotations

import copy

import pytest

import tapegrad as tg
from captured import compiled, exactly, programs
from tapegrad import nn, optim
from tapegrad.nn import functional as F
from test_compile_training import classes, classifier, features, state_of

CALLS = 9
MOMENTUM = {"lr": 0.1, "momentum": 0.9}


class Run:
    """A model, its optimizer and a step, started from one seed; `between` calls change them."""

    def __init__(self, capture, model=classifier, optimizer=lambda p: optim.Adam(p, lr=0.01), zero="before", **options):
        tg.manual_seed(0)
        self.model = model()
        self.optimizer = optimizer(self.model.parameters())
        self.zero = zero
        self.eager = self.step
        self.runs = None
        if capture:
            self.step, self.runs = compiled(self.eager, **options)

    def step(self, x, y):
        if self.zero == "before":
            self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        if self.zero == "after":
            self.optimizer.zero_grad()
        return loss


def check(between=lambda run, k: None, *, captures=None, calls=CALLS, sizes=None, **options):
    """Eager and compiled, `between(run, k)` before call k; captures: how often Python may run the compiled step."""
    keep = {"keep_grads": options.pop("keep_grads")} if "keep_grads" in options else {}
    results = []
    for capture in (False, True):
        run = Run(capture, **options, **(keep if capture else {}))
        losses, seen = [], []
        for k in range(calls):
            seen.append(between(run, k))
            rows = sizes[k % len(sizes)] if sizes else 12
            losses.append(run.step(features(rows, seed=k), classes(rows, seed=k)))
        results.append(
            (losses, [s for s in seen if isinstance(s, (tg.Tensor, list))], state_of(run.model, run.optimizer))
        )
    exactly(results[1], results[0])
    if captures is not None:
        assert run.runs.runs <= captures, f"{run.runs.runs} captures"
    return run


@pytest.mark.parametrize(
    ("kind", "name", "values"),
    [
        (optim.SGD, "lr", (0.1, 0.05, 0.2)),
        (optim.SGD, "momentum", (0.9, 0.5, 0.8)),
        (optim.SGD, "dampening", (0.1, 0.5, 0.3)),
        (optim.SGD, "weight_decay", (0.1, 0.05, 0.2)),
        (optim.Adam, "lr", (0.1, 0.05, 0.2)),
        (optim.Adam, "betas", ((0.9, 0.99), (0.8, 0.9), (0.5, 0.95))),
        (optim.Adam, "eps", (1e-8, 1e-3, 1e-4)),
        (optim.Adam, "weight_decay", (0.1, 0.05, 0.2)),
        (optim.AdamW, "weight_decay", (0.1, 0.05, 0.2)),
    ],
)
def test_options(kind, name, values):
    """A new value is read at the next call: no new capture."""

    def between(run, k):
        run.optimizer.param_groups[0][name] = values[k % 3]

    start = {"momentum": 0.9} if kind is optim.SGD else {}
    check(between, optimizer=lambda p: kind(p, lr=0.05, **start), captures=2)


@pytest.mark.parametrize("name", ["momentum", "weight_decay", "lr", "dampening"])
def test_options_that_become_zero_and_back(name):
    def between(run, k):
        run.optimizer.param_groups[0][name] = [0.0, 0.0, 0.1, 0.1, 0.2, 0.0, 0.0, 0.3, 0.0][k]

    check(between, optimizer=lambda p: optim.SGD(p, **{**MOMENTUM, name: 0.0}))


@pytest.mark.parametrize("name", ["nesterov", "maximize"])
def test_flags(name):
    def between(run, k):
        run.optimizer.param_groups[0][name] = k % 3 == 1

    check(between, optimizer=lambda p: optim.SGD(p, **MOMENTUM))


def test_a_schedule_of_learning_rates():
    def between(run, k):
        for group in run.optimizer.param_groups:
            group["lr"] *= 0.7

    check(between, captures=2)


def test_state_dict_of_the_model():
    """Saved, trained on, loaded again: the loaded values are those of the next step."""
    kept = {}

    def between(run, k):
        if k == 3:
            kept[run.runs is None] = copy.deepcopy(run.model.state_dict())
        if k == 6:
            run.model.load_state_dict(kept[run.runs is None])

    check(between, captures=2)


@pytest.mark.parametrize("optimizer", [lambda p: optim.Adam(p, lr=0.01), lambda p: optim.SGD(p, **MOMENTUM)])
def test_state_dict_of_the_optimizer(optimizer):
    kept = {}

    def between(run, k):
        if k == 3:
            kept[run.runs is None] = copy.deepcopy(run.optimizer.state_dict())
        if k == 6:
            run.optimizer.load_state_dict(kept[run.runs is None])

    check(between, optimizer=optimizer)


def test_optimizer_state_is_readable_and_changeable():
    def between(run, k):
        state = run.optimizer.state[run.model[0].weight]
        if k == 5:
            state["exp_avg"].zero_()
        if k:
            assert float(state["step"]) == k
            return [state["exp_avg"].clone(), state["exp_avg_sq"].clone()]
        return None

    check(between, captures=2)


def test_optimizer_state_replaced():
    def between(run, k):
        if k == 4:
            run.optimizer.load_state_dict(run.optimizer.state_dict())

    check(between)


def test_a_new_group():
    def between(run, k):
        if k == 0:
            run.model.add_module("extra", nn.Linear(4, 4))
        if k == 4:
            run.optimizer.add_param_group({"params": run.model.extra.parameters(), "lr": 0.2})

    check(between)


def with_dropout():
    return nn.Sequential(nn.Linear(6, 16), nn.Dropout(0.5), nn.ReLU(), nn.Linear(16, 4))


def test_train_and_eval():
    check(lambda run, k: run.model.train(k % 4 < 2) and None, model=with_dropout, captures=3)


def test_python_numbers_are_frozen():
    """What the function reads from Python is as it was at capture, until something is captured anew."""
    layer = nn.Dropout(0.0)
    function = tg.compile(lambda x: layer(x))
    exactly(function(tg.ones(4)), tg.ones(4))
    layer.p = 1.0
    exactly(function(tg.ones(4)), tg.ones(4))
    exactly(function(tg.ones(5)), tg.zeros(5))


def test_dropout_and_manual_seed():
    """One stream of random numbers, whoever draws."""

    def between(run, k):
        if k == 5:
            tg.manual_seed(77)
        return tg.rand(3)

    check(between, model=with_dropout, captures=2)


def test_values_of_parameters():
    """In place, by .data, under no_grad: the memory stays or is replaced."""

    def between(run, k):
        weight = run.model[2].weight
        with tg.no_grad():
            if k == 3:
                weight.mul_(0.5)
            if k == 4:
                weight.copy_(tg.ones(16, 16))
        if k == 5:
            weight.data = tg.full((16, 16), 0.01)
        if k == 6:
            weight.data.mul_(2.0)
        if k == 7:
            weight.data = weight.detach().t().contiguous().t()  # another layout

    check(between)


def test_a_new_parameter():
    def between(run, k):
        if k == 4:
            run.model[2].weight = nn.Parameter(tg.full((16, 16), 0.01))

    check(between)


def test_a_new_layer():
    def between(run, k):
        if k == 3:
            run.model[1] = nn.Tanh()
        if k == 6:
            run.model[4] = nn.Linear(16, 4)

    check(between)


def test_no_bias_any_more():
    def between(run, k):
        if k == 4:
            run.model[0].bias = None

    check(between)


def test_requires_grad():
    def between(run, k):
        run.model[0].weight.requires_grad_(k not in (3, 4, 7))

    check(between)


def test_frozen_from_the_start():
    def between(run, k):
        for p in run.model[0].parameters():
            p.requires_grad_(False)

    check(between, captures=2)


@pytest.mark.parametrize("zero", ["before", "after", "between", "never"])
@pytest.mark.parametrize("set_to_none", [True, False])
def test_zero_grad(zero, set_to_none):
    """Inside of the step before or after, outside of it, or not at all (gradients add up)."""

    def between(run, k):
        if zero == "between":
            run.optimizer.zero_grad(set_to_none)

    class Optimizer(optim.SGD):
        def zero_grad(self, set_to_none=set_to_none):
            super().zero_grad(set_to_none)

    check(between, zero=zero, optimizer=lambda p: Optimizer(p, lr=0.05), keep_grads=True)


def test_kept_gradients():
    """keep_grads=True: .grad as in eager, also where the user holds an old one, which keeps its values."""
    held = {True: [], False: []}

    def between(run, k):
        if k == 0:
            return None
        mine = held[run.runs is None]
        grads = [p.grad for p in run.model.parameters()]
        if k in (3, 4, 6):
            mine.append((grads, [g.clone() for g in grads]))
        return [g.clone() for g in grads]

    check(between, keep_grads=True, captures=2)
    for mine in held.values():
        for grads, copies in mine:
            exactly(grads, copies)


def test_elided_gradients():
    """Without keep_grads, a gradient that the optimizer used up is not there, and reading it says so."""
    run = check(captures=2)
    weight = run.model[0].weight
    with pytest.raises(RuntimeError, match="keep_grads"):
        _ = weight.grad
    run.optimizer.zero_grad()
    assert weight.grad is None
    run.step(features(), classes())
    weight.grad = tg.zeros(16, 6)
    assert weight.grad.shape == weight.shape
    run.step(features(), classes())
    with pytest.raises(RuntimeError, match="keep_grads"):
        _ = weight.grad
    weight.grad = None
    run.eager(features(), classes())
    assert weight.grad is not None


def test_eager_steps_in_between():
    def between(run, k):
        if k in (2, 5, 6):
            return run.eager(features(seed=k + 50), classes(seed=k + 50)).detach()
        return None

    check(between)


def test_batches_of_several_sizes():
    """A program for each size; the parameters are the same."""
    run = check(sizes=(12, 12, 5), captures=3)
    assert len(programs(run.step)) == 2


def test_two_functions_over_one_model():
    results = []
    for capture in (False, True):
        run = Run(capture, model=with_dropout)

        def accuracy(x, y, run=run):
            with tg.no_grad():
                return (run.model(x).argmax(1) == y).float().mean()

        if capture:
            accuracy = tg.compile(accuracy)
        seen = []
        for k in range(CALLS):
            seen.append(run.step(features(seed=k), classes(seed=k)))
            run.model.eval()
            seen.append(accuracy(features(seed=k), classes(seed=k)))
            run.model.train()
        results.append((seen, state_of(run.model, run.optimizer)))
    exactly(results[1], results[0])


def test_label_out_of_range():
    """An error in a kernel is the same error, at capture and at replay, and the next good call is right."""
    bad = tg.tensor([0, 1, 2, 3] * 2 + [0, 1, 2, 9])

    def between(run, k):
        if k in (0, 1, 4):
            with pytest.raises(IndexError):
                run.step(features(), bad)
            run.optimizer.zero_grad()
        return None

    check(between)


def test_grad_mode():
    def between(run, k):
        with tg.no_grad(), pytest.raises(RuntimeError):
            run.step(features(), classes())

    check(between)


def test_a_copied_model_is_another():
    """deepcopy of a model after compiled steps trains on its own."""
    run = check()
    other = copy.deepcopy(run.model)
    before = state_of(other)
    run.step(features(), classes())
    exactly(state_of(other), before)
