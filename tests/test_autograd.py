"""autograd by function: grad and backward with all their arguments, hooks, retained gradients, modes."""

from __future__ import annotations

import threading

import pytest

import tapegrad as tg
from graphs import leaf, same
from tapegrad import autograd

# grad and backward


def test_grad_takes_one_tensor_or_many():
    x, y = leaf([1, 2]), leaf([3, 4])
    for inputs in (x, [x], (x,)):
        (g,) = autograd.grad((x * x).sum(), inputs)
        same(g, [2, 4])
    gx, gy = autograd.grad([(x * y).sum(), x * 2], [x, y], [None, tg.tensor([1.0, 10.0], dtype=tg.float64)])
    same(gx, [3 + 2, 4 + 20])
    same(gy, [1, 2])
    assert x.grad is None


def test_grad_materializes_zeros():
    x, y = leaf([1, 2]), leaf([[3, 4]])
    gx, gy = autograd.grad((x * 2).sum(), [x, y], materialize_grads=True)
    same(gx, [2, 2])
    same(gy, [[0, 0]])
    assert autograd.grad((x * 2).sum(), [y], allow_unused=True) == (None,)
    with pytest.raises(ValueError, match="materialize_grads"):
        autograd.grad((x * 2).sum(), [y], allow_unused=False, materialize_grads=True)


def test_only_inputs_is_in_pytorchs_place():
    x = leaf([1.0, 2.0])
    (g,) = autograd.grad(x * x, x, tg.ones(2).double(), True, False, True)
    same(g, [2, 4])
    with pytest.raises(ValueError, match="only_inputs=False is not supported"):
        autograd.grad(x.sum(), x, only_inputs=False)


def test_grad_refuses():
    x, c = leaf([1, 2]), tg.ones(2)
    with pytest.raises(ValueError, match=r"vmap"):
        autograd.grad(x * 2, x, tg.ones(3, 2), is_grads_batched=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        autograd.grad((x * 2).sum(), [c])
    with pytest.raises(RuntimeError, match="one element"):
        autograd.grad(x * 2, [x])
    with pytest.raises(RuntimeError, match="does not match"):
        autograd.grad(x * 2, [x], tg.ones(3).double())
    with pytest.raises(ValueError, match="grad_outputs"):
        autograd.grad([x * 2, x * 3], [x], [tg.ones(2).double()])
    with pytest.raises(TypeError):
        autograd.grad(x * 2, [x], "text")


def test_grad_leaves_other_parts_of_the_graph_alone():
    """Only what leads to the inputs runs: another branch may have been used up, and its hooks are silent."""
    x, w = leaf([1, 2]), leaf([3, 4])
    h = x * x
    other = (w * w) * 1
    seen = []
    other.register_hook(seen.append)
    y = (h * other).sum()
    other.sum().backward()
    seen.clear()
    (g,) = autograd.grad(y, [x])
    same(g, [2 * 9, 4 * 16])
    assert not seen


def test_gradients_of_inner_tensors_share_no_memory():
    x = leaf([1, 2])
    a, b = x * 1, x * 2
    ga, gb = autograd.grad((a + b).sum(), [a, b])
    ga.add_(1)
    same(gb, [1, 1])
    ga, gx = autograd.grad((x * 3).sum() + 0 * (x * 1).sum(), [x, x])
    ga.add_(1)
    same(gx, [3, 3])


def test_grad_of_both_ends_of_a_chain():
    x = leaf([1, 2])
    h = x * x
    gx, gh = autograd.grad((h * h).sum(), [x, h])
    same(gh, [2, 8])
    same(gx, [4, 32])


def test_backward_of_several_roots_is_one_sweep():
    x = leaf([1, 2])
    h = x * x
    count = []
    h.register_hook(lambda g: count.append(1))
    autograd.backward([h.sum(), (h * 2).sum()])
    same(x.grad, [6, 12])
    assert count == [1]
    autograd.backward((x * 1, (x * x).sum()), (tg.tensor([1.0, 2.0], dtype=tg.float64), None))
    same(x.grad, [6 + 1 + 2, 12 + 2 + 4])


@pytest.mark.parametrize("by_method", [True, False])
def test_backward_into_inputs(by_method):
    x, w = leaf([1, 2]), leaf([3, 4])
    h = x * w
    y = (h * h).sum()
    if by_method:
        y.backward(inputs=[w, h])
    else:
        autograd.backward(y, inputs=[w, h])
    assert x.grad is None
    same(w.grad, [2 * 3, 8 * 4])
    same(h.grad, [6, 16])
    (x * w).sum().backward(inputs=w)
    same(w.grad, [6 + 1, 32 + 2])


def test_create_graph_in_backward():
    x = leaf([1.0, 2.0])
    (x * x * x).sum().backward(create_graph=True)
    (g,) = autograd.grad(x.grad.sum(), x)
    same(g, [6, 12])


# Hooks


def test_hook_sees_and_replaces_the_gradient():
    x = leaf([1, 2])
    h = x * 3
    seen = []
    h.register_hook(lambda g: seen.append(g.tolist()))
    handle = h.register_hook(lambda g: g * 10)
    h.register_hook(lambda g: seen.append(g.tolist()))
    (h * 2).sum().backward(retain_graph=True)
    assert seen == [[2, 2], [20, 20]]
    same(x.grad, [60, 60])
    handle.remove()
    handle.remove()
    x.grad = None
    (h * 2).sum().backward()
    same(x.grad, [6, 6])


def test_hook_of_a_leaf_sees_the_sum():
    x = leaf([1, 2])
    seen = []
    with x.register_hook(lambda g: seen.append(g.tolist()) or g + 1):
        (x * x + x * 3).sum().backward()
    assert seen == [[5, 7]]
    same(x.grad, [6, 8])
    (g,) = autograd.grad((x * x).sum(), x)
    same(g, [2, 4])
    x.register_hook(lambda g: -g)
    (g,) = autograd.grad((x * x).sum(), x)
    same(g, [-2, -4])


def test_hook_after_accumulation():
    x, w = leaf([1, 2]), leaf([3, 4])
    seen = []
    x.register_post_accumulate_grad_hook(lambda t: seen.append((t is x, t.grad.tolist(), w.grad)))
    (w * (x * x + x)).sum().backward()
    (x * 2).sum().backward(inputs=[x])
    assert seen[0][:2] == (True, [9, 20])
    assert seen[1][1] == [11, 22]


def test_optimizer_in_backward_frees_gradients_early():
    """The hook of a leaf runs as soon as its last gradient has come, not at the end."""
    a, b = leaf([1.0]), leaf([2.0])
    order = []
    for name, t in (("a", a), ("b", b)):
        t.register_post_accumulate_grad_hook(lambda t, name=name: order.append(name))
    h = a * 2
    h.register_hook(lambda g: order.append("h"))
    (h * b).sum().backward()
    assert order == ["b", "h", "a"]


def test_hook_may_write_in_place():
    """What a hook is given is its own: other branches do not see the write."""
    x = leaf([1, 2])
    a, b = x * 1, x * 1
    a.register_hook(lambda g: g.mul_(100))
    (a + b).sum().backward()
    same(x.grad, [101, 101])


def test_hook_that_keeps_its_gradient():
    x = leaf([1, 2])
    kept = []
    a = x * 2
    a.register_hook(kept.append)
    (a + x).sum().backward()
    x.grad.add_(5)
    same(kept[0], [1, 1])


@pytest.mark.parametrize("bad", [lambda g: g.sum(), lambda g: g.float(), lambda g: 3])
def test_hook_that_returns_something_else(bad):
    x = leaf([1, 2])
    h = x * 2
    h.register_hook(bad)
    with pytest.raises((RuntimeError, TypeError), match="hook"):
        h.sum().backward()


def test_hooks_where_there_is_no_gradient():
    with pytest.raises(RuntimeError, match="does not require grad"):
        tg.ones(2).register_hook(print)
    with pytest.raises(RuntimeError, match="leaf"):
        (leaf([1]) * 2).register_post_accumulate_grad_hook(print)
    with pytest.raises(TypeError):
        leaf([1]).register_hook(3)


def test_errors_of_hooks_pass_through():
    x = leaf([1, 2])
    h = x * 2

    def fail(g):
        raise KeyError("mine")

    handle = h.register_hook(fail)
    with pytest.raises(KeyError, match="mine"):
        h.sum().backward(retain_graph=True)
    handle.remove()
    h.sum().backward()
    same(x.grad, [2, 2])


def test_hook_may_run_backward_itself():
    x, w = leaf([1, 2]), leaf([3, 4])
    h = x * 2

    @tg.enable_grad()
    def hook(g):
        (w * w).sum().backward()

    h.register_hook(hook)
    h.sum().backward()
    same(x.grad, [2, 2])
    same(w.grad, [6, 8])


def test_hook_under_create_graph():
    x = leaf([1.0, 2.0])
    h = x * x
    h.register_hook(lambda g: g * h.detach())
    (g,) = autograd.grad((h * h).sum(), x, create_graph=True)
    same(g, [4, 2 * 4 * 4 * 4])
    autograd.grad(g.sum(), x)


def test_hooks_and_writes_in_place():
    """A hook belongs to the value the tensor had when it was registered; retain_grad follows the tensor."""
    x = leaf([1, 2])
    y = x * 2
    seen = []
    y.register_hook(lambda g: seen.append(g.tolist()))
    y.retain_grad()
    y.mul_(10)
    y.sum().backward()
    assert seen == [[10, 10]]
    same(y.grad, [1, 1])
    same(x.grad, [20, 20])


def test_hooks_added_and_removed_by_hooks():
    x = leaf([1])
    order = []
    handles = []

    def first(g):
        order.append("first")
        handles[0].remove()
        x.register_hook(lambda g: order.append("late"))

    handles.append(x.register_hook(first))
    x.sum().backward()
    assert order == ["first"]
    x.sum().backward()
    assert order == ["first", "late"]


# retain_grad


def test_retain_grad():
    x = leaf([1, 2])
    h = x * 2
    assert not h.retains_grad
    h.retain_grad()
    h.retain_grad()
    assert h.retains_grad and not x.retains_grad
    (h * h).sum().backward(retain_graph=True)
    same(h.grad, [4, 8])
    (h * h).sum().backward()
    same(h.grad, [8, 16])
    h.grad.zero_()
    same(x.grad, [16, 32])
    x.retain_grad()
    with pytest.raises(RuntimeError, match="does not require grad"):
        tg.ones(1).retain_grad()


def test_retained_gradients_are_nobody_elses():
    x = leaf([1, 2])
    a, b = x * 1, x * 1
    a.retain_grad(), b.retain_grad()
    (a + b).sum().backward()
    a.grad.add_(1)
    same(b.grad, [1, 1])
    same(x.grad, [2, 2])


def test_retaining_tensor_may_go_first():
    x = leaf([1, 2])
    h = x * 2
    h.retain_grad()
    y = h * 3
    del h
    y.sum().backward()
    same(x.grad, [6, 6])


# Leaves and modes


def test_detach_in_place():
    x = leaf([1, 2])
    y = x * 2
    y.retain_grad()
    assert y.detach_() is y and y.is_leaf and not y.requires_grad and y.grad_fn is None
    y.requires_grad_()
    (y * y).sum().backward()
    assert x.grad is None
    same(y.grad, [4, 8])


def test_inference_mode():
    x = leaf([1, 2])
    with tg.inference_mode():
        assert tg.autograd.is_inference_mode_enabled() and not tg.is_grad_enabled()
        y = x * x
        with tg.enable_grad():
            assert not (x * x).requires_grad
        x.add_(0)
    assert not y.requires_grad and tg.is_grad_enabled() and not tg.autograd.is_inference_mode_enabled()
    with tg.inference_mode(False):
        assert (x * x).requires_grad

    @tg.inference_mode()
    def f(x):
        return x * 2

    @tg.inference_mode
    def g(x):
        return x * 2

    assert not f(x).requires_grad and not g(x).requires_grad and (x * 2).requires_grad
    with pytest.raises(ZeroDivisionError), tg.inference_mode():
        raise ZeroDivisionError
    assert tg.is_grad_enabled()


def test_modes_belong_to_their_thread():
    seen = []
    with tg.inference_mode():
        thread = threading.Thread(target=lambda: seen.append((leaf([1]) * 2).requires_grad))
        thread.start()
        thread.join()
    assert seen == [True]
