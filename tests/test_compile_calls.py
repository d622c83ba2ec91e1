"""What a compiled function takes and returns: signatures, structures, views, aliases, methods, nesting."""

from __future__ import annotations

import functools
from collections import OrderedDict, namedtuple

import numpy as np
import pytest

import tapegrad as tg
from captured import compiled, exactly, programs
from tapegrad import nn, optim
from tapegrad.nn import functional as F

Pair = namedtuple("Pair", "a b")


def check(function, calls, captures=1, **options):
    """Eager and compiled over the calls (tuples of arguments)."""
    replayed, inner = compiled(function, **options)
    for k, args in enumerate(calls):
        exactly(replayed(*args), function(*args), f"call {k + 1}")
    assert inner.runs == captures, f"{inner.runs} captures"


def draws(*shape, count=4):
    return [tg.randn(*shape) for _ in range(count)]


def test_structures():
    """Tuples, lists, dicts and named tuples in, the same and None and numbers out."""

    def f(x, pairs, *, scale):
        a, (b, c) = pairs["first"], pairs["rest"]
        h = x * a + b
        return {"h": h, "both": (h + c, [h - c, None]), "pair": Pair(h * scale, 7), "name": "text"}, ()

    replayed, inner = compiled(f)
    for k in range(4):
        args = (tg.randn(3), {"first": tg.randn(3), "rest": [tg.randn(3), tg.randn(3)]})
        exactly(replayed(*args, scale=2.0), f(*args, scale=2.0), f"call {k + 1}")
    assert inner.runs == 1
    assert isinstance(replayed(*args, scale=2.0)[0]["pair"], Pair)


def test_ordered_dict_and_nothing():
    exactly(tg.compile(lambda x: OrderedDict(y=x + 1))(tg.ones(2)), OrderedDict(y=tg.ones(2) + 1))
    check(lambda x: None, [(x,) for x in draws(3)])
    check(lambda: tg.ones(3) * 2, [()] * 3)


def test_signatures():
    """Shapes, dtypes, strides, numbers, strings and structures that differ are captured apart; the old ones stay."""

    def f(x, scale=1.0, how="add", rest=()):
        y = x * scale if how == "mul" else x + scale
        for r in rest:
            y = y + r
        return y

    replayed, inner = compiled(f)
    one = tg.tensor(1.0)
    calls = [
        ((tg.randn(3),), {}),
        ((tg.randn(4),), {}),
        ((tg.randn(2, 3),), {}),
        ((tg.randn(3, 2).t(),), {}),
        ((tg.randn(3).double(),), {}),
        ((tg.arange(3),), {}),
        ((tg.randn(3), 2.0), {}),
        ((tg.randn(3), 2), {}),
        ((tg.randn(3), True), {}),
        ((tg.randn(3),), {"scale": 2.0}),
        ((tg.randn(3), 2.0, "mul"), {}),
        ((tg.randn(3),), {"rest": [one]}),
        ((tg.randn(3),), {"rest": (one,)}),
        ((tg.randn(3),), {"rest": (one, one)}),
    ]
    for _ in range(3):
        for args, kwargs in calls:
            exactly(replayed(*args, **kwargs), f(*args, **kwargs))
    assert inner.runs == len(calls)


def test_signed_zero_and_nan_are_numbers_of_their_own():
    replayed = tg.compile(lambda x, s: x * s)
    exactly(replayed(tg.ones(2), 0.0), tg.tensor([0.0, 0.0]))
    exactly(replayed(tg.ones(2), -0.0), tg.tensor([-0.0, -0.0]))


def test_grad_mode_and_default_dtype_are_part_of_the_signature():
    w = tg.randn(3, requires_grad=True)
    replayed, inner = compiled(lambda x: (w * x).sum() + tg.zeros(()))
    x = tg.randn(3)
    for _ in range(2):
        assert replayed(x).requires_grad
        with tg.no_grad():
            assert not replayed(x).requires_grad
    assert inner.runs == 2
    tg.set_default_dtype(tg.float64)
    assert replayed(x).dtype == tg.float64


def test_one_tensor_as_two_arguments():
    """Which arguments share memory is part of the signature."""

    def f(a, b):
        a += 1
        return a * b

    for _ in range(2):
        replayed, inner = compiled(f)
        for shared in (True, False, True, False):
            x = tg.randn(4)
            y = x if shared else tg.randn(4)
            p, q = x.clone(), None
            q = p if shared else y.clone()
            exactly(replayed(x, y), f(p, q))
            exactly(x, p)
        assert inner.runs == 2


def test_overlapping_arguments():
    def f(a, b):
        a.mul_(2)
        return a + b

    replayed, inner = compiled(f)
    for first, second in [((0, 4), (2, 6)), ((0, 4), (2, 6)), ((2, 6), (0, 4)), ((0, 4), (4, 8)), ((0, 4), (2, 6))]:
        x = tg.randn(8)
        y = x.clone()
        exactly(replayed(x[slice(*first)], x[slice(*second)]), f(y[slice(*first)], y[slice(*second)]))
        exactly(x, y)
    assert inner.runs <= 3


def test_views_of_arguments():
    """Slices of one big tensor, each at its own place, and views within."""
    data = tg.randn(20, 4, 3)
    check(lambda x: (x[1:].t() @ x[:-1], x.reshape(-1)[2:5], x[0]), [(data[k],) for k in range(20)])


def test_results_that_are_arguments():
    """The argument itself and views of it come back as such; writing to a view writes to the argument."""
    replayed, inner = compiled(lambda x, y: (x, y[1:], [x.t()]))
    for _ in range(3):
        x, y = tg.randn(2, 3), tg.randn(4)
        same, view, (turned,) = replayed(x, y)
        assert same is x
        view.fill_(5)
        turned.zero_()
        exactly(y[1:], tg.full((3,), 5.0))
        exactly(x, tg.zeros(2, 3))
    assert inner.runs == 1


def test_results_that_are_state():
    p = nn.Parameter(tg.randn(3, 3))
    buffer = tg.zeros(3)
    replayed, inner = compiled(lambda x: (p, buffer.add_(x), buffer[1:], p.detach()[0]))
    for k in range(3):
        same, again, view, row = replayed(tg.ones(3))
        assert same is p
        exactly(again, tg.full((3,), k + 1.0))
        exactly(view, tg.full((2,), k + 1.0))
        exactly(row, p.detach()[0])
        assert again.data_ptr() == buffer.data_ptr()
    assert inner.runs == 1


def test_results_keep_their_values():
    """Later calls write elsewhere: what was returned stays, also where results share memory."""

    def f(x):
        y = x * 2
        return y, y[1:], y.t(), x + 1, tg.ones(3)

    replayed = tg.compile(f)
    given, kept = draws(3, 3, count=6), []
    for x in given:
        kept.append(replayed(x))
    for x, results in zip(given, kept, strict=True):
        exactly(results, f(x))
    kept[0][0].zero_()
    exactly(kept[0][1], tg.zeros(2, 3))
    kept[0][4].zero_()
    exactly(kept[1], f(given[1]))
    exactly(replayed(given[2]), f(given[2]))


def test_one_result_twice():
    def f(x):
        y = x + 1
        return y, y

    replayed = tg.compile(f)
    for x in draws(3):
        a, b = replayed(x)
        a.fill_(9)
        exactly(b, tg.full((3,), 9.0))


def test_arguments_written_to():
    def f(x, y):
        x[1:] = y
        x.mul_(2).add_(y.sum())
        return x.sum()

    replayed, inner = compiled(f)
    for _ in range(3):
        x, y = tg.randn(4), tg.randn(3)
        z, version = x.clone(), x._version
        exactly(replayed(x, y), f(z, y))
        exactly(x, z)
        assert x._version > version
    assert inner.runs == 1


def test_constants_of_lists_and_numbers():
    check(lambda x: x * tg.tensor([1.0, 2.0, 3.0]) + tg.arange(3) - 0.5, [(x,) for x in draws(3)])

    def written(x):
        total = tg.tensor([1.0, 2.0, 3.0])
        total += x
        total[0] = 7
        return total, tg.zeros(3).add_(x)

    check(written, [(x,) for x in draws(3)])


def test_random_numbers():
    """Each call draws anew, from the stream that eager draws from; a Generator too."""

    def f(x, g=None):
        return x + tg.randn(3), tg.rand(2), tg.randint(0, 9, (4,)), tg.randperm(5), F.dropout(x, 0.5), tg.rand_like(x)

    results = []
    for function in (f, tg.compile(f)):
        tg.manual_seed(5)
        results.append([function(tg.ones(3)) for _ in range(4)] + [tg.rand(2)])
    exactly(results[1], results[0])


def test_generator():
    results = []
    for capture in (False, True):
        tg.manual_seed(0)
        generator = tg.Generator().manual_seed(3)

        def f(x, generator=generator):
            return x + tg.randn(3, generator=generator)

        function = tg.compile(f) if capture else f
        got = [function(tg.ones(3)) for _ in range(3)]
        generator.manual_seed(3)
        results.append([*got, function(tg.ones(3)), tg.rand(2)])
        exactly(got[0], results[-1][3])
    exactly(results[1], results[0])


class Scaler:
    def __init__(self, scale):
        self.scale = tg.tensor(scale)
        self.runs = 0

    @tg.compile
    def __call__(self, x):
        self.runs += 1
        return x * self.scale

    @tg.compile(keep_grads=True)
    def twice(self, x):
        """Doubles."""
        return x * self.scale * 2


def test_methods():
    """One set of programs per instance; the decorated method keeps its name."""
    a, b = Scaler(2.0), Scaler(3.0)
    for x in draws(3):
        exactly(a(x), x * 2.0)
        exactly(b(x), x * 3.0)
        exactly(a.twice(x), x * 2.0 * 2)
        exactly(b.twice(x), x * 3.0 * 2)
    assert (a.runs, b.runs) == (1, 1)
    assert Scaler.twice.__name__ == "twice"
    assert Scaler.twice.__doc__ == "Doubles."
    method = tg.compile(a.twice)
    exactly(method(tg.ones(2)), tg.full((2,), 4.0))


def test_modules_are_callable():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    fast = tg.compile(model)
    for x in draws(2, 3):
        exactly(fast(x), model(x))
    with pytest.raises(TypeError, match="int"):
        tg.compile(3)


def test_partials_and_lambdas():
    check(functools.partial(lambda a, b, c: a * b + c, tg.tensor(2.0), c=3.0), [(x,) for x in draws(3)])
    inner = tg.compile(lambda x, s: x + s)
    fast = functools.partial(inner, s=2.0)
    for x in draws(3):
        exactly(fast(x), x + 2.0)


def test_a_compiled_function_inside_of_another():
    """The inner one becomes part of the outer; on its own it has its own programs."""
    runs = []

    @tg.compile
    def inner(x):
        runs.append(0)
        return x.exp()

    outer = tg.compile(lambda x: inner(x) + inner(x * 2))
    for x in draws(3):
        exactly(outer(x), x.exp() + (x * 2).exp())
    assert len(runs) == 2
    for x in draws(3):
        exactly(inner(x), x.exp())
    assert len(runs) == 3
    assert len(programs(inner)) == 1


def test_recursion():
    @tg.compile
    def power(x, n):
        return x if n == 0 else power(x, n - 1) * x

    for x in draws(3):
        exactly(power(x, 3), x * x * x * x)


def test_a_training_step_inside_of_another():
    results = []
    for capture in (False, True):
        tg.manual_seed(0)
        model = nn.Linear(3, 1)
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

        def step(x, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
            return loss

        if capture:
            step = tg.compile(step)

        def several(x, step=step):
            return [step(part) for part in x]

        if capture:
            several = tg.compile(several)
        generator = tg.Generator().manual_seed(1)
        data = [tg.randn(3, 4, 3, generator=generator) for _ in range(4)]
        losses = [several([*x]) for x in data] + [step(x[0]) for x in data]
        results.append((losses, [p.detach() for p in model.parameters()]))
    exactly(results[1], results[0])


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
def test_inference_of_a_model(threads):
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.LayerNorm(256), nn.Linear(256, 10))
    with tg.threads(threads), tg.no_grad():
        check(lambda x: model(x).softmax(-1), [(x,) for x in draws(100, 64)])


def test_empty_tensors():
    check(lambda x: (x * 2, x.sum(), x[:, 1:]), [(tg.zeros(0, 3),)] * 3)


def test_numpy_outside():
    """Memory that is NumPy's, as an argument and as state: later values count."""
    array = np.ones(3, np.float32)
    shared = tg.from_numpy(array)
    fast = tg.compile(lambda x: x + shared)
    for k in range(3):
        array[:] = k
        exactly(fast(tg.from_numpy(np.full(3, 10.0, np.float32))), tg.full((3,), 10.0 + k))
