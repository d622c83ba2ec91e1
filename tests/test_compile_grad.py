"""Results of a compiled function that are differentiated outside of it: gradients equal to eager's, bit for bit."""

from __future__ import annotations

import pytest

import tapegrad as tg
from captured import compiled, exactly
from tapegrad import nn, optim
from tapegrad.nn import functional as F


def parts():
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 3))
    return model, lambda x, y: F.cross_entropy(model(x), y)


def batch(k, rows=8):
    generator = tg.Generator().manual_seed(k)
    return tg.randn(rows, 5, generator=generator), tg.randint(0, 3, (rows,), generator=generator)


def gradients(model):
    return [None if p.grad is None else p.grad.clone() for p in model.parameters()]


def both(work):
    """work(loss function, model) eager and compiled; returns how often Python ran the compiled function."""
    results = []
    for capture in (False, True):
        model, loss_of = parts()
        if capture:
            loss_of, inner = compiled(loss_of)
        results.append(work(loss_of, model))
    exactly(results[1], results[0])
    return inner.runs


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
def test_backward(threads):
    def work(loss_of, model):
        seen = []
        for k in range(4):
            loss = loss_of(*batch(k))
            assert loss.requires_grad
            assert not loss.is_leaf
            loss.backward()
            seen.append((loss, gradients(model)))
            if k == 2:
                model.zero_grad()
        return seen

    with tg.threads(threads):
        assert both(work) == 1


def test_training_outside():
    def work(loss_of, model):
        optimizer, losses = optim.Adam(model.parameters(), lr=0.01), []
        for k in range(12):
            optimizer.zero_grad()
            loss = loss_of(*batch(k, 8 if k % 3 else 5))
            (loss * 0.5 + model[0].weight.square().sum()).backward()
            optimizer.step()
            losses.append(loss)
        return losses, [p.detach() for p in model.parameters()]

    assert both(work) == 2


def test_two_calls_alive_at_once():
    def work(loss_of, model):
        kept = [loss_of(*batch(k)) for k in range(4)]
        kept[2].backward()
        seen = [gradients(model)]
        (kept[0] * 2 + kept[3]).backward()
        seen.append(gradients(model))
        kept[1].backward()
        return kept, seen, gradients(model)

    assert both(work) == 1


def test_retain_graph():
    def work(loss_of, model):
        loss_of(*batch(9))
        loss = loss_of(*batch(0))
        loss.backward(retain_graph=True)
        loss_of(*batch(1))
        loss.backward(retain_graph=True)
        loss.backward()
        with pytest.raises(RuntimeError):
            loss.backward()
        return loss, gradients(model)

    assert both(work) == 1


def test_grad_of_some():
    def work(loss_of, model):
        seen = []
        for k in range(3):
            loss = loss_of(*batch(k))
            seen.append(tg.autograd.grad(loss, [model[2].bias, model[0].weight], retain_graph=True))
            seen.append(tg.autograd.grad(loss, [model[0].bias], tg.tensor(3.0)))
        assert gradients(model) == [None] * 4
        return seen

    assert both(work) == 1


@pytest.mark.parametrize("leaf", [True, False])
def test_arguments_that_require_a_gradient(leaf):
    def f(x, w):
        return (x @ w).tanh(), (w * w).sum()

    results = []
    for capture in (False, True):
        function, seen = tg.compile(f) if capture else f, []
        for k in range(4):
            generator = tg.Generator().manual_seed(k)
            x = tg.randn(3, 4, generator=generator, requires_grad=True)
            w = tg.randn(4, 2, generator=generator, requires_grad=True)
            h, size = function(x, w) if leaf else function(x * 2, w.exp())
            (h.square().sum() + size).backward()
            seen.append((h, size, x.grad, w.grad))
        results.append(seen)
    exactly(results[1], results[0])


def test_only_one_of_several_results():
    def f(x, w):
        h = (x * w).tanh()
        return h, h * 2, x + 1, (h - w).sum()

    for used in (0, 1, 3):
        results = []
        for capture in (False, True):
            function, seen = tg.compile(f) if capture else f, []
            w = tg.ones(3, requires_grad=True)
            for k in range(3):
                out = function(tg.full((3,), k + 0.5), w)
                assert [o.requires_grad for o in out] == [True, True, False, True]
                out[used].sum().backward()
                seen.append((out, w.grad.clone()))
            results.append(seen)
        exactly(results[1], results[0])


def test_one_compiled_function_after_another():
    """A chain of two: the gradient goes through both."""
    results = []
    for capture in (False, True):
        model, _ = parts()
        first, second = (lambda x, m=model: m[0](x).tanh()), (lambda h, y, m=model: F.cross_entropy(m[2](h), y))
        if capture:
            first, second = tg.compile(first), tg.compile(second)
        seen = []
        for k in range(4):
            x, y = batch(k)
            loss = second(first(x), y)
            loss.backward()
            seen.append((loss, gradients(model)))
        results.append(seen)
    exactly(results[1], results[0])


def test_dropout():
    def work(loss_of, model):
        model[1] = nn.Dropout(0.5)
        seen = []
        for k in range(4):
            loss = loss_of(*batch(k))
            loss.backward()
            seen.append((loss, gradients(model)))
        return seen

    assert both(work) == 1


def test_parameters_changed_before_backward():
    """As in eager: an error, not a wrong gradient."""

    def work(loss_of, model):
        for k in range(3):
            loss = loss_of(*batch(k))
            with tg.no_grad():
                model[2].weight.mul_(2)
            with pytest.raises(RuntimeError, match="modified"):
                loss.backward()
        return []

    both(work)


@pytest.mark.parametrize("retain", [True, False])
def test_graphs_that_the_function_uses_up(retain):
    """A step may return what it has differentiated, or what hangs on that; it is outside of the graph then."""

    def work(capture):
        model, _ = parts()
        seen = []

        def step(x, y):
            h = model[0](x).tanh()
            loss = F.cross_entropy(model[2](h), y)
            loss.backward(retain_graph=retain)
            with tg.no_grad():
                for p in model.parameters():
                    p -= 0.1 * p.grad
                    p.grad = None
            return loss, h * 2, loss + 1

        if capture:
            step = tg.compile(step)
        for k in range(4):
            seen.append(step(*batch(k)))
        return seen, [p.detach() for p in model.parameters()]

    exactly(work(True), work(False))


def test_create_graph_is_refused():
    _, loss_of = parts()
    fast = tg.compile(loss_of)
    x, y = batch(0)
    fast(x, y)
    x.requires_grad_()
    fast(x, y)
    with pytest.raises(RuntimeError, match="create_graph"):
        tg.autograd.grad(fast(x, y), [x], create_graph=True)


def test_a_double_gradient_inside():
    """A gradient penalty: create_graph within the function."""

    def f(x, w):
        loss = (x @ w).tanh().square().sum()
        (g,) = tg.autograd.grad(loss, [w], create_graph=True)
        return loss + g.square().sum()

    results = []
    for capture in (False, True):
        function, seen = tg.compile(f) if capture else f, []
        w = tg.linspace(-1, 1, 8).reshape(4, 2).requires_grad_()
        for k in range(4):
            total = function(tg.randn(3, 4, generator=tg.Generator().manual_seed(k)), w)
            total.backward()
            seen.append((total, w.grad.clone()))
        results.append(seen)
    exactly(results[1], results[0])
