"""DLPack and the buffer protocol: memory shared both ways, owners held and let go, bad capsules refused."""

from __future__ import annotations

import ctypes
import gc
import weakref
import zlib

import numpy as np
import pytest

import tapegrad as tg

DTYPES = ["float32", "float64", "int64", "int32", "uint8", "bool"]


def layouts():
    t = tg.arange(24).view(2, 3, 4)
    return [t, t.permute(2, 0, 1), t[:, 1:, ::2], t[1, 2], t[0, 0, 0], t[:0], t.expand(2, 2, 3, 4)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_to_numpy_and_back(dtype):
    for t in layouts():
        t = t.to(getattr(tg, dtype))
        a = np.from_dlpack(t)
        assert a.dtype == np.dtype(dtype) and a.tolist() == t.tolist()
        back = tg.from_dlpack(a)
        assert back.dtype == t.dtype and back.tolist() == t.tolist() and back.shape == t.shape
        if t.numel():
            assert np.shares_memory(a, t.numpy()) and np.shares_memory(back.numpy(), t.numpy())


@pytest.mark.parametrize("dtype", DTYPES)
def test_to_pytorch_and_back(dtype):
    torch = pytest.importorskip("torch")
    for t in layouts():
        t = t.to(getattr(tg, dtype))
        for theirs in (torch.from_dlpack(t), torch.utils.dlpack.from_dlpack(tg.utils.dlpack.to_dlpack(t))):
            assert theirs.dtype == getattr(torch, dtype) and theirs.tolist() == t.tolist()
            assert theirs.data_ptr() == t.data_ptr() or t.numel() == 0
            for back in (tg.from_dlpack(theirs), tg.utils.dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(theirs))):
                assert back.dtype == t.dtype and back.tolist() == t.tolist()
                assert back.data_ptr() == t.data_ptr() or t.numel() == 0


def test_writes_are_seen_on_both_sides():
    t = tg.zeros(3)
    a = np.from_dlpack(t)
    t[0] = 1
    assert a[0] == 1
    b = np.zeros(3, np.float32)
    s = tg.from_dlpack(b)
    s[1] = 2
    b[2] = 3
    assert b.tolist() == [0, 2, 3] == s.tolist()


def test_owners():
    """Memory lives as long as anybody shares it, and not longer."""

    class Owned(np.ndarray):
        pass

    a = np.ones(1000).view(Owned)
    gone = weakref.ref(a)
    t = tg.from_dlpack(a)
    view, out = t[5:], t.numpy()
    del a, t
    gc.collect()
    assert gone() is not None and view.sum().item() == 995
    del view, out
    gc.collect()
    assert gone() is None

    for _ in range(5):  # what earlier tests left, cycle behind cycle
        gc.collect()
    before = tg.memory_stats()["allocated_bytes"]
    t = tg.ones(100_000)
    arrays = [np.from_dlpack(t), np.from_dlpack(t[1:])]
    capsules = [t.__dlpack__(), t.__dlpack__(max_version=(1, 1))]
    del t
    assert arrays[0].sum() == 100_000
    del arrays, capsules
    gc.collect()
    assert tg.memory_stats()["allocated_bytes"] == before


def test_read_only_memory():
    a = np.ones(3)
    a.flags.writeable = False
    t = tg.from_dlpack(a)
    with pytest.raises(RuntimeError, match="read-only"):
        t.add_(1)
    assert not np.from_dlpack(t).flags.writeable
    with pytest.raises(BufferError, match="read-only"):
        t.__dlpack__()
    assert memoryview(t).readonly


def test_copies_and_devices():
    t = tg.arange(3)
    assert not np.shares_memory(np.from_dlpack(t, copy=True), t.numpy())
    assert not np.shares_memory(tg.from_dlpack(t, copy=True).numpy(), t.numpy())
    assert t.__dlpack_device__() == (1, 0)
    assert tg.from_dlpack(np.ones(2), device="cpu").tolist() == [1, 1]
    for call in (
        lambda: tg.from_dlpack(np.ones(2), device="cuda"),
        lambda: t.__dlpack__(dl_device=(2, 0)),
        lambda: t.__dlpack__(stream=1),
    ):
        with pytest.raises((ValueError, BufferError, TypeError)):
            call()


def test_a_graph_is_not_exported():
    for t in (tg.ones(2, requires_grad=True), tg.ones(2, requires_grad=True) * 2):
        for export in (np.from_dlpack, memoryview, lambda t: t.__dlpack__(), tg.utils.dlpack.to_dlpack):
            with pytest.raises((BufferError, RuntimeError), match="detach"):
                export(t)
        assert np.from_dlpack(t.detach()).sum() == t.sum().item()


def test_a_capsule_is_used_once():
    capsule = tg.ones(2).__dlpack__(max_version=(1, 0))
    assert tg.from_dlpack(capsule).tolist() == [1, 1]
    with pytest.raises(ValueError, match="used before"):
        tg.from_dlpack(capsule)
    for thing in (3, None, "text", [1.0], object()):
        with pytest.raises(TypeError):
            tg.from_dlpack(thing)


# Capsules made by hand


class DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Versioned(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", Deleter),
        ("flags", ctypes.c_uint64),
        ("tensor", DLTensor),
    ]


new_capsule = ctypes.pythonapi.PyCapsule_New
new_capsule.restype = ctypes.py_object
new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


class Made:
    """A capsule on six float32 numbers, with some fields replaced."""

    def __init__(self, shape=(2, 3), strides=None, major=1, **fields):
        self.memory = (ctypes.c_float * 6)(*range(6))
        self.shape = (ctypes.c_int64 * max(len(shape), 1))(*shape)
        self.strides = (ctypes.c_int64 * max(len(shape), 1))(*strides) if strides else None
        self.deleted = 0
        self.deleter = Deleter(self.delete)
        self.managed = Versioned(major=major, minor=0, context=None, deleter=self.deleter, flags=0)
        t = self.managed.tensor
        t.data, t.device_type, t.ndim = ctypes.addressof(self.memory), 1, len(shape)
        t.code, t.bits, t.lanes, t.byte_offset = 2, 32, 1, 0
        t.shape, t.strides = self.shape, self.strides
        for name, value in fields.items():
            setattr(t, name, value)

    def delete(self, _):
        self.deleted += 1

    def capsule(self):
        return new_capsule(ctypes.addressof(self.managed), b"dltensor_versioned", None)


def test_a_good_capsule():
    made = Made()
    t = tg.from_dlpack(made.capsule())
    assert t.tolist() == [[0, 1, 2], [3, 4, 5]] and made.deleted == 0
    view = t[1]
    del t
    assert view.tolist() == [3, 4, 5] and made.deleted == 0
    del view
    assert made.deleted == 1
    made = Made(byte_offset=4, shape=(2, 2), strides=(1, 2))
    assert tg.from_dlpack(made.capsule()).tolist() == [[1, 3], [2, 4]]
    assert tg.from_dlpack(Made(shape=()).capsule()).item() == 0
    assert tuple(tg.from_dlpack(Made(shape=(0, 3), data=None).capsule()).shape) == (0, 3)


@pytest.mark.parametrize(
    "fields",
    [
        {"device_type": 2},
        {"code": 5},
        {"code": 7},
        {"bits": 16},
        {"bits": 0},
        {"lanes": 4},
        {"ndim": -1},
        {"ndim": 65},
        {"ndim": 2**31 - 1},
        {"data": None},
        {"shape": None},
        {"byte_offset": 1},
    ],
    ids=str,
)
def test_bad_fields(fields):
    made = Made()
    for name, value in fields.items():
        setattr(made.managed.tensor, name, value)
    with pytest.raises((BufferError, TypeError, ValueError)):
        tg.from_dlpack(made.capsule())
    assert made.deleted == 1


@pytest.mark.parametrize(
    "given",
    [
        {"shape": (-1, 3)},
        {"shape": (2**62, 2**62)},
        {"shape": (2, 3), "strides": (-3, 1)},
        {"shape": (2, 3), "strides": (2**62, 1)},
        {"shape": (2**40, 2**20), "strides": (2**40, 2**40)},
    ],
    ids=str,
)
def test_bad_shapes(given):
    made = Made(**given)
    with pytest.raises((BufferError, ValueError)):
        tg.from_dlpack(made.capsule())
    assert made.deleted == 1


def test_a_version_to_come_is_refused_and_left_alone():
    made = Made(major=2)
    with pytest.raises(BufferError, match="DLPack 2"):
        tg.from_dlpack(made.capsule())
    assert made.deleted == 0


def test_producers_of_before_version_1():
    class Old:
        def __init__(self, t):
            self.t = t

        def __dlpack__(self):
            return self.t.__dlpack__()

        def __dlpack_device__(self):
            return (1, 0)

    class Elsewhere(Old):
        def __dlpack_device__(self):
            return (2, 0)

    class Wrong(Old):
        def __dlpack__(self, **kwargs):
            return 5

    assert tg.from_dlpack(Old(tg.arange(3))).tolist() == [0, 1, 2]
    with pytest.raises(BufferError, match="CPU"):
        tg.from_dlpack(Elsewhere(tg.arange(3)))
    with pytest.raises(TypeError, match="capsule"):
        tg.from_dlpack(Wrong(tg.arange(3)))


# The buffer protocol


@pytest.mark.parametrize("dtype", DTYPES)
def test_memoryview(dtype):
    for t in layouts():
        t = t.to(getattr(tg, dtype))
        m = memoryview(t)
        assert m.shape == tuple(t.shape) and m.ndim == t.ndim and m.tolist() == t.tolist()
        assert m.itemsize == t.element_size() and m.nbytes == t.nbytes and not m.readonly
        assert np.asarray(m).dtype == np.dtype(dtype)


def test_memoryview_shares_memory():
    t = tg.zeros(2, 3)
    m = memoryview(t)
    m[1, 2] = 5.0
    assert t.tolist() == [[0, 0, 0], [0, 0, 5]]
    t[0, 0] = 1
    assert m[0, 0] == 1
    assert bytes(t[0]) == np.array([1, 0, 0], "f4").tobytes()
    assert bytearray(tg.tensor([1, 2], dtype=tg.uint8)) == b"\1\2"


def test_memory_outlives_the_tensor():
    before = tg.memory_stats()["allocated_bytes"]
    m = memoryview(tg.ones(50_000))
    [tg.zeros(50_000) for _ in range(5)]
    assert m[0] == 1 == m[-1]
    m.release()
    assert tg.memory_stats()["allocated_bytes"] == before


def test_wishes_of_the_consumer():
    t = tg.arange(6).view(2, 3)
    assert zlib.crc32(t) == zlib.crc32(t.clone())  # asks for contiguous memory
    for strided in (t.t(), t[:, :2]):
        with pytest.raises(BufferError, match="contiguous"):
            zlib.crc32(strided)


def test_an_exported_tensor_can_still_be_written_with_a_graph():
    w = tg.tensor(2.0, requires_grad=True)
    y = tg.zeros(3)
    m = memoryview(y)
    y[1] = w * 3
    assert m[1] == 6
    y.sum().backward()
    assert w.grad.item() == 3
