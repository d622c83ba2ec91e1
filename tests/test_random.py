"""The random stream: the documented numbers of PyTorch's CPU generator, an independent copy of it in NumPy, dropout."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg


class Stream:
    """The generator of manual_seed(s) from its description: MT19937 by init_genrand, Box-Muller in blocks of 16."""

    def __init__(self, seed: int) -> None:
        self.state = np.random.RandomState(seed)  # an int seed means init_genrand
        self.spare = None

    def u32(self, n: int) -> np.ndarray:
        return np.frombuffer(self.state.bytes(4 * n), dtype="<u4").astype(np.uint64)

    def uniform32(self, n: int) -> np.ndarray:
        return (self.u32(n) & np.uint64(2**24 - 1)).astype(np.float32) * np.float32(2.0**-24)

    def uniform64(self, n: int) -> np.ndarray:
        words = self.u32(2 * n).reshape(n, 2)
        both = (words[:, 0] << np.uint64(32)) | words[:, 1]
        return (both & np.uint64(2**53 - 1)).astype(np.float64) * 2.0**-53

    def randn(self, n: int, dtype: str) -> np.ndarray:
        if n < 16:
            return np.array([self._one() for _ in range(n)])
        draw = self.uniform32 if dtype == "float32" else self.uniform64
        out = draw(n).astype(np.float64)
        for start in range(0, n - 15, 16):
            out[start : start + 16] = self._block(out[start : start + 16])
        if n % 16:
            out[-16:] = self._block(draw(16).astype(np.float64))
        return out

    @staticmethod
    def _block(d: np.ndarray) -> np.ndarray:
        u1, u2 = 1 - d[:8], d[8:]
        r = np.sqrt(-2 * np.log(u1))
        return np.concatenate([r * np.cos(2 * np.pi * u2), r * np.sin(2 * np.pi * u2)])

    def _one(self) -> float:
        if self.spare is not None:
            value, self.spare = self.spare, None
            return value
        u1, u2 = self.uniform64(1)[0], self.uniform64(1)[0]
        r = np.sqrt(-2 * np.log1p(-u2))
        self.spare = r * np.sin(2 * np.pi * u1)
        return r * np.cos(2 * np.pi * u1)


# The documented numbers


def test_documented_numbers():
    tg.manual_seed(1024)
    np.testing.assert_allclose(tg.rand(3, 4).numpy()[0], [0.8090, 0.7935, 0.2099, 0.9279], atol=5e-5)
    tg.manual_seed(0)
    np.testing.assert_allclose(tg.randn(3).numpy(), [1.5410, -0.2934, -2.1788], atol=5e-5)
    tg.manual_seed(0)
    np.testing.assert_allclose(tg.nn.Linear(2, 3).weight.detach().numpy()[0], [-0.0053, 0.3793], atol=5e-5)


@pytest.mark.parametrize("seed", [0, 1, 1024, 2**31 - 1, 2**32 - 1])
def test_rand(seed):
    tg.manual_seed(seed)
    stream = Stream(seed)
    np.testing.assert_array_equal(tg.rand(7, 100).numpy().ravel(), stream.uniform32(700))
    np.testing.assert_array_equal(tg.rand(33, dtype=tg.float64).numpy(), stream.uniform64(33))
    np.testing.assert_array_equal(tg.rand(3).numpy(), stream.uniform32(3))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 2, 3, 15, 16, 17, 31, 32, 33, 100, 1000])
def test_randn(n, dtype):
    tg.manual_seed(n)
    stream = Stream(n)
    for _ in range(3):
        got = tg.randn(n, dtype=getattr(tg, dtype)).numpy()
        want = stream.randn(n, dtype)
        # float32: the cosine of a float32 angle 2 pi u is off by eps * 2 pi / 2 times the radius
        rtol, atol = (1e-6, 3e-6) if dtype == "float32" else (1e-13, 1e-13)
        np.testing.assert_allclose(got, want, rtol=rtol, atol=atol)


def test_calls_of_every_kind_share_one_stream():
    tg.manual_seed(9)
    stream = Stream(9)
    np.testing.assert_allclose(tg.randn(3).numpy(), stream.randn(3, "float32"), rtol=1e-6)
    np.testing.assert_array_equal(tg.rand(5).numpy(), stream.uniform32(5))
    np.testing.assert_allclose(tg.randn(1).numpy(), stream.randn(1, "float32"), rtol=1e-6)
    np.testing.assert_array_equal(tg.randint(3, 1000, (50,)).numpy(), 3 + (stream.u32(50) % np.uint64(997)).astype(int))
    np.testing.assert_array_equal(tg.rand(2).numpy(), stream.uniform32(2))


def test_uniform_and_normal_in_place():
    tg.manual_seed(5)
    stream = Stream(5)
    u = stream.uniform32(100)
    np.testing.assert_allclose(
        tg.empty(100).uniform_(-2, 3).numpy(), u * np.float32(5) - np.float32(2), rtol=1e-6, atol=1e-6
    )
    np.testing.assert_allclose(
        tg.empty(64).normal_(4, 0.5).numpy(), 4 + 0.5 * stream.randn(64, "float32"), rtol=1e-6, atol=1e-6
    )
    t = tg.empty(8, 2).t()
    tg.manual_seed(5)
    t.uniform_()
    assert sorted(t.numpy().ravel()) == sorted(u[:16])


def test_linear_starts_as_pytorchs():
    tg.manual_seed(3)
    layer = tg.nn.Linear(5, 4)
    stream = Stream(3)
    k = 1 / np.sqrt(5)
    np.testing.assert_allclose(
        layer.weight.detach().numpy().ravel(), (2 * stream.uniform32(20) - 1) * k, rtol=1e-6, atol=1e-7
    )
    np.testing.assert_allclose(layer.bias.detach().numpy(), (2 * stream.uniform32(4) - 1) * k, rtol=1e-6, atol=1e-7)


# Behaviour


def test_same_seed_same_numbers():
    def draw():
        return [
            t.tolist()
            for t in (
                tg.rand(5),
                tg.randn(40),
                tg.randint(0, 9, (7,)),
                tg.randperm(11),
                tg.nn.functional.dropout(tg.ones(50)),
            )
        ]

    tg.manual_seed(42)
    first = draw()
    assert draw() != first
    tg.manual_seed(42)
    assert draw() == first


def test_generator_of_ones_own():
    g = tg.Generator()
    g.manual_seed(7)
    a = tg.rand(4, generator=g).tolist()
    state = g.get_state()
    b = tg.rand(4, generator=g).tolist()
    g.set_state(state)
    assert tg.rand(4, generator=g).tolist() == b
    g.manual_seed(7)
    tg.rand(100)
    assert tg.rand(4, generator=g).tolist() == a
    with pytest.raises((TypeError, ValueError, RuntimeError)):
        g.set_state(state[:10])
    with pytest.raises((TypeError, ValueError, RuntimeError)):
        g.set_state("text")


def test_state_carries_the_spare_normal():
    g = tg.Generator()
    g.manual_seed(1)
    tg.randn(1, generator=g)
    state = g.get_state()
    a = tg.randn(3, generator=g).tolist()
    g.set_state(state)
    assert tg.randn(3, generator=g).tolist() == a


@pytest.mark.parametrize("n", [0, 1, 2, 10, 1000])
def test_randperm_is_a_permutation(n):
    p = tg.randperm(n)
    assert p.dtype == tg.int64 and sorted(p.tolist()) == list(range(n))


def test_randint_bounds():
    t = tg.randint(-3, 4, (5000,))
    assert t.dtype == tg.int64 and t.min().item() == -3 and t.max().item() == 3
    assert set(tg.randint(2, (100,)).tolist()) == {0, 1}
    assert tuple(tg.randint(5, (2, 0)).shape) == (2, 0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: tg.randint(3, 3, (2,)),
        lambda: tg.randint(5, 1, (2,)),
        lambda: tg.randperm(-1),
        lambda: tg.rand(-2),
        lambda: tg.empty(2).uniform_(3, 1),
        lambda: tg.empty(2).normal_(0, -1),
        lambda: tg.rand(2, dtype=tg.int64),
        lambda: tg.randn("a"),
        lambda: tg.manual_seed("a"),
    ],
)
def test_bad_arguments(call):
    with pytest.raises((ValueError, TypeError, RuntimeError)):
        call()


def test_distributions():
    u, z = tg.rand(200_000).numpy().astype(float), tg.randn(200_000).numpy().astype(float)
    assert u.min() >= 0 and u.max() < 1
    assert u.mean() == pytest.approx(0.5, abs=0.003) and u.var() == pytest.approx(1 / 12, abs=0.001)
    assert z.mean() == pytest.approx(0, abs=0.012) and z.var() == pytest.approx(1, abs=0.015)
    assert np.mean(z**4) == pytest.approx(3, abs=0.15)
    assert np.isfinite(z).all()


# Dropout


def test_dropout_zeroes_with_probability_p_and_rescales():
    x = tg.ones(200_000)
    for p in (0.1, 0.5, 0.9):
        y = tg.nn.functional.dropout(x, p).numpy()
        kept = y != 0
        assert kept.mean() == pytest.approx(1 - p, abs=0.005)
        np.testing.assert_allclose(y[kept], 1 / (1 - p), rtol=1e-6)
        assert np.corrcoef(kept[:-1], kept[1:])[0, 1] == pytest.approx(0, abs=0.01)


def test_dropout_gradient_uses_the_same_mask():
    x = tg.rand(1000).add_(1).requires_grad_()
    y = tg.nn.functional.dropout(x, 0.3)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), (y / x).detach().numpy(), rtol=1e-6)


def test_dropout_module_follows_the_mode():
    layer, x = tg.nn.Dropout(0.5), tg.ones(1000)
    assert layer(x).eq(0).any().item()
    layer.eval()
    assert layer(x).tolist() == x.tolist()
    a, b = tg.nn.functional.dropout(x, 0.5), tg.nn.functional.dropout(x, 0.5)
    assert a.tolist() != b.tolist()


def test_dropout_of_strided_input():
    x = tg.rand(40, 30).add_(1)
    tg.manual_seed(1)
    a = tg.nn.functional.dropout(x.t(), 0.5)
    tg.manual_seed(1)
    b = tg.nn.functional.dropout(x.t().contiguous(), 0.5)
    assert a.tolist() == b.tolist()


def philox_words(key, n):
    """Word w of the sequence that dropout reads: Philox4x32-10 by its definition (Salmon et al. 2011), in NumPy.

    Words 64 g .. 64 g + 63 are the first words of the counters 16 g .. 16 g + 15, then their second words, and so on.
    """
    low = np.uint64(0xFFFFFFFF)
    counters = np.arange(-(-n // 64) * 16, dtype=np.uint64)
    x = [counters & low, counters >> np.uint64(32), np.zeros_like(counters), np.zeros_like(counters)]
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        a, b = x[0] * np.uint64(0xD2511F53), x[2] * np.uint64(0xCD9E8D57)
        x = [(b >> np.uint64(32)) ^ x[1] ^ np.uint64(k0), b & low, (a >> np.uint64(32)) ^ x[3] ^ np.uint64(k1), a & low]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack(x).reshape(4, -1, 16).transpose(1, 0, 2).reshape(-1)[:n]


@pytest.mark.parametrize("n", [1, 63, 64, 1000, 70003])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.999])
def test_dropout_mask_is_philox(n, dtype, p):
    x = np.random.RandomState(2).standard_normal(n).astype(dtype)
    high, low = (int(word) for word in np.random.RandomState(11).randint(0, 2**32, 2, dtype=np.uint32))
    keep = philox_words(high << 32 | low, n) >= int(p * 2**32)
    scale = np.dtype(dtype).type(1 / (1 - p))
    for threads in (1, 3):
        tg.set_num_threads(threads)
        tg.manual_seed(11)
        np.testing.assert_array_equal(tg.nn.functional.dropout(tg.tensor(x), p).numpy(), np.where(keep, x * scale, 0))


def test_the_default_generator_by_functions():
    tg.manual_seed(5)
    assert tg.initial_seed() == 5
    state = tg.get_rng_state()
    assert state.dtype is tg.uint8
    drawn = tg.rand(3).tolist()
    tg.set_rng_state(state)
    assert tg.rand(3).tolist() == drawn
    with tg.random.fork_rng():
        tg.manual_seed(1)
        tg.rand(2)
    after = tg.rand(3).tolist()
    tg.set_rng_state(state)
    assert tg.rand(6).tolist() == drawn + after
    assert tg.seed() == tg.initial_seed() and tg.seed() != tg.seed()
    with pytest.raises(ValueError):
        tg.set_rng_state(state[:-1])
