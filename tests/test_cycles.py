"""Python objects that the graph refers to: cycles are collected, counts and memory stay steady, stacks stay small."""

from __future__ import annotations

import gc
import sys
import weakref

import pytest

import tapegrad as tg
from graphs import Keep, leaf, same
from test_tape_scale import on_small_stack


class Witness:
    pass


def through_ctx(flag):
    y = Keep.apply(leaf([1.0]))
    y.grad_fn  # noqa: B018
    Keep.apply(y)
    y.register_hook(lambda g, flag=flag: None)


def through_a_hook_and_its_tensor(flag):
    y = leaf([1.0]) * 2
    y.register_hook(lambda g, y=y, flag=flag: None)


def through_a_leaf(flag):
    x = leaf([1.0])
    x.register_hook(lambda g, x=x, flag=flag: None)
    x.register_post_accumulate_grad_hook(lambda t, x=x: None)


def through_the_loss(flag):
    h = leaf([1.0]) * 2
    h.register_hook(lambda g: None)
    loss = ((h * h).exp() * h).sum()
    h.register_hook(lambda g, loss=loss, flag=flag: None)


def after_backward(flag):
    x = leaf([1.0])
    y = Keep.apply(x)
    loss = (y * y).sum()
    y.register_hook(lambda g, loss=loss, y=y, flag=flag: None)
    loss.backward()
    del y


def through_a_leaf_of_the_graph(flag):
    x = leaf([1.0])
    x.register_hook(lambda g: None)
    y = x * 2
    x.register_hook(lambda g, y=y, flag=flag: None)


@pytest.mark.parametrize(
    "make",
    [through_ctx, through_a_hook_and_its_tensor, through_a_leaf, through_the_loss, through_a_leaf_of_the_graph],
)
def test_cycles_are_collected(make):
    flag = Witness()
    gone = weakref.ref(flag)
    make(flag)
    del flag
    for _ in range(3):  # what a collected cycle held may be a cycle, too
        gc.collect()
    assert gone() is None


def test_what_is_reachable_is_not_collected():
    """A cycle that something else holds, by Python or by the graph, keeps its hooks."""
    x = leaf([1.0])
    seen = []
    y = Keep.apply(x)
    z = y * 3
    y.register_hook(lambda g, y=y, seen=seen: seen.append(y.item()))
    del y
    gc.collect()
    w = z * 1
    del z
    gc.collect()
    w.backward()
    assert seen == [2]
    same(x.grad, [6])


def test_collected_while_others_live():
    """Of two results of one graph, one is garbage in a cycle."""
    x = leaf([1.0])
    h = Keep.apply(x)
    seen = []
    h.register_hook(lambda g: seen.append(g.item()))
    a, b = h * 2, h * 3
    a.register_hook(lambda g, a=a: None)
    del a, h
    gc.collect()
    b.backward()
    assert seen == [3]
    same(x.grad, [6])


def test_memory_is_steady_with_hooks_and_functions():
    w = tg.ones(50, requires_grad=True)

    def step():
        h = Keep.apply(w)
        h.register_hook(lambda g, h=h: g)
        h.retain_grad()
        handle = w.register_hook(lambda g: None)
        (h * w).sum().backward()
        handle.remove()
        w.grad = None

    for _ in range(50):
        step()
    gc.collect()
    before, count = tg.memory_stats()["allocated_bytes"], sys.getrefcount(w)
    for _ in range(2000):
        step()
    gc.collect()
    assert tg.memory_stats()["allocated_bytes"] <= before + 4096
    assert abs(sys.getrefcount(w) - count) <= 2


def test_reference_counts_over_a_hundred_thousand_calls():
    w = tg.ones(3, requires_grad=True)
    g = tg.ones(3)

    def step():
        h = w * 2
        h.register_hook(lambda g: None).remove()
        h.backward(g)

    for _ in range(100):
        step()
    gc.collect()
    before = sys.getrefcount(w), sys.getrefcount(g), sys.getrefcount(None), tg.memory_stats()["allocated_bytes"]
    for _ in range(100_000):
        step()
    gc.collect()
    after = sys.getrefcount(w), sys.getrefcount(g), sys.getrefcount(None), tg.memory_stats()["allocated_bytes"]
    assert all(abs(a - b) < 100 for a, b in zip(after, before, strict=True)), (before, after)


def test_chain_of_hooks_on_a_small_stack():
    def run():
        x = leaf([1.0])
        y = x
        count = [0]

        def hook(g):
            count[0] += 1

        for k in range(100_000):
            y = y + x
            if k % 10 == 0:
                y.register_hook(hook)
        y.backward()
        made = count[0]
        for _ in range(100_000):  # released without backward
            y = Keep.apply(y) if _ % 10_000 == 0 else y + x
        del y
        for _ in range(20):  # each Keep is a cycle behind the next one
            gc.collect()
        return made, x.grad.item()

    assert on_small_stack(run) == (10_000, 100_001)
