"""The tape: accumulation, graph lifetime, no_grad, detach, views, in-place rules."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from graphs import leaf, same

# Backward and accumulation


def test_gradients_accumulate():
    x = leaf([1, 2])
    (x * x).sum().backward()
    same(x.grad, [2, 4])
    (3 * x).sum().backward()
    same(x.grad, [5, 7])
    x.grad = None
    (3 * x).sum().backward()
    same(x.grad, [3, 3])


def test_grad_zeroed_in_place_keeps_its_buffer():
    x = leaf([1, 2])
    (x * x).sum().backward()
    held = x.grad
    x.grad.zero_()
    (x * x).sum().backward()
    same(held, [2, 4])


def test_backward_twice_is_an_error_without_retain_graph():
    x = leaf([1, 2])
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="retain_graph"):
        y.backward()
    same(x.grad, [2, 4])


def test_retain_graph():
    x = leaf([1, 2])
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    y.backward()
    same(x.grad, [6, 12])


def test_backward_with_a_gradient():
    x = leaf([1, 2])
    (x * x).backward(tg.tensor(np.array([1.0, 10.0])))
    same(x.grad, [2, 40])
    (x * x).backward(gradient=tg.ones(2).double())
    same(x.grad, [4, 44])


def test_non_scalar_backward_needs_a_gradient():
    with pytest.raises(RuntimeError, match=r"one element|scalar"):
        (leaf([1, 2]) * 2).backward()
    x = leaf([[3]])
    (x * 2).backward()
    same(x.grad, [[2]])


def test_gradient_of_the_wrong_shape_or_dtype():
    y = leaf([1, 2]) * 2
    with pytest.raises((RuntimeError, ValueError), match="3"):
        y.backward(tg.ones(3).double())
    with pytest.raises((RuntimeError, TypeError)):
        y.backward("text")


def test_backward_of_something_without_a_graph():
    with pytest.raises(RuntimeError, match="grad"):
        tg.ones(1).sum().backward()


def test_diamond():
    x = leaf(3)
    a = x * 2
    b, c = a * a, a + 1
    (b * c).backward()
    same(x.grad, 2 * (2 * 6 * 7 + 36))


def test_one_tensor_used_many_times():
    x = leaf([1.0, 2.0])
    y = x
    for _ in range(1000):
        y = y + x
    y.sum().backward()
    same(x.grad, [1001, 1001])


def test_one_tensor_as_both_operands():
    x = leaf([[1, 2], [3, 4]])
    (x @ x).sum().backward()
    same(x.grad, np.ones((2, 2)) @ x.detach().numpy().T + x.detach().numpy().T @ np.ones((2, 2)))


def test_two_roots_share_a_graph():
    x = leaf([1, 2])
    h = x * x
    h.sum().backward(retain_graph=True)
    (h * h).sum().backward()
    same(x.grad, [2 + 4, 4 + 32])


def test_broadcast_gradients_are_summed():
    a, b, c = leaf(np.ones((3, 1))), leaf(np.ones(4)), leaf(2)
    (a * b * c).sum().backward()
    same(a.grad, np.full((3, 1), 8.0))
    same(b.grad, np.full(4, 6.0))
    same(c.grad, 12)


def test_backward_through_nothing():
    x = leaf(np.zeros((0, 3)))
    (x * 2).sum().backward()
    assert tuple(x.grad.shape) == (0, 3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_of_gradients(dtype):
    x = leaf([1, 2], dtype)
    (x.to(tg.float64) * 2).sum().backward()
    assert x.grad.dtype == getattr(tg, dtype)


# Who owns a gradient


def test_gradient_buffers_are_never_shared():
    a, b, g = leaf([1, 2]), leaf([3, 4]), tg.ones(2).double()
    (a + b).backward(g)
    a.grad.mul_(10)
    same(b.grad, [1, 1])
    same(g, [1, 1])
    g.mul_(5)
    same(b.grad, [1, 1])


@pytest.mark.parametrize(
    "f",
    [
        lambda a: a + 0,
        lambda a: a.view(2),
        lambda a: a.reshape(1, 2),
        lambda a: a.t(),
        lambda a: a.clone(),
        lambda a: a.expand(3, 2),
        lambda a: a[:],
        lambda a: tg.cat([a]),
        lambda a: a.contiguous() * 1,
    ],
    ids=["add", "view", "reshape", "t", "clone", "expand", "slice", "cat", "mul"],
)
def test_incoming_gradient_stays_the_callers(f):
    a = leaf([1, 2])
    y = f(a)
    g = tg.ones_like(y)
    y.backward(g)
    assert not np.shares_memory(a.grad.numpy(), g.numpy())
    before = a.grad.numpy().copy()
    g.zero_()
    same(a.grad, before)
    a.grad.add_(1)  # must be possible: not an expanded view
    same(a.grad, before + 1)


def test_both_operands_of_one_tensor():
    a = leaf([1, 2])
    (a + a).sum().backward()
    same(a.grad, [2, 2])
    a.grad.add_(1)
    same(a.grad, [3, 3])


def test_assigning_grad():
    x = leaf([1, 2])
    x.grad = tg.ones(2).double()
    (x * x).sum().backward()
    same(x.grad, [3, 5])
    with pytest.raises((RuntimeError, ValueError, TypeError)):
        x.grad = tg.ones(3).double()
    with pytest.raises((RuntimeError, ValueError, TypeError)):
        x.grad = 5


# Flags


def test_requires_grad_of_results_and_leaves():
    x, c = leaf([1, 2]), tg.ones(2).double()
    y = x * c
    assert x.is_leaf and x.requires_grad and x.grad_fn is None and x.grad is None
    assert not y.is_leaf and y.requires_grad and y.grad_fn is not None
    assert c.is_leaf and not (c * c).requires_grad and (c * c).grad_fn is None
    assert not (x > 1).requires_grad and not x.argmax().requires_grad
    y.sum().backward()
    assert y.grad is None or not y.is_leaf


def test_integers_refuse_requires_grad():
    for t in (tg.arange(3), tg.tensor([True])):
        with pytest.raises((RuntimeError, TypeError), match="float"):
            t.requires_grad_()
        with pytest.raises((RuntimeError, TypeError), match="float"):
            t.requires_grad = True
    with pytest.raises((RuntimeError, TypeError), match="float"):
        tg.tensor([1, 2], requires_grad=True)


def test_creation_with_requires_grad():
    for t in (tg.ones(2, requires_grad=True), tg.tensor([1.0], requires_grad=True), tg.randn(3, requires_grad=True)):
        assert t.requires_grad and t.is_leaf
    x = tg.ones(2)
    x.requires_grad = True
    assert x.requires_grad and x.requires_grad_(False) is x and not x.requires_grad


def test_requires_grad_of_an_interior_tensor_cannot_be_taken_away():
    y = leaf([1, 2]) * 2
    with pytest.raises(RuntimeError):
        y.requires_grad = False


def test_detach():
    x = leaf([1, 2])
    d = (x * 3).detach()
    assert not d.requires_grad and d.is_leaf
    (x * d).sum().backward()
    same(x.grad, [3, 6])
    y = x * 1
    assert np.shares_memory(y.detach().numpy(), y.detach().numpy())


def test_data_shares_memory_and_has_no_graph():
    x = leaf([1, 2])
    x.data.mul_(2)
    same(x, [2, 4])
    assert not x.data.requires_grad


# no_grad


def test_no_grad():
    x = leaf([1, 2])
    with tg.no_grad():
        assert not tg.is_grad_enabled()
        y = x * x
        with tg.enable_grad():
            z = x * x
    assert tg.is_grad_enabled()
    assert not y.requires_grad and z.requires_grad


def test_no_grad_as_decorator():
    @tg.no_grad()
    def f(x, *, scale):
        """Doc."""
        return x * scale

    x = leaf([1, 2])
    assert not f(x, scale=2).requires_grad
    assert f.__name__ == "f" and f.__doc__ == "Doc."
    assert tg.is_grad_enabled()

    @tg.enable_grad()
    def g(x):
        return x * 2

    with tg.no_grad():
        assert g(x).requires_grad


def test_no_grad_is_undone_by_exceptions():
    with pytest.raises(ZeroDivisionError), tg.no_grad():
        raise ZeroDivisionError
    assert tg.is_grad_enabled()


def test_set_grad_enabled():
    x = leaf([1, 2])
    with tg.set_grad_enabled(False):
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad
    tg.set_grad_enabled(False)
    try:
        assert not tg.is_grad_enabled()
    finally:
        tg.set_grad_enabled(True)


# autograd.grad


def test_grad_function():
    x, y = leaf([1, 2]), leaf([3, 4])
    gx, gy = tg._core.grad((x * x * y).sum(), [x, y])
    same(gx, [6, 16])
    same(gy, [1, 4])
    assert x.grad is None and y.grad is None


def test_grad_of_an_interior_tensor():
    x = leaf([1, 2])
    h = x * x
    (g,) = tg._core.grad((h * h).sum(), [h])
    same(g, [2, 8])


def test_grad_of_something_unused():
    x, y = leaf([1, 2]), leaf([3, 4])
    with pytest.raises(RuntimeError, match="unused"):
        tg._core.grad((x * 2).sum(), [x, y])
    gx, gy = tg._core.grad((x * 2).sum(), [x, y], allow_unused=True)
    same(gx, [2, 2])
    assert gy is None


def test_second_and_third_derivative():
    x = leaf(2)
    (g,) = tg._core.grad(x * x * x * x, [x], create_graph=True)
    (h,) = tg._core.grad(g, [x], create_graph=True)
    (k,) = tg._core.grad(h, [x])
    same(g, 32)
    same(h, 48)
    same(k, 48)


def test_gradient_penalty():
    x, w = leaf([[1, 2], [3, 4]]), leaf([[0.5], [-1]])
    (g,) = tg._core.grad((x @ w).tanh().sum(), [x], create_graph=True)
    (g * g).sum().backward()
    xv, wv, h = x.detach().numpy(), w.detach().numpy(), 1e-6

    def penalty(w):
        return np.sum(((1 - np.tanh(xv @ w) ** 2) @ w.T) ** 2)

    for k in range(2):
        e = np.zeros((2, 1))
        e[k] = h
        assert w.grad[k, 0].item() == pytest.approx((penalty(wv + e) - penalty(wv - e)) / (2 * h), rel=1e-6)


def test_gradients_of_grad_share_no_memory():
    a = tg.ones(3, requires_grad=True)
    b = tg.ones(3, requires_grad=True)
    ga, gb = tg.autograd.grad((a + b).sum(), [a, b])
    ga += 1
    assert gb.tolist() == [1, 1, 1]
