"""utils.checkpoint: less memory, the same bits."""

from __future__ import annotations

import pytest

import tapegrad as tg
from tapegrad import autograd, nn
from tapegrad.autograd import Function
from tapegrad.utils.checkpoint import checkpoint, checkpoint_sequential


def model(width=32, depth=4):
    tg.manual_seed(0)
    layers = [nn.Linear(8, width)]
    for _ in range(depth):
        layers += [nn.ReLU(), nn.Dropout(0.3), nn.LayerNorm(width), nn.Linear(width, width), nn.Tanh()]
    return nn.Sequential(*layers)


def gradients(run, net):
    x = tg.randn(16, 8, generator=tg.Generator().manual_seed(1)).requires_grad_()
    net.zero_grad()
    tg.manual_seed(5)
    y = run(net, x)
    tail = tg.rand(3)
    (y * y).mean().backward()
    return [y.detach(), tail, x.grad, *(p.grad for p in net.parameters())]


def residual(net, x, call):
    """The input is used inside, twice, and outside."""
    h = net[0](x)
    for k in range(4):
        part = net[5 * k + 1 : 5 * k + 6]
        h = h + call(lambda h, part=part: part(h) * h.sigmoid() + part[2](h), h)
    return h


RUNS = {
    "whole": (lambda net, x: checkpoint(net, x), lambda net, x: net(x)),
    "parts": (lambda net, x: checkpoint_sequential(net, 3, x), lambda net, x: net(x)),
    "residual": (lambda net, x: residual(net, x, checkpoint), lambda net, x: residual(net, x, lambda f, h: f(h))),
    "nested": (
        lambda net, x: checkpoint(lambda x: checkpoint(net[8:], checkpoint(net[:8], x)), x),
        lambda net, x: net(x),
    ),
    "two": (
        lambda net, x: sum(checkpoint(lambda x: (net(x), net(x * 2)), x)),
        lambda net, x: sum((net(x), net(x * 2))),
    ),
    "keywords": (
        lambda net, x: checkpoint(lambda x, *, k: net(x) * k, x, k=3.0, use_reentrant=False),
        lambda net, x: net(x) * 3.0,
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_same_bits(name):
    net = model()
    recomputed, plain = (gradients(run, net) for run in RUNS[name])
    for a, b in zip(recomputed, plain, strict=True):
        assert (a == b).all()


def test_less_memory():
    net = nn.Sequential(*[nn.Sequential(nn.Linear(256, 256), nn.Tanh(), nn.Sigmoid()) for _ in range(12)])
    x = tg.randn(2048, 256)
    held = []
    for run in (lambda: net(x), lambda: checkpoint_sequential(net, 6, x)):
        before = tg.memory_stats()["allocated_bytes"]
        y = run()
        held.append(tg.memory_stats()["allocated_bytes"] - before)
        y.sum().backward()
        del y
    assert held[1] < held[0] / 2.5


def test_second_derivatives_and_grad():
    w = tg.randn(4, 4, dtype=tg.float64).requires_grad_()
    x = tg.randn(3, 4, dtype=tg.float64).requires_grad_()
    f = lambda x: (x @ w).tanh() * x.exp()  # noqa: E731
    found = []
    for y in (f(x), checkpoint(f, x)):
        (g,) = autograd.grad(y.sum(), x, create_graph=True)
        found.append([g, *autograd.grad((g * g).sum(), [x, w])])
    for a, b in zip(*found, strict=True):
        assert (a - b).abs().max().item() < 1e-12
    assert autograd.gradcheck(lambda x: checkpoint(f, x), x)


def test_backward_twice():
    x = tg.ones(3, requires_grad=True)
    runs = []

    def f(x):
        runs.append(1)
        return x.exp() * x

    y = checkpoint(f, x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert (x.grad == 2 * (2 * x.exp())).all()
    assert len(runs) == 2
    with pytest.raises(RuntimeError, match="retain_graph"):
        y.backward()


def test_not_run_again_where_nothing_is_needed():
    runs = []

    def f(x):
        runs.append(1)
        return x + 1

    x = tg.ones(3, requires_grad=True)
    checkpoint(f, x).sum().backward()
    with tg.no_grad():
        checkpoint(f, x)
    checkpoint(f, tg.ones(3))
    assert len(runs) == 3


def test_function_that_changes():
    x = tg.ones(3, requires_grad=True)
    calls = []

    def f(x):
        calls.append(1)
        return x.exp() if len(calls) == 1 else x.sin().exp()

    with pytest.raises(RuntimeError, match=r"checkpoint.*something else"):
        checkpoint(f, x).sum().backward()

    h = x * 2
    y = checkpoint(lambda h: h.exp(), h)
    with tg.no_grad():
        h.add_(1)
    with pytest.raises(RuntimeError, match="modified in place"):
        y.sum().backward()


def test_errors_of_the_function():
    x = tg.ones(3, requires_grad=True)
    fail = [False]

    def f(x):
        if fail[0]:
            raise KeyError("mine")
        return x.exp()

    y = checkpoint(f, x)
    fail[0] = True
    with pytest.raises(KeyError, match="mine"):
        y.sum().backward()
    fail[0] = False
    y.sum().backward()
    assert (x.grad == x.exp()).all() and tg.is_grad_enabled()
    with pytest.raises(ValueError, match="segments"):
        checkpoint_sequential([f], 2, x)


def test_functions_inside():
    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            return 2 * g * ctx.saved_tensors[0]

    x = tg.ones(3, requires_grad=True)
    checkpoint(lambda x: Square.apply(x.exp()).sin(), x).sum().backward()
    got, x.grad = x.grad, None
    Square.apply(x.exp()).sin().sum().backward()
    assert (got == x.grad).all()


def test_inside_of_compile():
    net = model().eval()

    def step(x):
        return checkpoint(net, x).sum()

    x = tg.randn(16, 8)
    fast = tg.compile(step)
    for _ in range(3):
        net.zero_grad()
        fast(x).backward()
        got = [p.grad.clone() for p in net.parameters()]
        net.zero_grad()
        step(x).backward()
        assert all((a == p.grad).all() for a, p in zip(got, net.parameters(), strict=True))
