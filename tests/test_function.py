"""autograd.Function: operations with a gradient of their own."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from graphs import leaf, same
from tapegrad import autograd
from tapegrad.autograd import Function, gradcheck, gradgradcheck
from tapegrad.autograd._function import once_differentiable


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * x * x * g


class Exp(Function):
    """Saves its own result."""

    @staticmethod
    def forward(x):
        return x.exp()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0]


class ScaledPair(Function):
    """Several results, and arguments that are no tensors."""

    @staticmethod
    def forward(ctx, a, factor, b, name="pair"):
        ctx.save_for_backward(a, b)
        ctx.factor = factor
        return a * b * factor, a + b

    @staticmethod
    def backward(ctx, g, h):
        a, b = ctx.saved_tensors
        return g * b * ctx.factor + h, None, g * a * ctx.factor + h, None


def test_gradients():
    x = leaf([1, 2])
    y = Cube.apply(x)
    assert y.requires_grad and not y.is_leaf and "Cube" in repr(y)
    y.sum().backward()
    same(x.grad, [3, 12])
    with tg.no_grad():
        assert not Cube.apply(x).requires_grad
    assert not Cube.apply(tg.ones(2)).requires_grad


@pytest.mark.parametrize("function", [Cube, Exp])
def test_checked_twice(function):
    x = leaf([0.5, -1.5, 2.0])
    assert gradcheck(function.apply, x)
    assert gradgradcheck(function.apply, x)
    (g,) = autograd.grad(function.apply(x).sum(), x, create_graph=True)
    (h,) = autograd.grad(g.sum(), x, create_graph=True)
    (k,) = autograd.grad(h.sum(), x)
    same(k, [6, 6, 6] if function is Cube else np.exp(x.detach().numpy()))


def test_several_results_and_plain_arguments():
    a, b = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    p, s = ScaledPair.apply(a, 2.0, b, "name")
    (p.sum() + (s * s).sum()).backward()
    same(a.grad, [2 * 3 + 2 * 4, 2 * 4 + 2 * 6])
    f = lambda a, b: ScaledPair.apply(a, 2.0, b)  # noqa: E731
    assert gradcheck(f, (a, b)) and gradgradcheck(f, (a, b))
    for k, want in ((0, [6, 8]), (1, [1, 1])):  # one result alone
        (g,) = autograd.grad(ScaledPair.apply(a, 2.0, b)[k].sum(), a)
        same(g, want)
    p, s = ScaledPair.apply(a, 2.0, b)
    gp, gs = autograd.grad((p * s).sum(), [p, s], retain_graph=True)
    same(gp, s)
    same(gs, p)
    p.retain_grad(), s.retain_grad()
    (p + 2 * s).sum().backward()
    same(p.grad, [1, 1])
    same(s.grad, [2, 2])


def test_hooks_on_each_result():
    a, b = leaf([1.0]), leaf([3.0])
    p, s = ScaledPair.apply(a, 1.0, b)
    p.register_hook(lambda g: g * 10)
    s.register_hook(lambda g: g * 100)
    (p + s).sum().backward()
    same(a.grad, [10 * 3 + 100])


def test_needs_input_grad():
    seen = []

    class Spy(Function):
        @staticmethod
        def forward(ctx, a, k, b):
            seen.append(ctx.needs_input_grad)
            return a * b

        @staticmethod
        def backward(ctx, g):
            seen.append(ctx.needs_input_grad)
            return g, None, g

    a, b = leaf([1.0]), leaf([2.0])
    Spy.apply(a, 3, tg.ones(1).double()).backward()
    autograd.grad(Spy.apply(a, 3, b), b)
    assert seen == [(True, False, False)] * 2 + [(True, False, True), (False, False, True)]


def test_results_without_gradient():
    class Split(Function):
        @staticmethod
        def forward(ctx, x, materialize):
            ctx.set_materialize_grads(materialize)
            sign, count = x.sign() if hasattr(x, "sign") else x / x.abs(), (x > 0).sum()
            ctx.mark_non_differentiable(sign)
            return x * 2, sign, count, "text", x * 3

        @staticmethod
        def backward(ctx, g, *others):
            seen.append([None if o is None else o.tolist() for o in others])
            return g * 2, None

    x = leaf([1.0, -2.0])
    for materialize in (True, False):
        seen: list = []
        y, sign, count, text, z = Split.apply(x, materialize)
        assert y.requires_grad and z.requires_grad and not sign.requires_grad and not count.requires_grad
        assert text == "text"
        x.grad = None
        y.sum().backward()
        same(x.grad, [2, 2])
        assert seen == [[[0, 0], 0, 0, [0, 0]] if materialize else [None] * 4]


def test_in_place():
    class AddOne(Function):
        @staticmethod
        def forward(ctx, x):
            x.add_(1)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 2

    x = leaf([1.0])
    h = x * 3
    version = h._version
    y = AddOne.apply(h)
    assert y is h and y._version > version
    y.sum().backward()
    same(x.grad, [6])
    with pytest.raises(RuntimeError, match="AddOne"):
        AddOne.apply(x)


def test_result_that_is_an_argument():
    class Identity(Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return -g

    x = leaf([1.0])
    y = Identity.apply(x)
    assert y is not x and x.is_leaf
    y.backward()
    same(x.grad, [-1])


def wrong(returns):
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x, k):
            return x * k

        @staticmethod
        def backward(ctx, g):
            return returns(g)

    return Wrong


@pytest.mark.parametrize(
    ("returns", "words"),
    [
        (lambda g: g, "1 gradients for the 2"),
        (lambda g: (g, None, g), "3 gradients for the 2"),
        (lambda g: (g[:1], None), "shape"),
        (lambda g: (3.0, None), "float"),
        (lambda g: (g, g), "no tensor"),
    ],
)
def test_wrong_gradients_name_the_function(returns, words):
    x = leaf([1.0, 2.0])
    with pytest.raises((RuntimeError, TypeError), match=rf"Wrong.*{words}"):
        wrong(returns).apply(x, 2.0).sum().backward()


def test_gradients_that_fit():
    """Trailing None, a broadcast shape, another dtype."""
    for returns in (lambda g: (g, None, None), lambda g: (g.expand(3, 2), None), lambda g: [g.float(), None]):
        x = leaf([1.0, 2.0])
        wrong(returns).apply(x, 1.0).sum().backward()
        assert x.grad.dtype is tg.float64
        same(x.grad, [3, 3] if returns(x)[0].ndim == 2 else [1, 1])


def test_saved_tensors_are_checked():
    x = leaf([1.0, 2.0])
    h = x * 1
    y = Cube.apply(h)
    with tg.no_grad():
        h.mul_(2)
    with pytest.raises(RuntimeError, match=r"Cube.*modified in place by mul_"):
        y.sum().backward()
    y = Cube.apply(x)
    y.sum().backward()
    with pytest.raises(RuntimeError, match=r"Cube.*retain_graph"):
        y.sum().backward()
    with pytest.raises(TypeError, match="save_for_backward"):
        autograd.FunctionCtx().save_for_backward(3)


def test_once_differentiable():
    class Once(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @once_differentiable
        def backward(ctx, g):
            assert not tg.is_grad_enabled()
            return g * 2 * ctx.saved_tensors[0]

    x = leaf([1.0, 2.0])
    Once.apply(x).sum().backward()
    same(x.grad, [2, 4])
    (g,) = autograd.grad(Once.apply(x).sum(), x, create_graph=True)
    same(g, [2, 4])
    with pytest.raises(RuntimeError, match=r"Once.*once_differentiable"):
        g.sum().backward()


def test_missing_methods():
    class Nothing(Function):
        pass

    class Half(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

    with pytest.raises(NotImplementedError):
        Nothing.apply(leaf([1]))
    with pytest.raises(NotImplementedError, match="backward"):
        Half.apply(leaf([1])).backward()


def test_errors_in_forward_restore_the_mode():
    class Fail(Function):
        @staticmethod
        def forward(ctx, x):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Fail.apply(leaf([1]))
    assert tg.is_grad_enabled()


def test_backward_without_saved_tensors_runs_again():
    class Double(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    x = leaf([1.0])
    y = Double.apply(x)
    y.backward()
    y.backward()
    same(x.grad, [4])


def test_function_around_functions():
    """backward() may call apply() and autograd.grad itself."""

    class Tanh(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.tanh()

        @staticmethod
        def backward(ctx, g):
            with tg.enable_grad():
                x = ctx.saved_tensors[0].detach().requires_grad_()
                (d,) = autograd.grad(x.tanh().sum(), x)
            return g * d

    x = leaf([0.3, -0.7])
    assert gradcheck(Tanh.apply, x)


def test_long_chain_of_functions():
    """Runs and is released without recursion."""
    x = leaf([1.0])
    y = x
    for _ in range(20_000):
        y = Cube.apply(y)
    y.backward()
    assert x.grad.item() == np.inf or x.grad.item() > 0
    del y
