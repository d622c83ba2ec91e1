"""Traps around the graph: writes to saved tensors, threads, the GIL, the end of the interpreter, compile."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

import tapegrad as tg
from graphs import Keep, leaf, run_apart, same
from tapegrad import autograd

# Writes to what the graph has saved: the error names the operation that saved and the one that wrote


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (lambda h: h.add_(1), "add_"),
        (lambda h: h.view(2, 1).mul_(2), "mul_"),
        (lambda h: h[1:].zero_(), "fill_|zero_|copy_"),
        (lambda h: h.detach().copy_(tg.zeros(2)), "copy_"),
        (lambda h: h.__setitem__(0, 3.0), "copy_|fill_|index_put_"),
        (lambda h: h.normal_(), "normal_"),
    ],
    ids=["tensor", "view", "slice", "detached", "setitem", "draw"],
)
def test_write_to_a_saved_tensor_names_both_operations(write, name):
    x = leaf([1.0, 2.0])
    h = x * 1
    y = h.exp() * h
    with tg.no_grad():
        write(h)
    with pytest.raises(RuntimeError, match=rf"(mul|exp): its \w+ float64 \(2,\).* in place by ({name}) "):
        y.sum().backward()


def test_write_by_an_optimizer_names_it():
    w = leaf([1.0, 2.0])
    y = (w * w).sum()
    w.grad = tg.ones_like(w)
    tg.optim.SGD([w], lr=0.1).step()
    with pytest.raises(RuntimeError, match=r"mul.*in place by sgd_step_"):
        y.backward()


def array_of_detached(h):
    return h.detach().numpy()


def view_of_array(h):
    return np.asarray(h.detach())[::-1]


@pytest.mark.parametrize("export", [array_of_detached, view_of_array])
@pytest.mark.parametrize("before", [True, False])
def test_write_to_a_saved_tensor_through_numpy(export, before):
    """Whether the array was made before or after the tensor was saved."""
    x = leaf([1.0, 2.0, 3.0])
    h = x * 1
    a = export(h) if before else None
    y = h * h
    a = export(h) if a is None else a
    y.sum().backward(retain_graph=True)
    same(x.grad, [2, 4, 6])
    a[1] = 50.0
    with pytest.raises(RuntimeError, match=r"mul: its input.* in place by a NumPy array"):
        y.sum().backward()


def test_write_to_the_array_behind_a_tensor():
    a = np.array([1.0, 2.0])
    x, w = tg.from_numpy(a), leaf([3.0, 4.0])
    y = (x * w).sum()
    z = (x[1:] * w[1:]).sum()
    a[0] = 7
    z.backward()
    same(w.grad, [0, 2])
    with pytest.raises(RuntimeError, match="a NumPy array"):
        y.backward()
    (x * w).sum().backward()
    same(w.grad, [7, 2 + 2])


def test_arrays_that_only_read_are_fine():
    x = leaf([1.0, 2.0])
    h = x * 1
    y = h * h
    total = h.detach().numpy().sum() + np.asarray(y.detach()).sum()
    assert total == 8
    with tg.no_grad():
        y.add_(1)  # saved by nobody
    y.sum().backward()
    same(x.grad, [2, 4])


def test_write_in_place_to_an_expanded_tensor():
    t = tg.ones(3, 1)
    for write in (lambda e: e.add_(1), lambda e: e.zero_(), lambda e: e.copy_(tg.ones(3, 4)), lambda e: e.normal_()):
        with pytest.raises(RuntimeError, match=r"expanded tensor.*clone"):
            write(t.expand(3, 4))
    assert t.tolist() == [[1], [1], [1]]


# Threads


def test_gradients_from_several_threads_add_up():
    """Each thread has a graph of its own; all end in one leaf."""
    w = tg.zeros(300, 300, requires_grad=True)
    rounds, workers = 20, 4

    def work():
        for _ in range(rounds):
            (w * 1.0).sum().backward()

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert (w.grad == float(rounds * workers)).all()


def test_other_threads_run_during_hooks_and_kernels():
    """Hooks hold the GIL and may let go of it; long kernels let go of it."""
    ticks, stop = [0], threading.Event()

    def tick():
        while not stop.is_set():
            ticks[0] += 1
            time.sleep(0.0005)

    clock = threading.Thread(target=tick)
    clock.start()
    x = tg.ones(700, 700, requires_grad=True)
    seen = []

    def hook(g):
        before = ticks[0]
        time.sleep(0.02)
        seen.append(ticks[0] - before)

    try:
        for _ in range(3):
            h = x @ x
            h.register_hook(hook)
            (h @ h).sum().backward()
    finally:
        stop.set()
        clock.join()
    assert len(seen) == 3 and max(seen) > 0


def test_one_graph_in_two_threads():
    x = leaf(np.ones((200, 200)))
    y = (x @ x).tanh().sum()
    (want,) = autograd.grad(y, x, retain_graph=True)
    found = []

    def work():
        for _ in range(5):
            found.append(autograd.grad(y, x, retain_graph=True)[0])

    threads = [threading.Thread(target=work) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 15 and all((g == want).all() for g in found)


def test_exit_with_live_hooks_and_functions():
    program = """
import threading, tapegrad as tg
from tapegrad.autograd import Function
class Keep(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.y = x * 2
        return ctx.y
    @staticmethod
    def backward(ctx, g):
        return g * 2
x = tg.ones(200, 200, requires_grad=True)
x.register_hook(lambda g: g)
y = Keep.apply(x)
y.register_hook(lambda g, y=y: g)
z = (y @ y).sum()
y.retain_grad()
class Holder:
    def __del__(self):
        (x * 2).sum().backward()
holder = Holder(); holder.me = holder; holder.graph = z
threading.Thread(target=lambda: z.backward(retain_graph=True)).start()
print("done")
"""
    assert run_apart(program) == "done\n"


# Inside of compile


def hooked(x, w):
    h = x * w
    h.register_hook(lambda g: g * 2)
    h.sum().backward()  # here
    return h.detach()


def hooked_leaf(x, w):
    w.register_post_accumulate_grad_hook(lambda t: None)
    (x * w).sum().backward()  # here
    return x * 2


def custom(x, w):
    y = Keep.apply(x * w)  # here
    return y.sum()


@pytest.mark.parametrize("function", [hooked, hooked_leaf, custom], ids=lambda f: f.__name__)
def test_compile_refuses_python_in_backward(function):
    import inspect

    lines, start = inspect.getsourcelines(function)
    line = f"{__file__}:{start + next(k for k, text in enumerate(lines) if text.endswith('# here' + chr(10)))}"
    x, w = tg.ones(3), tg.ones(3, requires_grad=True)
    with pytest.raises(tg.CaptureError) as error:
        tg.compile(function)(x, w)
    assert line in str(error.value) and "fallback=True" in str(error.value)
    fast = tg.compile(function, fallback=True)
    with pytest.warns(RuntimeWarning, match="uncompiled"):
        first = fast(x, w)
    assert (fast(x, w) == first).all()
