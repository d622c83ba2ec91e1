"""What compiled functions hold on to: they are collected, memory is steady, programs are few; two threads at once."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

import tapegrad as tg
from captured import exactly, programs
from tapegrad import nn, optim


def test_two_threads_at_once():
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 4))

    def f(x):
        with tg.no_grad():
            return model(x)

    fast, failures = tg.compile(f), []
    fast(tg.randn(16, 8))

    def work(seed):
        generator = tg.Generator().manual_seed(seed)
        try:
            for k in range(150):
                x = tg.randn(16 + k % 2, 8, generator=generator)
                exactly(fast(x), f(x))
        except BaseException as e:
            failures.append(e)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(2)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert not failures, failures[0]


def test_compiled_functions_are_collected():
    """With all they hold: the model, constants, the memory of the program."""

    def make():
        model = nn.Linear(4, 4)
        optimizer = optim.Adam(model.parameters())

        def step(x):
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
            return loss

        fast = tg.compile(step)
        for _ in range(3):
            fast(tg.ones(2, 4))
        return weakref.ref(fast), weakref.ref(model), weakref.ref(programs(fast)[0])

    refs = make()
    gc.collect()
    assert [r() for r in refs] == [None, None, None]


def in_use():
    gc.collect()
    return tg.memory_stats()["allocated_bytes"]


def test_memory_is_steady():
    """Over many captures, and over many replays."""
    p = tg.randn(16, 16, requires_grad=True)

    def f(x):
        loss = ((x @ p).tanh() * 2).sum()
        (g,) = tg.autograd.grad(loss, [p])
        return loss.detach(), g

    x = tg.randn(16, 16)
    for _ in range(20):
        tg.compile(f)(x)
    before = in_use()
    for _ in range(1000):
        tg.compile(f)(x)
    assert in_use() == before
    fast = tg.compile(f)
    fast(x), fast(x)
    before = in_use()
    for _ in range(10_000):
        fast(x)
    assert in_use() == before


def test_many_signatures():
    """The oldest is dropped, with one warning; results stay right."""
    fast = tg.compile(lambda x, s: x * s)
    with pytest.warns(RuntimeWarning, match="signatures"):
        for s in range(100):
            exactly(fast(tg.ones(2), s), tg.full((2,), float(s)))
    assert len(fast._programs) <= 64
    for s in range(100):
        exactly(fast(tg.ones(2), s), tg.full((2,), float(s)))
