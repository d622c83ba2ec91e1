"""Indexing, reading and writing, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import op_cases_index
import tapegrad as tg
from op_case import map_arrays, tensors

N = slice(None)


def index_table():
    """(shape, index) of every sample of the getitem case."""
    return [(s.args[0].shape, s.args[1]) for s in op_cases_index.index_samples(np.random.RandomState(3))]


TABLE = index_table()
# Basic indexing: no arrays, lists or masks.
BASIC = [
    (s, i)
    for s, i in TABLE
    if not any(isinstance(p, (np.ndarray, list)) for p in (i if isinstance(i, tuple) else (i,)))
]


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
@pytest.mark.parametrize("k", range(len(TABLE)))
def test_read(k, dtype):
    shape, index = TABLE[k]
    a = (np.arange(np.prod(shape, dtype=int)).reshape(shape) * 7 % 11).astype(dtype)
    got = tg.tensor(a)[tensors(tg, index)]
    np.testing.assert_array_equal(got.numpy(), a[index])


@pytest.mark.parametrize("k", range(len(TABLE)))
def test_read_from_a_transposed_tensor(k):
    shape, index = TABLE[k]
    a = np.arange(np.prod(shape, dtype=float)).reshape(shape)
    strided = tg.permute(tg.tensor(a.T.copy()), tuple(reversed(range(a.ndim))))
    np.testing.assert_array_equal(strided[tensors(tg, index)].numpy(), a[index])


@pytest.mark.parametrize("k", range(len(BASIC)))
def test_basic_indexing_is_a_view(k):
    shape, index = BASIC[k]
    a = tg.zeros(shape)
    view = a[index]
    if view.numel():
        view.add_(1)
        assert a.sum().item() == view.numel()


@pytest.mark.parametrize("value", ["scalar", "zero-d", "full", "row"])
@pytest.mark.parametrize("k", range(len(TABLE)))
def test_write(k, value):
    """x[index] = value as NumPy does it, value broadcast to the selection."""
    shape, index = TABLE[k]
    a = np.arange(np.prod(shape, dtype=float)).reshape(shape)
    x = tg.tensor(a)
    picked = a[index]
    v = {
        "scalar": 7.5,
        "zero-d": np.array(7.5),
        "full": 100.0 + np.arange(picked.size).reshape(picked.shape),
        "row": 100.0 + np.arange(picked.shape[-1] if picked.ndim else 1),
    }[value]
    if value == "row" and picked.ndim == 0:
        v = v[0]
    if value == "full" and len(np.unique(np.arange(a.size).reshape(shape)[index])) != picked.size:
        v = np.full(picked.shape, 3.0)  # one element written twice: which value stays is not defined
    if value == "row" and len(np.unique(np.arange(a.size).reshape(shape)[index])) != picked.size:
        v = 3.0
    a[index] = v
    x[tensors(tg, index)] = tg.tensor(v) if isinstance(v, np.ndarray) else float(v)
    np.testing.assert_array_equal(x.numpy(), a)


def test_write_other_dtypes():
    x = tg.zeros(3)
    x[0] = 2
    x[1] = True
    x[2] = tg.tensor(5)
    assert x.tolist() == [2, 1, 5]
    x[:] = tg.tensor([1.5, 2.5, 3.5])
    assert x.tolist() == [1.5, 2.5, 3.5]
    x[x > 2] = 0
    assert x.tolist() == [1.5, 0, 0]
    y = tg.zeros(3, dtype=tg.int64)
    y[1] = 2.9
    y[2] = tg.tensor(3.9)
    assert y.tolist() == [0, 2, 3]


@pytest.mark.parametrize(
    "write",
    [
        lambda x: x.__setitem__(3, 1),
        lambda x: x.__setitem__((0, 4), 1),
        lambda x: x.__setitem__((0, 0, 0), 1),
        lambda x: x.__setitem__(0, tg.ones(5)),
        lambda x: x.__setitem__(slice(0, 2), tg.ones(3, 4)),
        lambda x: x.__setitem__(tg.tensor([3]), 1),
        lambda x: x.__setitem__(tg.ones(4) > 0, 1),
        lambda x: x.__setitem__(0, "text"),
        lambda x: x.__setitem__(0, None),
        lambda x: x.__setitem__("a", 1),
        lambda x: x.__setitem__(slice(None, None, -1), 1),
        lambda x: x.__delitem__(0),
    ],
)
def test_bad_writes(write):
    x = tg.zeros(3, 4)
    with pytest.raises((IndexError, ValueError, TypeError, RuntimeError, AttributeError)):
        write(x)
    assert x.sum().item() == 0


def test_numpy_indices():
    a = np.arange(12.0).reshape(3, 4)
    x = tg.tensor(a)
    for index in (
        np.int64(1),
        np.array([0, 2]),
        (np.array([0, 2]), np.array([1, 1])),
        a > 5,
        (N, np.array([True, False, True, True])),
    ):
        np.testing.assert_array_equal(x[index].numpy(), a[index])


@pytest.mark.parametrize("truth", [True, False])
def test_zero_d_masks(truth):
    """A mask of no dimensions adds one, of size 1 or 0."""
    a = np.arange(6.0).reshape(2, 3)
    x = tg.tensor(a)
    for mask in (truth, np.bool_(truth), np.array(truth), tg.tensor(truth)):
        np.testing.assert_array_equal(x[mask].numpy(), a[truth])
        np.testing.assert_array_equal(tg.tensor(5.0)[mask].numpy(), np.array(5.0)[truth])
        y = x.clone()
        y[mask] = 9
        np.testing.assert_array_equal(y.numpy(), np.full((2, 3), 9.0) if truth else a)


def test_tensor_scalars_as_indices():
    a = np.arange(12.0).reshape(3, 4)
    x = tg.tensor(a)
    assert x[tg.tensor(1)].tolist() == a[1].tolist()
    assert x[tg.tensor(2), tg.tensor(-1)].item() == 11
    assert x[tg.tensor(1) :].tolist() == a[1:].tolist()
    assert x[tg.tensor([0, 2], dtype=tg.int32)].tolist() == a[[0, 2]].tolist()


def test_reading_by_tensor_gives_a_copy():
    x = tg.zeros(3)
    x[tg.tensor([0, 1])].add_(1)
    assert x.sum().item() == 0


def test_index_larger_than_64_bits():
    for index in (2**63, -(2**63) - 1, 2**100):
        with pytest.raises((IndexError, OverflowError, ValueError)):
            tg.ones(3)[index]
    assert tg.arange(3)[: 2**100].tolist() == [0, 1, 2]
    assert tg.arange(3)[-(2**100) :].tolist() == [0, 1, 2]


def test_random_combinations(rng):
    """2,000 indices made of random parts. No int beside arrays: NumPy takes it for an array, PyTorch for a slice."""
    a = rng.randn(3, 1, 4, 5).astype(np.float32)
    x = tg.tensor(a)
    for _ in range(2000):
        parts, dims = [], list(a.shape)
        arrays = rng.rand() < 0.4
        for n in dims[: rng.randint(0, 5)]:
            kind = rng.randint(0, 5)
            if kind == 0 and not arrays:
                parts.append(int(rng.randint(-n, n)))
            elif kind == 1 or not arrays:
                low, high = np.sort(rng.randint(-n - 1, n + 2, 2))
                parts.append(slice(int(low), int(high), int(rng.randint(1, 4))))
            elif kind == 2:
                parts.append(rng.randint(-n, n, 2))
            elif kind == 3:
                parts.append(N)
            else:
                parts.append(rng.randint(-n, n, (3, 1)))
            if rng.rand() < 0.15:
                parts.append(None)
        if rng.rand() < 0.3:
            parts.append(Ellipsis)
        index = tuple(parts)
        got = x[map_arrays(tg.tensor, index)]
        np.testing.assert_array_equal(got.numpy(), a[index], err_msg=str(index))
