"""Draws and creation functions against an installed PyTorch: same seed, same numbers, same stream afterwards."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")


def both(draw, seed=0, exact=True):
    """draw(T) of both libraries from one seed: equal, in values and dtype, and so is the next draw."""
    results = []
    for T in (tg, torch):
        T.manual_seed(seed)
        results.append((draw(T), T.rand(1).item()))
    (a, a_next), (b, b_next) = results
    assert str(a.dtype).split(".")[-1] == str(b.dtype).split(".")[-1] and tuple(a.shape) == tuple(b.shape)
    if exact:
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    else:
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=2e-6, atol=3e-6)
    assert a_next == b_next
    return a


def numbers(T, *shape, dtype="float32", low=0.0, seed=3):
    a = np.random.RandomState(seed).uniform(low, 1, shape).astype(dtype)
    return T.tensor(a)


SHAPES = [(), (1,), (7,), (300,), (3, 5), (0,), (2, 0)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bernoulli(shape, dtype):
    both(lambda T: T.bernoulli(numbers(T, *shape, dtype=dtype)))
    both(lambda T: numbers(T, *shape, dtype=dtype).bernoulli())
    both(lambda T: T.bernoulli(numbers(T, *shape, dtype=dtype), 0.3))
    both(lambda T: T.zeros(shape).bernoulli_(numbers(T, *shape, dtype=dtype)))
    for kind in ("float32", "float64", "int64", "uint8", "bool"):
        both(lambda T, kind=kind: T.zeros(shape, dtype=getattr(T, kind)).bernoulli_(0.7))
    both(lambda T: T.zeros(3, 300).bernoulli_(numbers(T, 300, dtype=dtype)))


@pytest.mark.parametrize("replacement", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_multinomial(replacement, dtype):
    for shape in ((4,), (50,), (3, 20), (1,), (1, 5)):
        for n in {1, min(3, shape[-1]), shape[-1]}:
            a = both(lambda T, s=shape, n=n: T.multinomial(numbers(T, *s, dtype=dtype, low=0.01), n, replacement), n)
            assert replacement or all(len(set(r)) == n for r in np.atleast_2d(a.numpy()).tolist())
    both(lambda T: T.multinomial(numbers(T, 6, dtype=dtype), 100, replacement=True))
    both(lambda T: T.multinomial(T.tensor([0.0, 3.0, 0.0, 1.0]), 2, replacement))
    both(lambda T: numbers(T, 9, 2, dtype=dtype).t().contiguous().multinomial(4, replacement))


@pytest.mark.parametrize("shape", [(5,), (16,), (100,), (3, 7)])
def test_normal(shape):
    for dtype in ("float32", "float64"):
        both(lambda T, d=dtype: T.normal(numbers(T, *shape, dtype=d), numbers(T, *shape, dtype=d, seed=4)), exact=False)
        both(lambda T, d=dtype: T.normal(numbers(T, *shape, dtype=d), 2.5), exact=False)
        both(lambda T, d=dtype: T.normal(1.5, numbers(T, *shape, dtype=d)), exact=False)
    both(lambda T: T.normal(numbers(T, *shape)), exact=False)
    both(lambda T: T.normal(1.0, 2.0, shape), exact=False)
    both(lambda T: T.normal(mean=0.0, std=1.0, size=shape, dtype=T.float64), exact=False)
    both(lambda T: T.normal(numbers(T, 3, 1), numbers(T, 1, 4)), exact=False)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exponential(dtype):
    for n in (1, 5, 1000):
        both(lambda T, n=n: T.empty(n, dtype=getattr(T, dtype)).exponential_(), exact=False)
        both(lambda T, n=n: T.empty(n, dtype=getattr(T, dtype)).exponential_(lambd=2.5), exact=False)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "uint8", "bool"])
def test_random(dtype):
    both(lambda T: T.empty(300, dtype=getattr(T, dtype)).random_())
    both(lambda T: T.empty(300, dtype=getattr(T, dtype)).random_(2))
    if dtype != "bool":
        both(lambda T: T.empty(300, dtype=getattr(T, dtype)).random_(3, 90))
        both(lambda T: T.randint_like(T.zeros(3, 5, dtype=getattr(T, dtype)), 7))
        both(lambda T: T.randint_like(T.zeros(3, 5), 2, 7, dtype=getattr(T, dtype)))
        both(lambda T: T.randint(2, 90, (40,), dtype=getattr(T, dtype)))


def test_likes():
    for dtype in ("float32", "float64"):
        both(lambda T, d=dtype: T.rand_like(T.zeros(3, 40), dtype=getattr(T, d)))
        both(lambda T, d=dtype: T.randn_like(T.zeros(3, 40, dtype=getattr(T, d))), exact=False)
    both(lambda T: T.randperm(20, dtype=T.int32))
    for T in (tg, torch):
        like = T.arange(6).view(2, 3)
        for made, value in (
            (T.zeros_like(like), 0),
            (T.ones_like(like, dtype=T.float64), 1),
            (T.full_like(like, 7), 7),
        ):
            assert made.tolist() == [[value] * 3] * 2
        assert T.empty_like(like, dtype=T.uint8).dtype == T.uint8
        assert T.ones_like(T.zeros(2), requires_grad=True).requires_grad


def test_generators():
    a, b = (T.bernoulli(numbers(T, 20), generator=T.Generator().manual_seed(5)) for T in (tg, torch))
    assert a.tolist() == b.tolist()
    a, b = (T.multinomial(numbers(T, 20), 5, generator=T.Generator().manual_seed(5)) for T in (tg, torch))
    assert a.tolist() == b.tolist()
    a, b = (T.empty(9).random_(0, 9, generator=T.Generator(device="cpu").manual_seed(5)) for T in (tg, torch))
    assert a.tolist() == b.tolist()


@pytest.mark.parametrize(
    "call",
    [
        lambda T: T.bernoulli(T.tensor([0.5, 1.5])),
        lambda T: T.bernoulli(T.tensor([0.5, -0.1])),
        lambda T: T.bernoulli(T.arange(2)),
        lambda T: T.zeros(2).bernoulli_(1.5),
        lambda T: T.zeros(2).bernoulli_(T.tensor([0.5, 0.5, 0.5])),
        lambda T: T.normal(T.zeros(2), -1.0),
        lambda T: T.normal(T.zeros(2), T.tensor([1.0, -1.0])),
        lambda T: T.normal(T.zeros(2), T.ones(3)),
        lambda T: T.normal(1.0, 2.0),
        lambda T: T.multinomial(T.ones(3), 4),
        lambda T: T.multinomial(T.ones(3), 0),
        lambda T: T.multinomial(T.tensor([1.0, -1.0]), 1),
        lambda T: T.multinomial(T.tensor([1.0, float("inf")]), 1),
        lambda T: T.multinomial(T.tensor([1.0, float("nan")]), 1),
        lambda T: T.multinomial(T.zeros(3), 1),
        lambda T: T.multinomial(T.arange(3), 1),
        lambda T: T.multinomial(T.ones(1, 1, 3), 1),
        lambda T: T.multinomial(T.tensor(1.0), 1),
        lambda T: T.zeros(2).exponential_(0.0),
        lambda T: T.arange(2).exponential_(),
        lambda T: T.zeros(2).random_(3, 3),
        lambda T: T.zeros(2, dtype=T.uint8).random_(0, 300),
        lambda T: T.randint_like(T.zeros(2), 3, 1),
        lambda T: T.logspace(0, 1, -1),
        lambda T: T.randperm(-1),
    ],
)
def test_refusals(call):
    for T in (tg, torch):
        with pytest.raises((ValueError, TypeError, IndexError, RuntimeError)):
            call(T)


def test_logspace():
    for args in ((0, 3, 7), (-2, 2, 1), (1, 2, 0), (0, 1, 50)):
        for kwargs in ({}, {"base": 2}, {"dtype": "float64"}, {"dtype": "int64"}, {"base": 0.5}):
            got, want = (
                T.logspace(*args, **{k: getattr(T, v) if k == "dtype" else v for k, v in kwargs.items()})
                for T in (tg, torch)
            )
            assert str(got.dtype).split(".")[-1] == str(want.dtype).split(".")[-1]
            rtol = 1e-12 if kwargs.get("dtype") == "float64" else 1e-6
            np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=rtol)


def test_new():
    for T in (tg, torch):
        t = T.ones(2, dtype=T.float64)
        made = [t.new_zeros(2, 3), t.new_ones((2, 3)), t.new_full((2, 3), 1.5), t.new_empty(2, 3), t.new_tensor([1, 2])]
        assert all(m.dtype == T.float64 for m in made)
        assert made[2].tolist() == [[1.5] * 3] * 2 and made[4].tolist() == [1, 2] and made[0].shape == made[3].shape
        assert t.new_zeros(2, dtype=T.int64).dtype == T.int64 and t.new_ones(2, requires_grad=True).requires_grad
        assert T.arange(3).new_full((1,), 2.9).tolist() == [2] and tuple(t.new_zeros(()).shape) == ()


def test_a_draw_has_no_graph_and_forgets_the_history():
    w = tg.rand(3).requires_grad_()
    assert not tg.normal(w, 1.0).requires_grad and not tg.multinomial(w, 2).requires_grad
    y = w * 2
    y.exponential_()
    y.sum().backward()
    assert w.grad is None or w.grad.tolist() == [0, 0, 0]


def test_captured_draws_go_on_with_the_stream():
    def draw(x):
        return [
            tg.bernoulli(x),
            tg.multinomial(x, 2),
            tg.empty(3).exponential_(),
            tg.normal(x, 2.0),
            tg.empty(4).random_(),
        ]

    step = tg.compile(draw)
    x = tg.tensor([0.2, 0.5, 0.9])
    results = []
    for function in (draw, step):
        tg.manual_seed(1)
        results.append([t.tolist() for _ in range(3) for t in function(x)])
    assert results[0] == results[1]
