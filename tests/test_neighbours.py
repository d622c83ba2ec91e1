"""NumPy's protocols, copies, and the attributes and methods that programs written for PyTorch ask a tensor for."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import tapegrad as tg

BINARY = [np.add, np.subtract, np.multiply, np.divide, np.power, np.maximum, np.minimum]


@pytest.mark.parametrize("ufunc", BINARY, ids=lambda f: f.__name__)
@pytest.mark.parametrize("side", [0, 1])
def test_ufuncs_of_two(ufunc, side):
    """An array or NumPy scalar on either side: a tensor with its graph, in the dtype that the operator gives."""
    a = np.array([1.5, 2.0, 0.5])
    for other in (a, a.astype("f4"), np.float32(2), np.float64(2), 3, a[:1]):
        t = tg.tensor([0.5, 3.0, 2.0], requires_grad=True)
        y = ufunc(*((t, other) if side == 0 else (other, t)))
        x = t.detach().numpy()
        want = ufunc(*((x, other) if side == 0 else (other, x)))
        assert isinstance(y, tg.Tensor) and y.requires_grad
        assert y.dtype == (tg.float64 if np.ndim(other) and np.asarray(other).dtype == np.float64 else tg.float32)
        np.testing.assert_allclose(y.detach().numpy(), want, rtol=1e-6)
        y.sum().backward()
        assert t.grad is not None


def test_ufuncs_of_one():
    t = tg.tensor([0.5, 3.0], requires_grad=True)
    for ufunc in (np.exp, np.log, np.sqrt, np.tanh, np.abs, np.negative, np.square, np.sin, np.cos):
        y = ufunc(t)
        assert isinstance(y, tg.Tensor) and y.requires_grad
        np.testing.assert_allclose(y.detach().numpy(), ufunc(t.detach().numpy()), rtol=1e-6)


def test_comparisons_and_products():
    a, t = np.array([1.0, 2.0], "f4"), tg.tensor([2.0, 2.0])
    for ufunc in (np.less, np.less_equal, np.equal, np.not_equal, np.greater, np.greater_equal):
        assert ufunc(a, t).dtype is tg.bool and ufunc(a, t).tolist() == ufunc(a, t.numpy()).tolist()
    w = tg.ones(2, 2, requires_grad=True)
    assert np.matmul(a, w).requires_grad and (a @ w).tolist() == [3, 3]
    assert isinstance(np.float32(2) * nn_parameter(), tg.Tensor)


def nn_parameter():
    return tg.nn.Parameter(tg.ones(2))


def test_ufuncs_that_numpy_computes():
    """No op of that name, a method of the ufunc, or an out=: NumPy's own result, refused where it would cut a graph."""
    t = tg.tensor([0.5, 3.0])
    assert isinstance(np.cbrt(t), tg.Tensor)
    np.testing.assert_allclose(np.cbrt(t).numpy(), np.cbrt(t.numpy()))
    fraction, whole = np.modf(t)
    assert fraction.tolist() == [0.5, 0] and whole.tolist() == [0, 3]
    assert float(np.add.reduce(t)) == 3.5 and np.multiply.outer(t, t.numpy()).shape == (2, 2)
    a = np.zeros(2, "f4")
    a += t
    assert isinstance(a, np.ndarray) and a.tolist() == [0.5, 3]
    out = np.add(t, 1, out=t)
    assert out is t and t.tolist() == [1.5, 4]
    for call in (lambda w: np.cbrt(w), lambda w: np.add(a, w, out=a), lambda w: np.add.reduce(w)):
        with pytest.raises(TypeError, match="detach"):
            call(tg.ones(2, requires_grad=True))
    assert np.add(a, t, where=np.array([True, False]), out=np.zeros(2))[1] == 0


def test_array_protocol():
    t = tg.tensor([1.0, 2.0])
    assert np.shares_memory(t.__array__(), t.numpy()) and np.shares_memory(np.asarray(t), t.numpy())
    assert t.__array__(np.float64).dtype == np.float64 and t.__array__(np.dtype("f4")).dtype == np.float32
    assert not np.shares_memory(t.__array__(copy=True), t.numpy())
    assert not np.shares_memory(np.array(t), t.numpy()) and not np.shares_memory(np.array(t, copy=True), t.numpy())
    assert np.shares_memory(np.array(t, copy=False), t.numpy())
    for convert in (t.__array__, lambda *a, **k: np.array(t, *a, **k)):
        with pytest.raises(ValueError, match="copy"):
            convert(np.float64, copy=False)
    assert np.asarray([tg.tensor(1.0), tg.tensor(2.0)]).tolist() == [1, 2]
    for dtype in ("float32", "float64", "int64", "int32", "uint8", "bool"):
        a = np.asarray(t.to(getattr(tg, dtype)))
        assert a.dtype == np.dtype(dtype) and a.dtype.char == np.dtype(dtype).char
    w = tg.ones(2, requires_grad=True)
    for convert in (np.asarray, lambda w: w.__array__(), lambda w: w.numpy()):
        with pytest.raises(RuntimeError, match="detach"):
            convert(w)
    assert w.numpy(force=True).tolist() == [1, 1] and (w * 2).numpy(force=True).tolist() == [2, 2]


def test_reductions_of_numpy():
    t = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert np.sum(t.numpy()) == t.sum(axis=None).item() == 10
    assert t.sum(axis=0).tolist() == [4, 6] and t.mean(axis=1, keepdims=True).tolist() == [[1.5], [3.5]]


def test_arrays_of_other_byte_order_and_read_only_ones():
    a = np.arange(4.0)
    for foreign in (a.astype(">f8"), a.astype(">f4"), np.arange(4, dtype=">i8"), np.arange(4, dtype=">i4")):
        for make in (tg.from_numpy, tg.tensor, tg.as_tensor):
            t = make(foreign)
            assert t.tolist() == [0, 1, 2, 3] and (t + foreign).tolist() == [0, 2, 4, 6]
    a.flags.writeable = False
    t = tg.from_numpy(a)
    for write in (
        lambda: t.add_(1),
        lambda: t.__setitem__(0, 5),
        lambda: t[1:].zero_(),
        lambda: t.index_fill_(0, tg.tensor([0]), 1),
    ):
        with pytest.raises(RuntimeError, match="read-only"):
            write()
    assert a.tolist() == [0, 1, 2, 3] and not t.numpy().flags.writeable
    assert (t + 1).tolist() == [1, 2, 3, 4] and t.clone().add_(1).tolist() == [1, 2, 3, 4]


# Copies


def test_copy_shares_and_deepcopy_does_not():
    for t in (tg.ones(3), tg.ones(3, requires_grad=True), tg.arange(3), nn_parameter(), tg.ones(2, 3).t()):
        shallow, deep = copy.copy(t), copy.deepcopy(t)
        assert shallow is not t and type(shallow) is type(deep) is type(t)
        assert shallow.requires_grad == deep.requires_grad == t.requires_grad
        assert shallow.data_ptr() == t.data_ptr() != deep.data_ptr()
        assert shallow.tolist() == deep.tolist() == t.tolist()


def test_deepcopy_of_modules_and_containers():
    model = tg.nn.Sequential(tg.nn.Linear(2, 3), tg.nn.LayerNorm(3), tg.nn.Linear(3, 1))
    twin = copy.deepcopy(model)
    x = tg.rand(4, 2)
    assert twin(x).tolist() == model(x).tolist()
    with tg.no_grad():
        twin[0].weight.zero_()
    assert model[0].weight.abs().sum().item() > 0
    assert all(isinstance(p, tg.nn.Parameter) and p.requires_grad for p in twin.parameters())
    shared = tg.ones(2)
    pair = copy.deepcopy([shared, shared])
    assert pair[0] is pair[1] is not shared
    w = tg.ones(2, requires_grad=True)
    (w * w).sum().backward()
    assert copy.deepcopy(w).grad.tolist() == [2, 2]


def test_graph_tensors_are_not_copied():
    y = tg.ones(2, requires_grad=True) * 2
    with pytest.raises(RuntimeError, match="leaf"):
        copy.deepcopy(y)


def test_pickling_is_refused_with_the_way_out():
    for t in (tg.ones(2), nn_parameter()):
        with pytest.raises(TypeError, match=r"tg\.save"):
            pickle.dumps(t)
    assert pickle.loads(pickle.dumps(tg.float32)) is tg.float32


# Python's protocols


def test_numbers():
    t = tg.tensor(2.5)
    assert float(t) == 2.5 and int(t) == 2 and complex(t) == 2.5 + 0j and bool(t) and f"{t:.2f}" == "2.50"
    assert int(tg.tensor([[7]])) == 7 and [10, 20][tg.tensor(1)] == 20 and range(5)[tg.tensor(2)] == 2
    assert not tg.tensor(0.0) and bool(tg.tensor([True]))
    for call in (float, int, complex, bool):
        with pytest.raises((RuntimeError, ValueError, TypeError), match=r"\(2\)|\(2,\)"):
            call(tg.ones(2))
    for index in (tg.tensor(1.0), tg.tensor([1, 2])):
        with pytest.raises(TypeError, match="index"):
            [10, 20][index]
    for call in (lambda: tg.ones(2).item(), lambda: tg.ones(0).item()):
        with pytest.raises((ValueError, RuntimeError), match="one element"):
            call()


def test_sequences():
    t = tg.arange(6).view(3, 2)
    assert len(t) == 3 and [row.tolist() for row in t] == [[0, 1], [2, 3], [4, 5]]
    assert 3 in t and 7 not in t and tg.tensor(5) in t and 2.5 not in t
    a, b, c = t
    assert (a.tolist(), b.tolist(), c.tolist()) == ([0, 1], [2, 3], [4, 5])
    w = tg.ones(2, requires_grad=True)
    sum(row * row for row in w).backward()
    assert w.grad.tolist() == [2, 2]
    for call in (len, iter):
        with pytest.raises(TypeError, match="0-d"):
            call(tg.tensor(1))
    assert [r.tolist() for r in reversed(t)] == [[4, 5], [2, 3], [0, 1]]


def test_hash_and_identity():
    a, b = tg.ones(2), tg.ones(2)
    assert len({a, b, a}) == 2 and {a: 1}[a] == 1 and hash(a) == hash(a)
    assert any(p is b for p in [a, b])


def test_attributes():
    t = tg.ones(2, 3, dtype=tg.float64)
    assert str(t.device) == "cpu" and repr(t.device) == "device(type='cpu')" and t.device == tg.device("cpu")
    assert not t.is_cuda and not t.is_sparse and t.get_device() == -1 and not t.is_complex() and t.is_signed()
    assert (t.itemsize, t.element_size(), t.nbytes, t.numel(), t.nelement()) == (8, 8, 48, 6, 6)
    assert (t.ndim, t.dim(), t.ndimension()) == (2, 2, 2)
    assert t.stride() == (3, 1) and t.stride(0) == 3 and t.stride(-1) == 1 and t.size(-1) == 3
    assert t[1].data_ptr() == t.data_ptr() + 24 and t[1].storage_offset() == 3
    assert tuple(t.T.shape) == tuple(t.mT.shape) == tuple(t.H.shape) == (3, 2)
    assert t.is_same_size(tg.zeros(2, 3)) and not t.is_same_size(tg.zeros(3, 2))
    with pytest.raises(RuntimeError, match="2 dimensions"):
        tg.ones(3).H  # noqa: B018
    assert tg.is_tensor(t) and not tg.is_tensor([1]) and tg.numel(t) == 6
    assert tg.is_floating_point(t) and not tg.is_floating_point(tg.arange(2)) and not tg.is_complex(t)


@pytest.mark.parametrize("name", ["float32", "float64", "int64", "int32", "uint8", "bool"])
def test_casts(name):
    torch = pytest.importorskip("torch")
    methods = {
        "float32": "float",
        "float64": "double",
        "int64": "long",
        "int32": "int",
        "uint8": "byte",
        "bool": "bool",
    }
    for T in (tg, torch):
        t = T.tensor([0.0, 1.7, 3.0])
        dtype = getattr(T, name)
        other = T.zeros(1, dtype=dtype)
        same = [getattr(t, methods.get(name, name))(), t.to(dtype), t.to(other), t.to("cpu", dtype), t.to(dtype=dtype)]
        same += [t.type(dtype), t.type_as(other), t.to(T.device("cpu"), dtype, True), t.to(dtype, False, True)]
        assert all(s.dtype == dtype and s.tolist() == same[0].tolist() for s in same)
        assert same[0].type().split(".")[-1] == t.to(dtype).type().split(".")[-1]


def test_to():
    t = tg.ones(2)
    assert t.to(tg.float32) is t and t.to("cpu") is t and t.to(tg.device("cpu:0")) is t and t.cpu() is t
    assert t.to("cpu", copy=True) is not t and t.to(tg.float32, copy=True).data_ptr() != t.data_ptr()
    w = tg.ones(2, requires_grad=True)
    w.to("cpu", tg.float64).sum().backward()
    assert w.grad.tolist() == [1, 1] and w.grad.dtype is tg.float32
    for call in (lambda: t.to("cuda"), lambda: t.to(device="cuda:0"), lambda: t.to(tg.device("mps")), lambda: t.cuda()):
        with pytest.raises((ValueError, RuntimeError), match="CPU"):
            call()
    for call in (lambda: t.to(), lambda: t.to(3), lambda: t.to("nonsense")):
        with pytest.raises((TypeError, ValueError)):
            call()


def test_devices():
    torch = pytest.importorskip("torch")
    for name in ("cpu", "cpu:0", "cuda", "cuda:1"):
        ours, theirs = tg.device(name), torch.device(name)
        assert (str(ours), repr(ours), ours.type, ours.index) == (str(theirs), repr(theirs), theirs.type, theirs.index)
    assert tg.device("cpu", 0) == tg.device("cpu:0") != tg.device("cpu") and tg.device(tg.device("cpu")).type == "cpu"
    assert len({tg.device("cpu"), tg.device("cpu")}) == 1
    for bad in (3, None, "", "cpu:x", ":1"):
        with pytest.raises((TypeError, ValueError)):
            tg.device(bad)
    device = tg.device("cuda" if tg.cuda.is_available() else "cpu")
    tg.cuda.manual_seed_all(0)
    assert tg.cuda.device_count() == 0
    made = [
        tg.zeros(2, device=device), tg.ones(2, device="cpu"), tg.rand(2, device=device),
        tg.tensor([1.0], device=device),
        tg.full((2,), 1.0, device=device), tg.arange(3, device=device), tg.linspace(0, 1, 3, device=device),
        tg.eye(2, device=device), tg.zeros_like(tg.ones(1), device=device), tg.randint(3, (2,), device=device),
        tg.randperm(3, device=device), tg.as_tensor([1], device=device), tg.ones(1).new_zeros(2, device=device),
    ]  # fmt: skip
    assert all(t.device == device for t in made)
    with pytest.raises(ValueError, match="cuda"):
        tg.zeros(2, device="cuda")


def test_as_tensor():
    t, a = tg.ones(2), np.ones(2)
    assert tg.as_tensor(t) is t and tg.as_tensor(t, dtype=tg.float64).dtype is tg.float64
    assert np.shares_memory(tg.as_tensor(a).numpy(), a) and tg.as_tensor(a, tg.float32).dtype is tg.float32
    assert tg.as_tensor([1, 2]).dtype is tg.int64 and tg.as_tensor(2.5).item() == 2.5
    assert tg.as_tensor(np.float64(2.5)).dtype is tg.float64


def test_programs_that_ask_for_a_gpu_get_the_cpu():
    assert not tg.accelerator.is_available() and tg.accelerator.current_accelerator() is None
    assert tg.accelerator.device_count() == 0 and not tg.backends.mps.is_available()
    tg.backends.cudnn.benchmark = False
    tg.cuda.empty_cache()
    tg.use_deterministic_algorithms(True)
    tg.set_float32_matmul_precision("high")
    with pytest.raises(ValueError, match="'highest', 'high' or 'medium', got 'low'"):
        tg.set_float32_matmul_precision("low")


@pytest.mark.parametrize("name", ["float32", "float64", "int32", "int64", "uint8"])
def test_limits_of_dtypes(name):
    torch = pytest.importorskip("torch")
    of, attributes = ("finfo", "bits eps min max tiny smallest_normal resolution")
    if "int" in name:
        of, attributes = "iinfo", "bits min max"
    for attribute in attributes.split():
        ours, theirs = (getattr(getattr(lib, of)(getattr(lib, name)), attribute) for lib in (tg, torch))
        assert ours == theirs and type(ours) is type(theirs)
    assert tg.finfo().eps == tg.finfo(tg.float32).eps


def test_names_where_programs_also_import_them_from():
    from tapegrad.autograd.function import once_differentiable
    from tapegrad.nn.parameter import Parameter
    from tapegrad.optim.optimizer import Optimizer
    from tapegrad.utils.data.dataloader import DataLoader, default_collate
    from tapegrad.utils.data.dataset import Dataset, random_split
    from tapegrad.utils.data.sampler import Sampler

    data = tg.utils.data
    assert (Parameter, Optimizer, DataLoader) == (tg.nn.Parameter, tg.optim.Optimizer, data.DataLoader)
    assert (Dataset, random_split, Sampler) == (data.Dataset, data.random_split, data.Sampler)
    assert default_collate is data.default_collate and callable(once_differentiable)
