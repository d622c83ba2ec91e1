"""Views share memory: what is written through one is seen in the other, also in compiled functions and by gradients."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg

# How to look at a (4, 6) tensor: (name, the views, the same of a NumPy array, each writable).
VIEWS = [
    ("split", lambda x: x.split(2, 1), lambda a: np.split(a, 3, 1)),
    ("split into sizes", lambda x: x.split([1, 3]), lambda a: (a[:1], a[1:])),
    ("chunk", lambda x: x.chunk(3, -1), lambda a: np.split(a, 3, 1)),
    ("tensor_split", lambda x: x.tensor_split(3), lambda a: np.array_split(a, 3)),
    ("unbind", lambda x: x.unbind(1), lambda a: [a[:, i] for i in range(6)]),
    ("narrow", lambda x: x.narrow(1, 2, 3), lambda a: a[:, 2:5]),
    ("diagonal", lambda x: x.diagonal(1), lambda a: np.lib.stride_tricks.as_strided(a[0, 1:], (4,), (56,))),
    ("movedim", lambda x: x.movedim(0, 1), lambda a: a.T),
    ("swapaxes", lambda x: x.swapaxes(0, 1), lambda a: a.T),
    ("unflatten", lambda x: x.unflatten(1, (2, -1)), lambda a: a.reshape(4, 2, 3)),
    ("ravel", lambda x: x.ravel(), lambda a: a.reshape(-1)),
    ("atleast_3d", lambda x: tg.atleast_3d(x), lambda a: a[:, :, None]),
    ("reshape_as", lambda x: x.reshape_as(tg.zeros(8, 3)), lambda a: a.reshape(8, 3)),
    ("view_as", lambda x: x.view_as(tg.zeros(2, 12)), lambda a: a.reshape(2, 12)),
    ("einsum", lambda x: tg.einsum("ij->ji", x), lambda a: a.T),
]  # fmt: skip
by_view = pytest.mark.parametrize(("view", "of_array"), [v[1:] for v in VIEWS], ids=[v[0] for v in VIEWS])


def parts(views):
    return views if isinstance(views, (tuple, list)) else [views]


@by_view
def test_writes_through_a_view_are_seen(view, of_array):
    x = tg.arange(24.0, dtype=tg.float64).reshape(4, 6)
    a = x.numpy().copy()
    for k, (part, same) in enumerate(zip(parts(view(x)), parts(of_array(a)), strict=True)):
        part.mul_(k + 2)
        same *= k + 2
    np.testing.assert_array_equal(x.numpy(), a)
    views = parts(view(x))
    x.add_(1.0)
    for part, same in zip(views, parts(of_array(a + 1)), strict=True):
        np.testing.assert_array_equal(part.numpy(), same)


@by_view
def test_a_compiled_function_writes_through_views(view, of_array):
    def run(x):
        x = x * 1.0
        for k, part in enumerate(parts(view(x))):
            part.mul_(k + 2)
        return x.sin()

    replayed = tg.compile(run)
    for seed in range(3):
        x = tg.tensor(np.random.RandomState(seed).randn(4, 6))
        np.testing.assert_array_equal(replayed(x).numpy(), run(x).numpy())


@by_view
def test_a_write_through_a_view_that_would_change_a_gradient_is_refused(view, of_array):
    x = tg.ones(4, 6, requires_grad=True)
    base = x * 2
    with pytest.raises(RuntimeError, match="in-place write"):
        parts(view(base))[0].mul_(x.sum())
    y = x * x
    first = parts(view(x))[0]
    with tg.no_grad():
        first.zero_()
    with pytest.raises(RuntimeError, match="modified in place"):
        y.sum().backward()


def test_copies_are_copies():
    x = tg.arange(6.0).reshape(2, 3)
    for copy in (
        x.flip(0), x.fliplr(), x.flipud(), x.roll(0), x.rot90(0), x.repeat(1, 1), x.tile(1), x.repeat_interleave(1, 0),
        x.tril(5), x.triu(-5), x.diag(), tg.hstack([x]), tg.kron(x, tg.ones(1)),
    ):  # fmt: skip
        copy.zero_()
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]]


# Gradients of parts


def gradient(f, x, **kwargs):
    (g,) = tg.autograd.grad(f(x), [x], **kwargs)
    return g


LOSSES = {
    "all parts": lambda x: sum((k + 1) * (p * p).sum() for k, p in enumerate(x.chunk(3, 1))),
    "one part twice": lambda x: (x[1] * x[1]).sum() + x[1].sum() + x[0, 2],
    "parts and the whole": lambda x: (x.sin() * 2).sum() + sum((p**3).sum() for p in x.unbind(1)) + x.diagonal().sum(),
    "overlapping parts": lambda x: (x[:2] * x[1:3]).sum() + (x[::2, 1] * x.diagonal()[:2]).sum(),
    "parts of parts": lambda x: sum((q * q).sum() for p in x.split(2) for q in p.chunk(2, 1)),
}
by_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
by_kind = pytest.mark.parametrize("inner", [False, True], ids=["leaf", "result"])


@by_kind
@by_loss
def test_gradients_of_parts_add_up(loss, inner):
    """However they are summed: in place, into .grad, for autograd.grad, or with a graph of their own."""
    f = (lambda x: loss(x * 1.0)) if inner else loss
    x = tg.tensor(np.random.RandomState(0).randn(3, 4), requires_grad=True)
    want = gradient(f, x, create_graph=True).detach().numpy()  # nothing is added in place
    np.testing.assert_allclose(gradient(f, x).numpy(), want, rtol=1e-14)
    f(x).backward()
    np.testing.assert_allclose(x.grad.numpy(), want, rtol=1e-14)
    f(x).backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * want, rtol=1e-14)
    x.grad = tg.ones(4, 3, dtype=tg.float64).t()  # of other strides
    f(x).backward()
    np.testing.assert_allclose(x.grad.numpy(), want + 1, rtol=1e-14)
    step = tg.compile(lambda x: gradient(f, x))
    for _ in range(3):
        np.testing.assert_array_equal(step(x).numpy(), gradient(f, x).numpy())


def test_a_gradient_that_others_hold_is_not_written():
    """The sum over parts may go on in place only in memory of its own."""
    x = tg.ones(3, requires_grad=True)
    y = x * 1.0
    g = tg.full((3,), 5.0)
    total = y[0] * 1.0
    tg.autograd.backward([y, total], [g, None])
    assert g.tolist() == [5, 5, 5] and x.grad.tolist() == [6, 5, 5]
    a, b = x * 1.0, x * 1.0
    s = a + b  # both get the same tensor as their gradient
    (s.sum() + a[0] + 2 * b[1]).backward()
    assert x.grad.tolist() == [6 + 3, 5 + 4, 5 + 2]


@by_kind
def test_the_gradients_of_many_parts_cost_no_more_than_the_whole(inner):
    """One tensor of zeros is made, not one for each part."""
    x = tg.rand(50, 1000, requires_grad=True)
    with tg.profiler.profile() as profile:
        y = x * 1.0 if inner else x
        sum(p.sum() for p in y.unbind(0)).backward()
    calls = {row.key: row.count for row in profile.key_averages()}
    assert calls["slice_backward"] == 1
    np.testing.assert_array_equal(x.grad.numpy(), np.ones((50, 1000)))


# Limits


def test_at_most_64_dimensions():
    deep = tg.ones((1,) * 64)
    for call in (
        lambda: deep.unflatten(0, (1, 1)), lambda: deep.repeat((1,) * 65), lambda: deep.broadcast_to((1,) * 65),
        lambda: tg.diag_embed(deep), lambda: tg.stack([deep, deep]), lambda: tg.tensordot(deep, deep, 0),
        lambda: tg.einsum("...,...a->...a", deep, tg.ones((1,) * 65)), lambda: deep.reshape((1,) * 65),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="at most 64 dimensions"):
            call()
    assert deep.flip(0, 63).rot90(1, (0, 63)).movedim(0, 63).ndim == 64
    assert tg.einsum("...->...", deep).ndim == 64 and deep.split(1)[0].ndim == 64


def test_sizes_beyond_what_can_be_addressed():
    x = tg.ones(2, 3)
    for call in (
        lambda: x.repeat(2**62, 2), lambda: x.tile((2**40, 2**40)), lambda: tg.diag_embed(x, 2**62),
        lambda: x.repeat_interleave(2**62), lambda: tg.triu_indices(2**40, 2**40),
        lambda: tg.kron(tg.ones(1).expand(2**40), tg.ones(1).expand(2**40)), lambda: x.unflatten(0, (2**62, 2**62)),
        lambda: tg.outer(tg.ones(1).expand(2**40), tg.ones(1).expand(2**40)),
        lambda: tg.einsum("i,j->ij", tg.ones(1).expand(2**40), tg.ones(1).expand(2**40)),
    ):  # fmt: skip
        with pytest.raises(ValueError):
            call()
    assert tg.triu_indices(2**45, 3).tolist()[0] == [0, 0, 0, 1, 1, 2]
    assert tg.tril_indices(2**45, 3, 1 - 2**45).tolist() == [[2**45 - 1], [0]]
    with pytest.raises(ValueError, match="too many"):
        x.tensor_split(2**45)
    with pytest.raises(ValueError, match="too many"):
        tg.zeros(0).chunk(2**45)
