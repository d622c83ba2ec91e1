"""What a compiled function refuses: the error names the line and the way out, and leaves everything usable."""

from __future__ import annotations

import inspect
import re
import threading
import time
import warnings

import numpy as np
import pytest

import tapegrad as tg
from captured import compiled, exactly, programs
from tapegrad import nn, optim

X = tg.tensor([1.0, 2.0, -3.0])


def item(x):
    y = x * 2
    return y * y.sum().item()  # here


def boolean(x):
    if x.sum() > 0:  # here
        return x
    return -x


def number(x):
    return x * float(x[0])  # here


def whole(x):
    return x * int(x[0])  # here


def to_numpy(x):
    return x + tg.from_numpy((x * 2).numpy())  # here


def as_array(x):
    return x * np.asarray(x * 2).sum()  # here


def to_list(x):
    return x * (x + 1).tolist()[0]  # here


def contains(x):
    return x * (1.0 in (x + 1))  # here


def printed(x):
    y = x * 2
    str(y)  # here
    return y


def formatted(x):
    y = x.sum()
    f"{y:.3f}"  # here
    return y


def masked(x):
    return x[x > 0]  # here


def assigned_by_mask(x):
    y = x * 1
    y[y > 0] = 0.0  # here
    return y


def nonzero(x):
    return tg.nonzero(x)  # here


def position(x):
    return x[x.argmax()]  # here


def counter(x):
    return [x * k for k in range(x.argmax())]  # here


REFUSED = [
    item, boolean, number, whole, to_numpy, as_array, to_list, contains, printed, formatted, masked, nonzero, counter,
]  # fmt: skip


def line_of(function) -> str:
    lines, start = inspect.getsourcelines(function)
    return f"{__file__}:{start + next(k for k, line in enumerate(lines) if line.endswith('# here' + chr(10)))}"


def usable() -> None:
    """Eager goes on, and so do new captures."""
    exactly(X * 2 + 1, tg.tensor([3.0, 5.0, -5.0]))
    w = tg.ones(3, requires_grad=True)
    (w * X).sum().backward()
    exactly(w.grad, X)
    assert isinstance((X * 2).sum().item(), float)
    fast, inner = compiled(lambda x: x.exp() - 1)
    for _ in range(3):
        exactly(fast(X), X.exp() - 1)
    assert inner.runs == 1


@pytest.mark.parametrize("function", REFUSED, ids=lambda f: f.__name__)
def test_refused(function):
    fast = tg.compile(function)
    for _ in range(2):
        with pytest.raises(tg.CaptureError, match=re.escape(line_of(function))) as error:
            fast(X)
        assert "fallback=True" in str(error.value)
        usable()
    assert not programs(fast)


@pytest.mark.parametrize("function", REFUSED, ids=lambda f: f.__name__)
def test_fallback(function):
    """One warning, which names the line; then the function as it is."""
    fast, inner = compiled(function, fallback=True)
    with pytest.warns(RuntimeWarning, match=re.escape(line_of(function))) as caught:
        exactly(fast(X), function(X))
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for x in (X, X + 1, X * 0.5):
            exactly(fast(x), function(x))
    assert inner.runs == 4
    usable()


@pytest.mark.parametrize("function", [assigned_by_mask, position], ids=lambda f: f.__name__)
def test_either_refused_or_right(function):
    fast = tg.compile(function)
    for x in (X, -X, X + 5):
        try:
            got = fast(x)
        except tg.CaptureError as error:
            assert line_of(function) in str(error)
        else:
            exactly(got, function(x))
    usable()


def test_arguments_may_be_read_outside():
    """Shapes, dtypes and sizes are no values."""
    fast = tg.compile(lambda x: x * x.shape[0] if x.dim() == 1 and x.dtype == tg.float32 and len(x) else x)
    exactly(fast(X), X * 3)


def test_a_numpy_argument():
    fast = tg.compile(lambda x: x)
    with pytest.raises(TypeError, match="from_numpy"):
        fast(np.ones(3, np.float32))
    usable()


def test_a_list_that_grows():
    losses = []

    def step(x):
        loss = (x * 2).sum()
        losses.append(loss)  # kept
        return x + 1

    fast = tg.compile(step)
    with pytest.raises(tg.CaptureError, match=r"test_compile_errors\.py:\d+ is kept from one call to the next"):
        for _ in range(3):
            fast(X)
    losses.clear()
    usable()


def test_a_result_that_is_kept_too():
    losses = []

    def step(x):
        losses.append((x * 2).sum())
        return losses[-1]

    fast = tg.compile(step)
    with pytest.raises(tg.CaptureError, match=r"test_compile_errors\.py:\d+ is kept from one call to the next"):
        for _ in range(3):
            fast(X)
    usable()


def test_an_attribute_that_is_bound_anew():
    class Recurrent:
        h = tg.zeros(3)

        def __call__(self, x):
            self.h = (self.h + x).tanh()
            return x + self.h

    cell = Recurrent()
    fast = tg.compile(cell)
    with pytest.raises(tg.CaptureError, match="is kept from one call to the next"):
        for _ in range(3):
            fast(X)
    usable()


def test_fallback_of_what_is_kept():
    """Effects happen once per call."""
    results = []
    for capture in (False, True):
        losses = []

        def step(x, losses=losses):
            loss = (x * 2).sum()
            losses.append(loss)
            return loss

        if capture:
            step = tg.compile(step, fallback=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            results.append([step(X + k) for k in range(5)] + losses)
        assert len(caught) == (1 if capture else 0)
        assert len(losses) == 5
    exactly(results[1], results[0])


def test_fallback_of_a_training_step():
    """What has run before the refused line is not run again."""
    results = []
    for capture in (False, True):
        tg.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1))
        optimizer = optim.Adam(model.parameters(), lr=0.1)

        def step(x, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
            return loss.item()

        if capture:
            step = tg.compile(step, fallback=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            losses = [step(tg.full((2, 3), k + 1.0)) for k in range(6)]
        assert len(caught) == (1 if capture else 0)
        results.append((losses, [p.detach() for p in model.parameters()], [p.grad for p in model.parameters()]))
    exactly(results[1], results[0])


def test_exceptions_of_the_function():
    """They pass through, at capture; and at replay those of the kernels do."""
    fail = [True]

    def f(x):
        y = x * 2
        if fail[0]:
            raise KeyError("mine")
        return y

    fast = tg.compile(f)
    for _ in range(2):
        with pytest.raises(KeyError, match="mine"):
            fast(X)
        usable()
    fail[0] = False
    exactly(fast(X), X * 2)

    pick = tg.compile(lambda x, i: x.index_select(0, i))
    exactly(pick(X, tg.tensor([0, 2])), X[[0, 2]])
    for _ in range(2):
        with pytest.raises(IndexError):
            pick(X, tg.tensor([0, 3]))
        exactly(pick(X, tg.tensor([1, 1])), X[[1, 1]])
    usable()


def test_an_error_in_a_nested_function():
    inner = tg.compile(item)
    with pytest.raises(tg.CaptureError, match=re.escape(line_of(item))):
        tg.compile(lambda x: inner(x) + 1)(X)
    usable()


def long_chain(x, n):
    y = x
    for _ in range(n // 2):
        y = y * 0.999
        y = y + x
    return y


def test_a_hundred_thousand_instructions():
    """On a thread with a small stack, with a gradient; in seconds, not minutes."""
    got = []

    def work():
        w = tg.ones(4, requires_grad=True)

        def f(x):
            y = long_chain(x * w, 50_000).sum()
            return y.detach(), *tg.autograd.grad(y, [w])

        fast = tg.compile(f)
        start = time.monotonic()
        for k in range(3):
            got.append((fast(tg.full((4,), k + 1.0)), f(tg.full((4,), k + 1.0))))
        got.append(time.monotonic() - start)

    before = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert len(got) == 4
    for fast, eager in got[:3]:
        exactly(fast, eager)
    assert got[3] < 60


def test_a_view_of_a_result_or_a_gradient_that_is_kept():
    kept = []
    x, w = tg.ones(3), tg.ones(3).requires_grad_()

    @tg.compile
    def view(x):
        y = x * 2
        kept.append(y[:2])
        return y

    @tg.compile(keep_grads=True)
    def gradient(x):
        w.grad = None
        (w * x).sum().backward()
        kept.append(w.grad.view(3))
        return x + 1

    for function in (view, gradient):
        function(x)
        with pytest.raises(tg.CaptureError, match="is kept from one call to the next"):
            function(x)
