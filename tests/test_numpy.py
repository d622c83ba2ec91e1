"""NumPy as a neighbour: shared memory both ways, who owns it, arrays on the left of an operator."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import tapegrad as tg

DTYPES = ["float32", "float64", "int64", "int32", "uint8", "bool"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_from_numpy_shares_memory(dtype):
    a = np.array([[0, 1, 1], [1, 0, 1]], dtype=dtype)
    t = tg.from_numpy(a)
    assert t.dtype == getattr(tg, dtype) and t.tolist() == a.tolist()
    a[0, 0] = 1
    assert t[0, 0].item() == 1
    t[1, 1] = 1
    assert a[1, 1] == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_shares_memory(dtype):
    t = tg.ones(2, 3).to(getattr(tg, dtype))
    a = t.numpy()
    assert a.dtype == np.dtype(dtype) and a.shape == (2, 3)
    a[0, 0] = 0
    assert t[0, 0].item() == 0
    t[1, 2] = 0
    assert a[1, 2] == 0
    assert np.shares_memory(a, t.numpy())


def test_strides_survive():
    a = np.arange(24.0).reshape(2, 3, 4)
    for view in (a.transpose(2, 0, 1), a[:, ::2, 1:], a[1], np.broadcast_to(a[0], (5, 3, 4)).copy(), a[..., 0], a[:0]):
        t = tg.from_numpy(view)
        assert t.tolist() == view.tolist()
        back = t.numpy()
        assert back.shape == view.shape and np.array_equal(back, view)
        assert view.size == 0 or np.shares_memory(back, view)
    t = tg.arange(12).reshape(3, 4)
    for strided in (t.t(), t[::2], t[:, 1], t.expand(2, 3, 4)):
        assert strided.numpy().tolist() == strided.tolist()
        assert np.shares_memory(strided.numpy(), t.numpy())


def test_array_outlives_its_tensor_and_tensor_its_array():
    a = tg.ones(1000).numpy()
    b = tg.from_numpy(np.full(1000, 2.0))
    gc.collect()
    [tg.zeros(1000) for _ in range(50)]
    assert a.sum() == 1000
    assert b.sum().item() == 2000


def test_owner_is_released():
    class Owned(np.ndarray):
        pass

    a = np.ones(10).view(Owned)
    gone = weakref.ref(a)
    t = tg.from_numpy(a)
    view = t[2:]
    out = view.numpy()
    del a, t, view
    gc.collect()
    assert out.sum() == 8
    del out
    gc.collect()
    assert gone() is None


def test_read_only_arrays():
    """A read-only array is never written to: the tensor is a copy, or a write is refused."""
    a = np.ones(3)
    a.flags.writeable = False
    try:
        t = tg.from_numpy(a)
        t.add_(1)
        t.numpy()[:] = 5
    except (ValueError, RuntimeError, TypeError):
        pass
    assert a.tolist() == [1, 1, 1]
    c = tg.tensor(a)
    c.add_(1)
    assert c.tolist() == [2, 2, 2] and a.tolist() == [1, 1, 1]


def test_arrays_that_do_not_fit():
    for a in (
        np.ones(2, np.complex64),
        np.array(["a"]),
        np.array([None]),
        np.ones(2, np.float16),
        np.zeros(2, "datetime64[s]"),
    ):
        with pytest.raises((TypeError, ValueError)):
            tg.from_numpy(a)
    for thing in ([1, 2], 3, None, tg.ones(2)):
        with pytest.raises(TypeError):
            tg.from_numpy(thing)


def test_odd_memory():
    """Negative strides, other byte order, unaligned bytes: the right values, or an exception."""
    packed = np.zeros(3, np.dtype([("pad", "u1"), ("x", "<f8")]))
    packed["x"] = [1, 2, 3]
    for a, want in [
        (np.arange(4.0)[::-1], [3, 2, 1, 0]),
        (np.arange(4.0)[::-2], [3, 1]),
        (np.arange(3.0).astype(">f8"), [0, 1, 2]),
        (packed["x"], [1, 2, 3]),
        (np.frombuffer(b"\0" + np.arange(3.0).tobytes(), offset=1), [0, 1, 2]),
    ]:
        for make in (tg.from_numpy, tg.tensor):
            try:
                t = make(a)
            except (ValueError, TypeError):
                assert make is tg.from_numpy, "tensor() copies, so it can take any strides and byte order"
                continue
            assert t.tolist() == want
            assert (t * 2).tolist() == [2 * w for w in want]


def test_zero_d_and_scalars():
    t = tg.from_numpy(np.array(2.5))
    assert tuple(t.shape) == () and t.item() == 2.5
    assert tg.tensor(np.float32(1.5)).dtype == tg.float32
    assert tg.tensor(np.int32(3)).dtype == tg.int32
    assert tg.tensor(np.float64(1.5)).item() == 1.5


def test_array_protocol():
    t = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert np.asarray(t).dtype == np.float32
    assert np.shares_memory(np.asarray(t), t.numpy())
    assert np.array(t, dtype=np.float64).dtype == np.float64
    copied = np.array(t)
    copied[:] = 0
    assert t.sum().item() == 10
    assert np.linalg.norm(t) == pytest.approx(np.sqrt(30))
    assert np.mean(t.numpy()) == 2.5
    np.testing.assert_allclose(t, [[1, 2], [3, 4]])


def test_a_tensor_with_a_graph_is_not_silently_cut():
    t = tg.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="detach"):
        t.numpy()
    with pytest.raises(RuntimeError, match="detach"):
        (t * 2).numpy()
    assert t.detach().numpy().tolist() == [1, 1]
    assert t.grad is None


@pytest.mark.parametrize(
    "f",
    [
        lambda a, t: a * t,
        lambda a, t: a + t,
        lambda a, t: a - t,
        lambda a, t: a / t,
        lambda a, t: t * a,
        lambda a, t: t - a,
        lambda a, t: t / a,
    ],
)
def test_array_on_either_side_stays_a_tensor(f):
    a, t = np.array([1.0, 2.0], dtype=np.float32), tg.tensor([3.0, 4.0], requires_grad=True)
    result = f(a, t)
    assert isinstance(result, tg.Tensor) and result.requires_grad
    np.testing.assert_allclose(result.detach().numpy(), f(a, t.detach().numpy()), rtol=1e-6)
    result.sum().backward()
    assert t.grad is not None


@pytest.mark.parametrize("scalar", [np.float64(2), np.float32(2), np.int64(2), np.int32(2)])
def test_numpy_scalar_on_either_side(scalar):
    t = tg.tensor([3.0, 4.0], requires_grad=True)
    for result in (scalar * t, t * scalar, scalar + t, scalar - t, scalar / t, t**scalar):
        assert isinstance(result, tg.Tensor) and result.requires_grad and result.dtype == tg.float32
    assert (scalar - t).tolist() == [-1, -2]


def test_matmul_and_comparison_with_an_array():
    a, t = np.eye(2, dtype=np.float32), tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert isinstance(a @ t, tg.Tensor) and (a @ t).tolist() == t.tolist()
    assert isinstance(a < t, tg.Tensor) and (a < t).tolist() == [[False, True], [True, True]]


def test_masked_array():
    m = np.ma.array([1.0, 2.0, 3.0], mask=[False, True, False])
    assert tuple(tg.tensor(np.asarray(m)).shape) == (3,)


def test_in_place_on_array_memory_reaches_the_array():
    a = np.ones((3, 3), np.float32)
    t = tg.from_numpy(a)
    t.mul_(3)
    t[0].zero_()
    t += 1
    assert a.tolist() == [[1, 1, 1], [4, 4, 4], [4, 4, 4]]
    a += tg.ones(3, 3).numpy()
    assert t[0].tolist() == [2, 2, 2]
