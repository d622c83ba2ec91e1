"""The loop under the elementwise ops: layouts, broadcasting, outputs larger than the caches."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg


def test_ops_on_every_layout_give_the_same_bits():
    """Whether a loop is cut for threads, packed or joined: the value of an element does not depend on it."""
    tg.manual_seed(4)
    x = tg.randn(300, 40, 50)
    want = (x * 1.7).tanh()
    views = {"transposed": (2, 0, 1), "rotated": (1, 2, 0), "reversed": (2, 1, 0)}
    for n in (1, 2, 5):
        with tg.threads(n):
            for dims in views.values():
                got = (x.permute(*dims) * 1.7).tanh()
                assert np.array_equal(got.numpy(), want.numpy().transpose(dims))
            got = (x[:, ::3, 1::2] * 1.7).tanh()
            assert np.array_equal(got.numpy(), want.numpy()[:, ::3, 1::2])


@pytest.mark.parametrize("dtype", [tg.float32, tg.float64, tg.int64, tg.uint8])
def test_outputs_larger_than_the_caches(dtype):
    """They are written past the caches: the same values as for small ones, in place too, and at any alignment."""
    n = (40 << 20) // tg.ones(1, dtype=dtype).numpy().itemsize + 7
    a = tg.from_numpy(np.arange(n) % 100).to(dtype)
    want = a.numpy() * 2
    assert np.array_equal((a + a).numpy(), want)
    assert np.array_equal((a[3:] + a[3:]).numpy(), want[3:])
    assert np.array_equal((a * 2).numpy(), want)
    b = a.clone()
    assert np.array_equal(b.numpy(), a.numpy())
    b += a
    assert np.array_equal(b.numpy(), want)
    b[5:] -= a[5:]
    assert np.array_equal(b[5:].numpy(), a[5:].numpy())
    assert np.array_equal(a.to(tg.float64).numpy(), a.numpy().astype(np.float64))


SHAPES = [
    ((1000, 3), (3,)), ((700, 10), (700, 1)), ((50, 1), (1, 60)), ((20, 30, 40), (20, 1, 40)), ((300, 257), (257,)),
    ((3, 40000), (3, 1)), ((5, 6, 7), (6, 1)), ((2, 1, 300), (1, 9, 1)), ((1, 7), (9000, 1)), ((17, 19), ()),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8"])
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_broadcast_in_any_layout(rng, shapes, dtype):
    a, b = (rng.randint(0, 100, s).astype(dtype) for s in shapes)
    for flip in (lambda x: x, lambda x: x.T, lambda x: x.T.copy().T):
        for x, y in ((flip(a), b), (a, flip(b))):
            try:
                want = x + y
            except ValueError:  # the flipped shapes do not broadcast
                continue
            got = tg.from_numpy(x) + tg.from_numpy(y)
            assert np.array_equal(got.numpy(), want)
            assert np.array_equal(tg.from_numpy(x).clone().numpy(), x)


@pytest.mark.parametrize("n", [1, 3, 15, 16, 17, 33, 100, 300])
def test_strided_reads_and_writes(rng, n):
    for m in (1, 5, 16, 31, 64):
        a = rng.rand(2 * m, 3 * n).astype(np.float32)
        for view in (np.s_[::2, ::3], np.s_[:, ::2], np.s_[1:, 1:], np.s_[:, 2::3]):
            t = tg.from_numpy(a.copy())
            assert np.array_equal(t[view].contiguous().numpy(), a[view])
            assert np.array_equal(t[view].t().contiguous().numpy(), a[view].T)
            assert np.array_equal((t[view] * 2 + t[view].t().t()).numpy(), a[view] * 3)
            assert np.array_equal(t[view].double().numpy(), a[view].astype(np.float64))
            want = a.copy()
            want[view] *= 2
            t[view].mul_(2)
            assert np.array_equal(t.numpy(), want)
            want.T[:, :1] += 1
            t.t()[:, :1].add_(1)
            assert np.array_equal(t.numpy(), want)
