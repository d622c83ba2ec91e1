"""Data sets, splits and batches; against PyTorch's order where it is installed."""

import copy
from collections import namedtuple
from itertools import chain

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.utils.data import (
    DataLoader,
    Dataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    TensorDataset,
    default_collate,
    random_split,
)


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")


class Squares(Dataset):
    """A map-style data set that must be collated sample by sample."""

    def __init__(self, n):
        self.n = n

    def __getitem__(self, i):
        return tg.tensor([float(i)]), i * i

    def __len__(self):
        return self.n


def rows(n=10):
    return TensorDataset(tg.arange(n).float().reshape(n, 1), tg.arange(n))


def labels(loader):
    """The second member of every batch, as lists."""
    return [batch[1].tolist() for batch in loader]


def test_tensor_dataset():
    data = rows()
    assert len(data) == 10
    x, y = data[3]
    assert x.tolist() == [3.0] and y.item() == 3
    assert data[2:4][1].tolist() == [2, 3]
    with pytest.raises(IndexError):
        data[10]
    with pytest.raises(ValueError, match="sizes 3, 4"):
        TensorDataset(tg.zeros(3), tg.zeros(4, 3))
    with pytest.raises(ValueError, match="0-d"):
        TensorDataset(tg.tensor(1.0))
    with pytest.raises(ValueError, match="at least one"):
        TensorDataset()
    with pytest.raises(TypeError, match="ndarray"):
        TensorDataset(np.zeros(3))


@pytest.mark.parametrize("make", [rows, Squares, lambda n: Subset(rows(n + 5), list(range(n)))])
def test_batches_in_order(make):
    loader = DataLoader(make(10), batch_size=4)
    batches = list(loader)
    assert len(loader) == 3 and all(type(batch) is list for batch in batches)
    assert [batch[0].shape for batch in batches] == [(4, 1), (4, 1), (2, 1)]
    assert [batch[0].tolist()[0] for batch in batches] == [[0.0], [4.0], [8.0]]
    assert batches[0][0].dtype == tg.float32 and batches[0][1].dtype == tg.int64
    loader = DataLoader(make(10), batch_size=4, drop_last=True)
    assert len(loader) == 2 and len(list(loader)) == 2
    assert len(list(DataLoader(make(10)))) == 10
    assert list(DataLoader(make(0), batch_size=4)) == []
    assert len(list(DataLoader(make(3), batch_size=100))) == 1


@pytest.mark.parametrize("make", [rows, Squares, lambda n: Subset(rows(n), list(range(n)))])
def test_shuffle(make):
    loader = DataLoader(make(30), batch_size=7, shuffle=True)
    tg.manual_seed(1)
    first, second = labels(loader), labels(loader)
    assert [len(batch) for batch in first] == [7, 7, 7, 7, 2]
    assert first != second
    expected = sorted(int(make(30)[i][1]) for i in range(30))
    assert sorted(chain(*first)) == sorted(chain(*second)) == expected
    tg.manual_seed(1)
    assert labels(loader) == first
    loader = DataLoader(make(30), batch_size=7, shuffle=True, generator=tg.Generator().manual_seed(5))
    same = DataLoader(make(30), batch_size=7, shuffle=True, generator=tg.Generator().manual_seed(5))
    assert labels(loader) == labels(same)


def test_rows_of_a_batch_stay_together():
    for x, y in DataLoader(rows(50), batch_size=8, shuffle=True):
        assert x.squeeze(1).tolist() == y.tolist()


def test_a_changed_batch_leaves_the_data_set_alone():
    data = rows()
    for shuffle in (False, True):
        for x, y in DataLoader(data, batch_size=3, shuffle=shuffle):
            x.zero_()
            y.fill_(7)
    assert data.tensors[1].tolist() == list(range(10))
    assert data.tensors[0].reshape(-1).tolist() == list(range(10))


def test_samplers():
    assert labels(DataLoader(rows(), batch_size=2, sampler=[5, 1, 7])) == [[5, 1], [7]]
    assert labels(DataLoader(rows(), batch_size=2, sampler=[5, 1, 7], drop_last=True)) == [[5, 1]]
    assert len(DataLoader(rows(), batch_size=2, sampler=[5, 1, 7])) == 2
    assert list(DataLoader(rows(), sampler=[])) == []
    loader = DataLoader(rows(), batch_sampler=[[1, 2, 3], [9]])
    assert labels(loader) == [[1, 2, 3], [9]] and len(loader) == 2
    assert sorted(RandomSampler(rows())) == list(range(10)) and len(RandomSampler(rows())) == 10
    assert list(SequentialSampler(rows())) == list(range(10))
    with pytest.raises(IndexError):
        list(DataLoader(rows(), sampler=[10]))


def test_single_samples():
    samples = list(DataLoader([np.ones(2), (1, {"a": np.zeros(1)})], batch_size=None))
    assert isinstance(samples[0], tg.Tensor) and isinstance(samples[1][1]["a"], tg.Tensor)
    assert len(DataLoader(rows(), batch_size=None)) == 10


def test_own_collate_and_own_getitem():
    def collate(samples):
        return len(samples)

    assert list(DataLoader(rows(), batch_size=4, collate_fn=collate)) == [4, 4, 2]

    class Doubled(TensorDataset):
        def __getitem__(self, i):
            x, y = super().__getitem__(i)
            return x, y * 2

    assert labels(DataLoader(Doubled(*rows().tensors), batch_size=5)) == [[0, 2, 4, 6, 8], [10, 12, 14, 16, 18]]
    assert labels(DataLoader(Subset(Doubled(*rows().tensors), [4, 1]), batch_size=5)) == [[8, 2]]


def test_collate():
    Pair = namedtuple("Pair", "a b")
    assert default_collate([1.5, 2.5]).dtype == tg.float64
    assert default_collate([1, 2]).dtype == tg.int64
    assert default_collate([True, False]).dtype == tg.bool
    assert default_collate([np.float32(1), np.float32(2)]).dtype == tg.float32
    assert default_collate([np.zeros(3), np.ones(3)]).shape == (2, 3)
    assert default_collate(["a", "b"]) == ["a", "b"]
    batch = default_collate([{"k": [1, (2.0, "s")]}, {"k": [3, (4.0, "t")]}])
    assert batch["k"][0].tolist() == [1, 3]
    assert batch["k"][1][0].tolist() == [2.0, 4.0] and list(batch["k"][1][1]) == ["s", "t"]
    pair = default_collate([Pair(1, tg.zeros(2)), Pair(2, tg.ones(2))])
    assert type(pair) is Pair and pair.b.shape == (2, 2)
    with pytest.raises(TypeError, match="found NoneType"):
        default_collate([None, None])
    with pytest.raises(ValueError, match="equally many"):
        default_collate([(1,), (1, 2)])
    with pytest.raises((ValueError, RuntimeError)):
        default_collate([tg.zeros(2), tg.zeros(3)])
    with pytest.raises(ValueError):
        default_collate([np.zeros(2), np.zeros(3)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size should be a positive integer value, but got batch_size=0"),
        ({"batch_size": -1}, "batch_size=-1"),
        ({"batch_size": 2.5}, "batch_size=2.5"),
        ({"batch_size": True}, "batch_size=True"),
        ({"shuffle": True, "sampler": [1]}, "mutually exclusive with shuffle"),
        ({"batch_sampler": [[1]], "batch_size": 2}, "mutually exclusive"),
        ({"batch_size": None, "drop_last": True}, "mutually exclusive with drop_last"),
        ({"num_workers": -1}, "num_workers=-1"),
    ],
)
def test_loader_errors(options, message):
    with pytest.raises(ValueError, match=message):
        DataLoader(rows(), **options)


def test_loader_needs_a_data_set():
    with pytest.raises(ValueError, match="at least one sample"):
        DataLoader(rows(0), shuffle=True)
    with pytest.raises(TypeError):
        list(DataLoader(3))
    with pytest.raises(NotImplementedError):
        Dataset()[0]


def test_random_split():
    a, b = random_split(rows(), [7, 3])
    assert len(a) == 7 and len(b) == 3
    assert sorted(a.indices + b.indices) == list(range(10))
    assert [len(part) for part in random_split(rows(), [0.55, 0.25, 0.2])] == [6, 2, 2]
    assert a[0][1].item() == a.indices[0] and a[[0, 2]][1].tolist() == [a.indices[0], a.indices[2]]
    with pytest.warns(UserWarning, match="index 1 is 0"):
        random_split(rows(1), [0.5, 0.5])
    for lengths in ([5, 4], [11, -1], [0.5, 0.6], [1.5, -0.5]):
        with pytest.raises(ValueError):
            random_split(rows(), lengths)
    copied = copy.deepcopy(a)
    assert labels(DataLoader(copied, batch_size=7)) == [a.indices]


# Against PyTorch


@pytest.mark.parametrize("n", [3, 10, 1000])
def test_same_order_as_torch(torch, n):
    """Two passes, values drawn between them, a split and a loader with a generator of its own: all in step."""

    def passes(lib):
        data = lib.utils.data
        lib.manual_seed(3)
        source = data.TensorDataset(lib.arange(n), lib.arange(n))
        loader = data.DataLoader(source, batch_size=4, shuffle=True)
        result = [labels(loader), lib.rand(2).tolist(), labels(loader)]
        result.append(labels(data.DataLoader(source, batch_size=3)))
        result.append(lib.rand(2).tolist())
        part, _ = data.random_split(source, [n - n // 3, n // 3])
        result.append(labels(data.DataLoader(part, batch_size=5, shuffle=True, drop_last=True)))
        generator = lib.Generator().manual_seed(9)
        loader = data.DataLoader(source, batch_size=4, shuffle=True, generator=generator)
        result += [labels(loader), labels(loader), lib.rand(2).tolist()]
        loader = iter(data.DataLoader(source, shuffle=True))  # draws its first seed here, the second at the first batch
        result.append(lib.rand(1).tolist())
        result.append([batch[1].item() for batch in loader])
        return result

    for actual, expected in zip(passes(tg), passes(torch), strict=True):
        assert actual == expected
