"""A loader's position, saved in the middle of a pass: the batches that remain are the same, bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, Sampler, Subset, TensorDataset
from test_samplers import SAMPLERS, plain, rows, samples, stream


class Default(Sampler):
    """Draws from the default generator, as a user's sampler may: eagerly, or index by index."""

    def __init__(self, n, eager):
        self.n, self.eager = n, eager

    def __iter__(self):
        if self.eager:
            return iter(tg.randperm(self.n).tolist())
        return (int(tg.randint(0, self.n, ())) for _ in range(self.n))

    def __len__(self):
        return self.n


def make_loader(way, own, make, size=4, workers=0):
    generator = tg.Generator().manual_seed(8) if own else None
    data = make(tg, 23)
    options = {"generator": generator, "num_workers": workers, "batch_size": size}
    if way == "shuffle":
        options["shuffle"] = True
    elif way in ("eager", "lazy"):
        options["sampler"] = Default(23, way == "eager")
    elif way == "batches":
        del options["batch_size"]
        options["batch_sampler"] = BatchSampler(RandomSampler(data, generator=generator), 5, True)
    elif way in SAMPLERS:
        options["sampler"] = SAMPLERS[way](tg.utils.data, data, 23, generator)
    return DataLoader(data, **options), generator


def drawn_after(generator):
    return tg.rand(2).tolist(), generator and tg.rand(2, generator=generator).tolist()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("own", [False, True], ids=["default", "own"])
@pytest.mark.parametrize("way", ["order", "shuffle", "batches", "eager", "lazy", *SAMPLERS])
@pytest.mark.parametrize("make", [rows, samples])
def test_resume_anywhere(make, way, own, workers):
    if way == "lazy" and workers:
        pytest.skip("what is read ahead was drawn between the draws of the steps: it cannot be drawn again")
    for steps in (0, 1, 3, 5, 6):
        tg.manual_seed(6)
        loader, generator = make_loader(way, own, make, workers=workers)
        next(iter(loader))  # a pass before, left alone
        tg.rand(3)
        batches = iter(loader)
        for _ in range(min(steps, len(loader))):
            next(batches)
            tg.rand(2)  # a step draws, too
        state, default = loader.state_dict(), tg.default_generator.get_state()
        rest, following, after = plain(batches), plain(loader), drawn_after(generator)

        again, generator = make_loader(way, own, make, workers=workers)
        tg.default_generator.set_state(default)
        again.load_state_dict(state)
        assert plain(again) == rest, steps
        assert plain(again) == following
        assert drawn_after(generator) == after


def test_streams_are_read_again():
    loader = DataLoader(stream(tg, 10), batch_size=3)
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    again = DataLoader(stream(tg, 10), batch_size=3)
    again.load_state_dict(state)
    assert plain(again) == plain(batches) and len(plain(again)) == 4


def test_the_state_is_plain_and_stays():
    loader, _ = make_loader("shuffle", True, rows)
    assert loader.state_dict()["begun"] is False
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    for value in state.values():
        for one in value if isinstance(value, list) else [value]:
            assert one is None or isinstance(one, (int, tg.Tensor))
    rest = plain(batches)
    assert loader.state_dict()["begun"] is False  # the pass is over
    for _ in range(2):  # loading changes nothing in the state
        loader.load_state_dict(state)
        assert loader.state_dict()["yielded"] == 1
        assert plain(loader) == rest
    loader.load_state_dict(state)
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()  # of a pass that was resumed itself
    rest = plain(batches)
    loader.load_state_dict(state)
    assert state["yielded"] == 2 and plain(loader) == rest


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: None, TypeError, "got NoneType"),
        (lambda s: {"weight": 1}, TypeError, "'weight'"),
        (lambda s: {**s, "format": 9}, ValueError, "format 9"),
        (lambda s: {**s, "samples": 9}, ValueError, "samples was 9 when saved, this loader has 23"),
        (lambda s: {**s, "batch_size": 9}, ValueError, "batch_size was 9"),
        (lambda s: {**s, "yielded": 99}, ValueError, "cannot stand"),
        (lambda s: {**s, "before": [], "first": [], "now": []}, ValueError, "generators of its own"),
    ],
)
def test_states_that_do_not_fit(change, error, message):
    loader, _ = make_loader("shuffle", False, rows)
    next(iter(loader))
    with pytest.raises(error, match=message):
        loader.load_state_dict(change(loader.state_dict()))


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("size", [5, 6])
def test_fit_goes_on_where_a_loader_stands(size, shuffle):
    """fit() replays most of an epoch in C++; its batches and position are those of the loop."""
    data = Subset(TensorDataset(tg.randn(40, 3), tg.randn(40, 1)), list(range(39, 9, -1)))

    def trained(skip):
        tg.manual_seed(1)
        model = tg.nn.Linear(3, 1)
        loader = DataLoader(data, batch_size=size, shuffle=shuffle, generator=tg.Generator().manual_seed(2))
        optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
        if skip:
            batches = iter(loader)
            for x, y in (next(batches) for _ in range(skip)):
                optimizer.zero_grad()
                tg.nn.MSELoss()(model(x), y).backward()
                optimizer.step()
            state = loader.state_dict()
            loader = DataLoader(data, batch_size=size, shuffle=shuffle, generator=tg.Generator())
            loader.load_state_dict(state)
        history = tg.fit(model, loader, loss="mse", optimizer=optimizer, epochs=3, progress=False)
        return history["steps"], [p.tolist() for p in model.parameters()], tg.rand(1).tolist()

    steps, weights, after = trained(0)
    for skip in (1, 3, 4):
        resumed = trained(skip)
        assert resumed == ([steps[0] - skip, *steps[1:]], weights, after)


def test_fit_reads_a_stream():
    class Pairs(IterableDataset):
        def __iter__(self):
            yield from ((tg.ones(2) * i, tg.ones(1)) for i in range(7))

    history = tg.fit(tg.nn.Linear(2, 1), Pairs(), loss="mse", optimizer="sgd", epochs=2, batch_size=3, progress=False)
    assert history["steps"] == [3, 3]


def test_a_loader_keeps_what_it_was_made_of():
    loader = DataLoader(rows(tg, 3))
    for name in ("dataset", "batch_size", "sampler", "batch_sampler", "drop_last"):
        with pytest.raises(ValueError, match=f"{name} attribute should not be set"):
            setattr(loader, name, None)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 40), st.integers(1, 12), st.booleans(), st.data())
def test_any_position(n, size, drop, data):
    loader = DataLoader(rows(tg, n), batch_size=size, drop_last=drop, shuffle=True)
    batches = iter(loader)
    for _ in range(data.draw(st.integers(0, len(loader)))):
        next(batches)
    state, default = loader.state_dict(), tg.default_generator.get_state()
    rest = plain(batches)
    loader.load_state_dict(state)
    tg.default_generator.set_state(default)
    assert plain(loader) == rest
    assert np.sum([len(y) for _, y in rest] or [0]) <= n
