"""Samplers and data sets: PyTorch's order for every one of them, and what holds for any sizes."""

import warnings
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad.utils.data import (
    BatchSampler,
    ChainDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    StackDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    default_convert,
    get_worker_info,
    random_split,
)


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")


def rows(lib, n):
    return lib.utils.data.TensorDataset(lib.arange(n).float().reshape(n, 1), lib.arange(n))


def samples(lib, n):
    class Squares(lib.utils.data.Dataset):
        def __getitem__(self, i):
            return lib.tensor([float(i)]), i * i

        def __len__(self):
            return n

    return Squares()


def stream(lib, n):
    class Stream(lib.utils.data.IterableDataset):
        def __iter__(self):
            yield from ((lib.tensor([float(i)]), i) for i in range(n))

        def __len__(self):
            return n

    return Stream()


def plain(batches):
    return [[m.tolist() if hasattr(m, "tolist") else m for m in batch] for batch in batches]


# Ways to sample: (data module, data set, number of samples, generator or None) -> sampler
SAMPLERS = {
    "replacement": lambda d, data, n, g: d.RandomSampler(data, True, generator=g),
    "replacement-77": lambda d, data, n, g: d.RandomSampler(data, True, 77, generator=g),
    "more": lambda d, data, n, g: d.RandomSampler(data, num_samples=2 * n + 3, generator=g),
    "fewer": lambda d, data, n, g: d.RandomSampler(data, num_samples=max(1, n // 2), generator=g),
    "subset": lambda d, data, n, g: d.SubsetRandomSampler(list(range(0, n, 2)), generator=g),
    "weighted": lambda d, data, n, g: d.WeightedRandomSampler([i % 5 + 0.5 for i in range(n)], n + 5, generator=g),
    "weighted-1": lambda d, data, n, g: d.WeightedRandomSampler([i % 5 + 0.5 for i in range(n)], 1, generator=g),
    "weighted-without": lambda d, data, n, g: d.WeightedRandomSampler(
        [i % 5 + 0.5 for i in range(n)], n // 2 + 1, False, generator=g
    ),
}


def passes(lib, make, n, size, drop, way, own):
    """Two passes with draws between them, the sampler alone, and a pass that is left after its first batch."""
    data = lib.utils.data
    lib.manual_seed(11)
    generator = lib.Generator().manual_seed(4) if own else None
    dataset = make(lib, n)
    options = {"batch_size": size, "drop_last": drop}
    if way in SAMPLERS:
        options["sampler"] = SAMPLERS[way](data, dataset, n, generator)
    elif way == "shuffle":
        options["shuffle"] = True
    loader = data.DataLoader(dataset, generator=generator, **options)
    result = [len(loader), plain(loader), lib.rand(2).tolist(), plain(loader), lib.rand(1).tolist()]
    if way in SAMPLERS:
        sampler = options["sampler"]
        result += [list(sampler), len(sampler), list(data.BatchSampler(sampler, size or 3, drop))]
    batches = iter(loader)
    result.append(lib.rand(1).tolist())
    next(batches, None)
    result.append(lib.rand(1).tolist())
    if own:
        result.append(lib.rand(2, generator=generator).tolist())
    return result


@pytest.mark.parametrize("own", [False, True], ids=["default", "own"])
@pytest.mark.parametrize("way", ["order", "shuffle", *SAMPLERS])
@pytest.mark.parametrize("make", [rows, samples])
def test_same_batches_as_torch(torch, make, way, own):
    for n in (1, 7, 65):
        for size, drop in ((1, False), (5, True), (7, False), (7, True), (100, False), (None, False)):
            actual, expected = (passes(lib, make, n, size, drop, way, own) for lib in (tg, torch))
            assert actual == expected, (n, size, drop)


@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize("size", [1, 3, 7, None])
def test_streams_as_torch(torch, size, drop):
    def run(lib, n):
        lib.manual_seed(1)
        loader = lib.utils.data.DataLoader(stream(lib, n), batch_size=size, drop_last=drop and size is not None)
        return plain(loader), lib.rand(1).tolist(), len(loader)

    for n in (0, 1, 7, 9):
        assert run(tg, n) == run(torch, n)


@pytest.mark.parametrize("lengths", [[7, 3], [0.55, 0.25, 0.2], [0.3, 0.3, 0.4], [10], [0, 10], [0.34, 0.33, 0.33]])
def test_random_split_as_torch(torch, lengths):
    def run(lib):
        lib.manual_seed(2)
        parts = [part.indices for part in lib.utils.data.random_split(range(10), lengths)]
        generator = lib.Generator().manual_seed(3)
        return parts, [part.indices for part in lib.utils.data.random_split(range(10), lengths, generator)]

    assert run(tg) == run(torch)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 60), st.integers(1, 70), st.booleans(), st.data())
def test_any_loader_gives_each_sample_once(n, size, drop, data):
    loader = DataLoader(rows(tg, n), batch_size=size, drop_last=drop, shuffle=data.draw(st.booleans()))
    batches = [y.tolist() for _, y in loader]
    seen = [i for batch in batches for i in batch]
    assert len(batches) == len(loader) and all(len(batch) == size for batch in batches[:-1])
    assert len(set(seen)) == len(seen) == (n - n % size if drop else n)
    if batches and drop:
        assert len(batches[-1]) == size


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 100), st.booleans(), st.integers(1, 17), st.booleans())
def test_chunks_are_the_sampler_in_pieces(n, count, replacement, size, drop):
    """The loader's own cut through chunks gives the batches that BatchSampler makes of single indices."""

    def sampler():
        return RandomSampler(range(n), replacement, count, tg.Generator().manual_seed(n))

    cut = [list(batch.tolist()) for batch in BatchSampler(sampler(), size, drop)._batches()]
    assert cut == list(BatchSampler(sampler(), size, drop))
    assert len(cut) == len(BatchSampler(sampler(), size, drop))
    seen = Counter(sampler())
    assert sum(seen.values()) == count
    if not replacement:
        assert max(seen.values()) - min(seen.get(i, 0) for i in range(n)) <= 1


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=1, max_size=30).filter(any), st.data())
def test_weights_of_zero_are_never_drawn(weights, data):
    positive = sum(w > 0 for w in weights)
    drawn = list(WeightedRandomSampler(weights, 20))
    assert len(drawn) == 20 and all(weights[i] > 0 for i in drawn)
    count = data.draw(st.integers(1, positive))
    drawn = list(WeightedRandomSampler(tg.tensor(weights), count, replacement=False))
    assert len(set(drawn)) == count and all(weights[i] > 0 for i in drawn)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 50), st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_fractions_split_everything(n, shares):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lengths of 0
        parts = random_split(range(n), [share / sum(shares) for share in shares])
    assert sorted(i for part in parts for i in part.indices) == list(range(n))
    for part, share in zip(parts, shares, strict=True):
        assert abs(len(part) - n * share / sum(shares)) <= 1


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: RandomSampler(range(0)), ValueError, "num_samples=0"),
        (lambda: RandomSampler(range(3), 1), TypeError, "replacement=1"),
        (lambda: RandomSampler(range(3), num_samples=True), ValueError, "num_samples=True"),
        (lambda: WeightedRandomSampler([1, 2], 0), ValueError, "num_samples=0"),
        (lambda: WeightedRandomSampler([[1, 2]], 1), ValueError, r"shape \(1, 2\)"),
        (lambda: WeightedRandomSampler([1, -2], 1), ValueError, r"weights\[1\] is -2"),
        (lambda: WeightedRandomSampler([1, float("nan")], 1), ValueError, r"weights\[1\] is nan"),
        (lambda: WeightedRandomSampler([0, 0], 1), ValueError, "all be 0, got 2"),
        (lambda: WeightedRandomSampler([1, 0, 2], 3, False), ValueError, "num_samples=3 .* only 2 weights"),
        (lambda: BatchSampler(range(3), 0, False), ValueError, "batch_size=0"),
        (lambda: BatchSampler(range(3), 1, None), TypeError, "drop_last=None"),
        (lambda: iter(Sampler()), NotImplementedError, "Sampler does not define __iter__"),
        (lambda: iter(IterableDataset()), NotImplementedError, "IterableDataset does not define"),
        (lambda: ConcatDataset([]), ValueError, "at least one"),
        (lambda: ConcatDataset([range(2), stream(tg, 2)]), TypeError, "data set 1 is an IterableDataset"),
        (lambda: list(ChainDataset([stream(tg, 1), range(2)])), TypeError, "data set 1 is a range"),
        (lambda: StackDataset(), ValueError, "got none"),
        (lambda: StackDataset(range(2), b=range(2)), ValueError, "got both"),
        (lambda: StackDataset(a=range(2), b=range(3)), ValueError, "a: 2, b: 3"),
        (lambda: ConcatDataset([range(2)])[2], IndexError, "index 2 is out of range .* 2 samples"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_data_sets_of_data_sets():
    a, b = rows(tg, 3), rows(tg, 5)
    joined = a + b
    assert type(joined) is ConcatDataset and len(joined) == 8
    assert [joined[i][1].item() for i in (0, 2, 3, 7, -1, -8)] == [0, 2, 0, 4, 4, 0]
    chained = stream(tg, 2) + stream(tg, 3)
    assert type(chained) is ChainDataset and len(chained) == 5 and [i for _, i in chained] == [0, 1, 0, 1, 2]
    stacked = StackDataset(b, Subset(rows(tg, 9), [8, 6, 4, 2, 0]))
    named = StackDataset(x=b, y=samples(tg, 5))
    assert stacked[1][1][1].item() == 6 and named[2]["y"][1] == 4 and len(named) == 5
    for dataset in (stacked, named):
        for actual, expected in zip(
            DataLoader(dataset, batch_size=2),
            DataLoader(dataset, batch_size=2, collate_fn=lambda batch: default_collate(batch)),
            strict=True,
        ):
            flat = [plain(batch.values() if isinstance(batch, dict) else batch) for batch in (actual, expected)]
            assert type(actual) is type(expected) and flat[0] == flat[1]


def test_getitems_is_asked_for_a_whole_batch():
    asked = []

    class Many(Dataset):
        def __getitem__(self, i):
            return i

        def __getitems__(self, indices):
            asked.append(indices)
            return [10 * i for i in indices]

        def __len__(self):
            return 5

    class One(Many):
        def __getitem__(self, i):
            return -i

    assert [b.tolist() for b in DataLoader(Many(), batch_size=3)] == [[0, 10, 20], [30, 40]]
    assert [b.tolist() for b in DataLoader(Subset(Many(), [4, 1]), batch_size=2)] == [[40, 10]]
    assert asked == [[0, 1, 2], [3, 4], [4, 1]]
    assert [b.tolist() for b in DataLoader(One(), batch_size=5)] == [[0, -1, -2, -3, -4]]

    class Rows(TensorDataset):
        def __getitems__(self, indices):
            return [("own", i) for i in indices]

    assert next(iter(DataLoader(Rows(tg.arange(3)), batch_size=2)))[0] == ("own", "own")


class Own(Sampler):
    def __iter__(self):
        return iter([2, 0, 1])

    def __len__(self):
        return 3


@pytest.mark.parametrize("make", [rows, samples])
def test_samplers_and_batch_samplers_of_the_user(make):
    data = make(tg, 3)
    power = 1 if make is rows else 2
    for options in (
        {"sampler": Own(), "batch_size": 2},
        {"batch_sampler": BatchSampler(Own(), 2, False)},
        {"batch_sampler": [(2, 0), tg.tensor([1])]},
    ):
        assert [y.tolist() for _, y in DataLoader(data, **options)] == [[2**power, 0], [1]]

    class Backwards(SequentialSampler):
        def __iter__(self):
            return iter(range(len(self) - 1, -1, -1))

    assert [y.tolist() for _, y in DataLoader(data, 2, sampler=Backwards(data))] == [[2**power, 1], [0]]
    assert list(SubsetRandomSampler(["a"])) == ["a"]


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_give_the_same_batches(workers):
    for make, options in ((rows, {"shuffle": True}), (samples, {"shuffle": True}), (stream, {})):
        tg.manual_seed(5)
        alone = plain(DataLoader(make(tg, 50), 4, **options))
        tg.manual_seed(5)
        loader = DataLoader(make(tg, 50), 4, num_workers=workers, persistent_workers=True, pin_memory=True, **options)
        assert plain(loader) == alone
        for _ in loader:
            break
    assert get_worker_info() is None

    class Broken(Dataset):
        def __getitem__(self, i):
            raise KeyError(f"no file {i}")

        def __len__(self):
            return 9

    with pytest.raises(KeyError, match="no file 0"):
        list(DataLoader(Broken(), num_workers=workers))
    with pytest.warns(UserWarning, match="worker_init_fn is not called"):
        DataLoader(rows(tg, 3), num_workers=workers, worker_init_fn=print)


def test_single_samples_and_containers_as_torch(torch):
    class Config(dict):
        pass

    def kinds(value):
        if isinstance(value, dict):
            return type(value).__name__, {key: kinds(member) for key, member in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value).__name__, [kinds(member) for member in value]
        dtype = str(value.dtype).rpartition(".")[2] if hasattr(value, "dtype") else None
        return (dtype, value.tolist()) if dtype else value

    sample = Config(a=(np.ones(2), [1, 2.5]), b="s", c=np.float32(2), d=np.array(["t"]), e=range(2), f=True)
    assert kinds(default_convert(sample)) == kinds(torch.utils.data.default_convert(sample))
    del sample["d"]
    assert kinds(default_collate([sample, sample])) == kinds(torch.utils.data.default_collate([sample, sample]))


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ([{"a": 1}, {"b": 1}], "sample 1 has no key 'a'"),
        ([(1, tg.zeros(2)), (2, tg.zeros(3))], r"sample 0\[1\] has \(2,\) and sample 1\[1\] has \(3,\)"),
        ([{"k": [1, 2]}, {"k": [1]}], r"sample 0\['k'\] has 2 and sample 1\['k'\] has 1"),
    ],
)
def test_collate_names_the_place(batch, message):
    with pytest.raises(ValueError, match=message):
        default_collate(batch)
