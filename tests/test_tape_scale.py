"""The tape at size: long chains on a small stack, big random graphs, steady memory, threads, interpreter exit."""

from __future__ import annotations

import gc
import resource
import sys
import threading

import numpy as np
import pytest

import tapegrad as tg
from graphs import run_apart
from op_case import flat, in_dtype, tensors
from op_cases import CASES

NODES = 1_000_000


def on_small_stack(f):
    """Runs f in a thread with a 256 KB stack and returns its result; its exception is raised here."""
    out: list = []

    def run():
        try:
            out.append(f())
        except BaseException as error:
            out.append(error)

    old = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(old)
    if isinstance(out[0], BaseException):
        raise out[0]
    return out[0]


def chain(x, n):
    y = x
    for _ in range(n):
        y = y + x
    return y


def test_chain_of_a_million_nodes_backward():
    def run():
        x = tg.ones(1, requires_grad=True)
        y = chain(x, NODES)
        y.sum().backward()
        return x.grad.item()

    assert on_small_stack(run) == NODES + 1


def test_chain_of_a_million_nodes_is_freed_without_backward():
    def run():
        x = tg.ones(1, requires_grad=True)
        y = chain(x, NODES)
        del y
        return True

    assert on_small_stack(run)


def test_chain_of_views_and_in_place_writes():
    def run():
        x = tg.ones(4, requires_grad=True)
        y = x * 1
        for _ in range(100_000):
            y = y.view(2, 2).view(4)
        for _ in range(100_000):
            y += 1
        y.sum().backward()
        return x.grad.tolist()

    assert on_small_stack(run) == [1, 1, 1, 1]


def test_random_graph_of_a_hundred_thousand_nodes():
    """Gradients of a random DAG, against the same sweep written out in NumPy."""
    n = 100_000
    rng = np.random.RandomState(5)
    span = np.minimum(np.arange(1, n + 1), 200)
    left = np.arange(1, n + 1) - 1 - (rng.rand(n) * span).astype(int)
    right = np.arange(1, n + 1) - 1 - (rng.rand(n) * span).astype(int)
    weight = rng.uniform(0.2, 0.5, n)

    def run():
        x = tg.tensor(np.array([1.0, -0.5])).requires_grad_()
        nodes = [x]
        for i in range(n):
            nodes.append(nodes[left[i]] * float(weight[i]) + nodes[right[i]] * 0.5)
        nodes[-1].sum().backward()
        return x.grad.numpy()

    adjoint = np.zeros(n + 1)
    adjoint[n] = 1
    for i in range(n - 1, -1, -1):
        adjoint[left[i]] += weight[i] * adjoint[i + 1]
        adjoint[right[i]] += 0.5 * adjoint[i + 1]
    assert adjoint[0] > 0
    np.testing.assert_allclose(on_small_stack(run), [adjoint[0]] * 2, rtol=1e-9)


def resident() -> int:
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/statm")
def test_memory_is_steady():
    """A training-like loop over graphs of changing size keeps its memory."""
    w = tg.randn(64, 64, requires_grad=True)

    def step(k):
        x = tg.randn(32 + k % 7, 64)
        loss = ((x @ w).tanh()[:, ::2] * 2).softmax(1).log().mean()
        loss.backward()
        with tg.no_grad():
            w.sub_(0.01 * w.grad)
        w.grad = None if k % 2 else w.grad.zero_()

    for k in range(300):
        step(k)
    gc.collect()
    before = resident()
    for k in range(3000):
        step(k)
    gc.collect()
    assert resident() - before < 8 << 20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/statm")
def test_errors_and_dropped_graphs_do_not_leak():
    x = tg.randn(1000, requires_grad=True)

    def step():
        y = (x * 2).exp()
        with pytest.raises((ValueError, RuntimeError)):
            y + tg.ones(7)
        with pytest.raises(RuntimeError):
            y.backward()
        y[10:20].reshape(2, 5).t().detach().numpy()
        tg.from_numpy(np.zeros(1000, np.float32)).numpy()

    for _ in range(200):
        step()
    gc.collect()
    before = resident()
    for _ in range(4000):
        step()
    gc.collect()
    assert resident() - before < 8 << 20


@pytest.fixture(scope="module")
def nothing_left():
    """What earlier tests left, cycle behind cycle, is gone or out of the collector's sight, which then is fast, too."""
    for _ in range(5):
        gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_no_op_keeps_memory(case, rng, nothing_left):
    """Forward, backward and every error of the op leave as many bytes allocated as they found."""
    samples = [in_dtype(s, "float32") for s in case.samples(rng)]

    def run():
        for sample in samples:
            args = tensors(tg, sample.args, requires_grad=case.differentiable)
            results = [r for r in flat(case(tg, *args, **sample.kwargs)) if r.requires_grad]
            if results and sample.grad:
                sum(r.sum() for r in results).backward()
        for bad in case.errors:
            with pytest.raises((ValueError, TypeError, IndexError, RuntimeError)):
                bad.call(tg)

    run()
    gc.collect()
    before = tg.memory_stats()["allocated_bytes"]
    run()
    gc.collect()
    assert tg.memory_stats()["allocated_bytes"] == before


def test_reference_counts_are_steady():
    x, values = tg.randn(3, requires_grad=True), np.ones(3, np.float32)
    for _ in range(10):
        (x * tg.from_numpy(values)).sum().backward()
    counts = sys.getrefcount(x), sys.getrefcount(values), sys.getrefcount(None), sys.getrefcount(tg.float32)
    for _ in range(2000):
        (x * tg.from_numpy(values)).sum().backward()
        x.grad = None
        x.shape, x.dtype, x.grad, x.T, x[0], len(x), x.tolist()
    after = sys.getrefcount(x), sys.getrefcount(values), sys.getrefcount(None), sys.getrefcount(tg.float32)
    assert all(abs(a - b) < 100 for a, b in zip(after, counts, strict=True)), (counts, after)


def test_threads_have_graphs_and_modes_of_their_own():
    results: dict[int, list] = {}
    barrier = threading.Barrier(4)

    def work(k):
        barrier.wait()
        x = tg.tensor([float(k), 2.0], requires_grad=True)
        if k % 2:
            with tg.no_grad():
                for _ in range(200):
                    assert not (x * x).requires_grad
        for _ in range(200):
            x.grad = None
            (x * x).sum().backward()
        results[k] = x.grad.tolist()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == {k: [2.0 * k, 4.0] for k in range(4)}


def test_backward_in_another_thread():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    thread = threading.Thread(target=y.backward)
    thread.start()
    thread.join()
    assert x.grad.tolist() == [2, 4]


def test_exit_with_live_graphs():
    program = """
import threading, tapegrad as tg
x = tg.ones(200, 200, requires_grad=True)
keep = [(x @ x).tanh() for _ in range(20)]
keep[0].sum().backward()
class Holder: pass
holder = Holder(); holder.me, holder.graph = holder, keep
threading.Thread(target=lambda: (x @ x).sum().backward()).start()
print("done")
"""
    assert run_apart(program) == "done\n"
