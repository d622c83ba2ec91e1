"""Nested values in safetensors files: what save() takes comes back from load(), the rest is refused by name."""

import math
from collections import Counter, OrderedDict, namedtuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

import tapegrad as tg
from tapegrad import nn
from tapegrad.checkpoint import load, load_metadata, save

Point = namedtuple("Point", "x y")


def through(tmp_path, value):
    save(value, tmp_path / "value.safetensors")
    return load(tmp_path / "value.safetensors")


def same(a, b):
    """Equal in value, class, order and bits."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return len(a) == len(b) and all(map(same, a.items(), b.items()))
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, tg.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, float):
        return math.isnan(b) if math.isnan(a) else a == b and math.copysign(1, a) == math.copysign(1, b)
    return a == b


def test_everything_comes_back(tmp_path):
    value = {
        "none": None,
        "bools": [True, False],
        "ints": [0, -1, 2**63 - 1, 2**63, -(10**5000)],
        "floats": [0.1, -0.0, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, math.nan],
        "texts": ["", "für 東京 🎉", '\x00\n"\\', '{"tensor": "a"}'],
        "bytes": [b"", bytes(range(256))],
        "containers": [(), [], {}, ((1,), [2])],
        "dtypes": [tg.float32, tg.float64, tg.int64, tg.int32, tg.uint8, tg.bool],
        "keys": {1: "int", 1.5: "float", None: "None", False: "bool", "1": "text", -math.inf: "inf", 2**70: "long"},
        "tensors": [tg.randn(2, 3), tg.tensor(3), tg.zeros(0, 4), tg.tensor([True]), tg.randn(4, 3).T],
        "arrays": [np.arange(6).astype(t).reshape(2, 3) for t in "bBhHiIqQefd?"] + [np.array(2.5), np.eye(3)[:, 1:]],
    }
    loaded = through(tmp_path, value)
    assert same(loaded, value)
    assert load_metadata(tmp_path / "value.safetensors") == {}


@pytest.mark.parametrize(
    "value", [None, 3, "text", [], {}, (), tg.ones(2), np.ones(2), b"x", tg.float32, [[]], {"a": 1}]
)
def test_any_value_may_be_the_whole(tmp_path, value):
    assert same(through(tmp_path, value), value)


def test_what_becomes_something_plainer(tmp_path):
    parameter = nn.Parameter(tg.ones(2))
    value = [
        tg.ones(2, 3).shape,
        Point(1, 2.0),
        OrderedDict(a=1),
        Counter("aab"),
        np.float32(0.1),
        np.int8(-3),
        np.str_("t"),
    ]
    expected = [(2, 3), (1, 2.0), {"a": 1}, {"a": 2, "b": 1}, float(np.float32(0.1)), -3, "t"]
    assert same(through(tmp_path, value), expected)
    assert same(through(tmp_path, [np.bool_(True), np.float64("nan"), np.bytes_(b"x")]), [True, math.nan, b"x"])
    loaded = through(tmp_path, [parameter])[0]
    assert type(loaded) is tg.Tensor and not loaded.requires_grad and loaded.tolist() == [1.0, 1.0]
    big_endian = through(tmp_path, [np.arange(3, dtype=">i4")])[0]
    assert big_endian.tolist() == [0, 1, 2]
    assert through(tmp_path, {np.int64(3): "x"}) == {3: "x"}


def test_tensors_are_stored_under_their_paths(tmp_path):
    model = nn.Sequential(nn.Linear(2, 2))
    optimizer = tg.optim.Adam(model.parameters())
    model(tg.ones(1, 2)).sum().backward()
    optimizer.step()
    save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "a")
    with safe_open(tmp_path / "a", framework="np") as file:
        names = set(file.keys())
    assert {"model.0.weight", "optimizer.state.0.exp_avg", "optimizer.state.1.exp_avg_sq"} <= names


def test_names_are_unique(tmp_path):
    value = {
        "a.b": tg.ones(1),
        "a": {"b": tg.zeros(1), "b#2": tg.ones(2)},
        1: tg.ones(3),
        "1": tg.ones(4),
        "": tg.ones(5),
    }
    value |= {"__metadata__": tg.ones(6)}
    assert same(through(tmp_path, value), value)
    assert same(through(tmp_path, {"__metadata__": tg.ones(6)}), {"__metadata__": tg.ones(6)})


def test_one_object_at_two_places_stays_one(tmp_path):
    tensor, array = tg.randn(3), np.ones(2)
    loaded = through(tmp_path, {"a": tensor, "b": [tensor, array], "c": array, "d": tg.ones(3)})
    assert loaded["a"] is loaded["b"][0] and loaded["b"][1] is loaded["c"]
    loaded["a"].zero_()
    assert loaded["b"][0].sum().item() == 0 and loaded["d"].sum().item() == 3


def test_short_lived_tensors_of_a_mapping_are_not_taken_for_each_other(tmp_path):
    class Squares(dict):
        def items(self):
            return ((str(i), [tg.full((2,), float(i))]) for i in range(50))

    loaded = through(tmp_path, Squares())
    assert [loaded[str(i)][0][0].item() for i in range(50)] == list(range(50))


class Unknown:
    pass


def cycle():
    value = {"a": [1]}
    value["a"].append(value)
    return value


def nest(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (
            {"model": {"layers": [0, 1, nn.Linear(1, 1)]}},
            TypeError,
            r"save: model.layers\[2\] is a Linear; save its state_",
        ),
        ({"g": tg.Generator()}, TypeError, r"save: g is a Generator; save its get_state\(\)"),
        ({"x": {3: Unknown()}}, TypeError, r"save: x\[3\] is a Unknown, which cannot be saved"),
        ([lambda: 0], TypeError, r"save: \[0\] is a function"),
        ({1, 2}, TypeError, "the object is a set"),
        ([1j], TypeError, r"\[0\] is a complex"),
        ([np.datetime64("2020-01-01")], TypeError, r"\[0\] is a datetime64"),
        ([np.timedelta64(3)], TypeError, r"\[0\] is a timedelta64"),
        ([np.array(["a"])], TypeError, r"\[0\] is an array of dtype <U1"),
        ([np.array([None])], TypeError, r"\[0\] is an array of dtype object"),
        ([np.array([1j])], TypeError, r"\[0\] is an array of dtype complex128"),
        ([np.zeros(1, np.longdouble)], TypeError, "is an array of dtype"),
        ({"a": {(1, 2): 3}}, TypeError, r"save: a has the key \(1, 2\); keys must be str, .* not tuple"),
        ({"a": {b"k": 3}}, TypeError, "not bytes"),
        ({"a": ["\ud800"]}, ValueError, r"save: a\[0\] has a text that is not Unicode"),
        ({"a\udfff": tg.ones(1)}, ValueError, "not Unicode"),
        ({"a\udfff": [tg.ones(1)]}, ValueError, "not Unicode"),
        (cycle(), ValueError, r"save: a\[1\] contains itself"),
        (nest(101), ValueError, r"save: \[0\]\[0\].*\.\.\. is nested more than 100 deep"),
        (nest(100_000), ValueError, "is nested more than 100 deep"),
    ],
)
def test_what_is_refused(tmp_path, value, error, message):
    save({"a": 1}, tmp_path / "a")
    with pytest.raises(error, match=message):
        save(value, tmp_path / "a")
    assert load(tmp_path / "a") == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_deep_nests_and_shared_lists(tmp_path):
    deep, shared = nest(99), [1]
    assert same(through(tmp_path, deep), deep)
    value = deep
    assert same(through(tmp_path, [shared, shared, (shared, shared)]), [[1], [1], ([1], [1])])
    value = 0
    for _ in range(100):
        value = {"k": (value,)} if isinstance(value, dict) else {"k": value}
    with pytest.raises(ValueError, match="nested more than 100 deep"):
        save(value, tmp_path / "deep")


def test_more_text_than_a_header_holds(tmp_path):
    with pytest.raises(ValueError, match="take more than 100 MB"):
        save(["x" * 101_000_000], tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_state_dicts_of_all_schedulers(tmp_path):
    """Their attributes are tuples, counters, infinities and nested schedulers."""
    rates = tg.optim.lr_scheduler
    makers = [
        lambda o: rates.StepLR(o, 2),
        lambda o: rates.MultiStepLR(o, [1, 3, 3]),
        lambda o: rates.LambdaLR(o, lambda epoch: 0.9**epoch),
        lambda o: rates.CosineAnnealingWarmRestarts(o, 3),
        lambda o: rates.CyclicLR(o, 0.01, 0.1, step_size_up=2),
        lambda o: rates.OneCycleLR(o, 0.1, total_steps=20),
        lambda o: rates.SequentialLR(o, [rates.ConstantLR(o, 0.5, 2), rates.ExponentialLR(o, 0.9)], [2]),
        lambda o: rates.ChainedScheduler([rates.ConstantLR(o, 0.5, 2), rates.ExponentialLR(o, 0.9)], o),
        lambda o: tg.optim.swa_utils.SWALR(o, 0.05),
    ]
    for make in makers:

        def fresh(make=make):
            optimizer = tg.optim.SGD([nn.Parameter(tg.ones(1))], lr=0.1, momentum=0.9)
            return optimizer, make(optimizer)

        def rates_after(optimizer, scheduler):
            found = []
            for _ in range(6):
                optimizer.step()
                scheduler.step()
                found.append(optimizer.param_groups[0]["lr"])
            if hasattr(scheduler, "_get_closed_form_lr"):
                found.append(scheduler._get_closed_form_lr())
            return found

        optimizer, scheduler = fresh()
        rates_after(optimizer, scheduler)
        state = {"o": optimizer.state_dict(), "s": scheduler.state_dict()}
        save(state, tmp_path / "a")
        expected = rates_after(optimizer, scheduler)
        optimizer, scheduler = fresh()
        state = load(tmp_path / "a")
        optimizer.load_state_dict(state["o"])
        scheduler.load_state_dict(state["s"])
        assert rates_after(optimizer, scheduler) == expected, type(scheduler)


keys = st.one_of(st.text(max_size=3), st.integers(), st.floats(), st.booleans(), st.none())
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.sampled_from([tg.float32, tg.int64]),
    st.lists(st.floats(width=32), max_size=3).map(lambda x: tg.tensor(x, dtype=tg.float32)),
    st.lists(st.floats(), max_size=3).map(np.array),
)
nests = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.lists(inner, max_size=4).map(tuple), st.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=150)
@given(nests)
def test_any_nest(tmp_path_factory, value):
    folder = tmp_path_factory.mktemp("nest")
    assert same(through(folder, value), value)
