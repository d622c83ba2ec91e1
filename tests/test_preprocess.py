"""Standardised columns, one-hot codes, and rows held out for testing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad.tables import OneHot, Standardize, train_test_split


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("shape", [(50,), (50, 3), (50, 2, 2)])
def test_standardize(shape, dtype):
    x = (np.random.default_rng(0).normal(size=shape) * 100 + 7).astype(dtype)
    for kind in (np.asarray, tg.from_numpy):
        given = kind(x.copy())
        scale = Standardize().fit(given)
        out = scale.transform(given)
        assert type(out) is type(given)
        expected = (x - x.astype(float).mean(axis=0)) / x.astype(float).std(axis=0)
        assert np.asarray(out).dtype == (np.float64 if dtype == np.float64 else np.float32)
        np.testing.assert_allclose(np.asarray(out), expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(np.asarray(scale.inverse(out)), x, rtol=1e-5, atol=1e-4)


def test_standardize_keeps_its_state(tmp_path):
    x = np.array([[1.0, 5.0, np.nan], [3.0, 5.0, 2.0], [5.0, 5.0, 4.0]])
    scale = Standardize().fit(x)
    assert scale.mean.tolist() == [3, 5, 3] and scale.std[1:].tolist() == [1, 1]
    out = scale.transform(x)
    assert np.isnan(out[0, 2]) and out[:, 1].tolist() == [0, 0, 0]
    tg.save(scale.state_dict(), tmp_path / "scale.safetensors")
    again = Standardize()
    again.load_state_dict(tg.load(tmp_path / "scale.safetensors"))
    np.testing.assert_array_equal(again.transform(x), out)


@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (lambda: Standardize().transform(np.ones(3)), ValueError, "transform before fit"),
        (lambda: Standardize().state_dict(), ValueError, r"call fit\(x\) first"),
        (lambda: Standardize().fit(np.ones((0, 2))), ValueError, r"at least one row, got shape \(0, 2\)"),
        (lambda: Standardize().fit(np.array(["a"])), TypeError, "must hold numbers"),
        (lambda: Standardize().fit(np.array([[1, np.nan]])), ValueError, r"column \[1\] has no value but nan"),
        (lambda: Standardize().fit(np.array([1e308, -1e308])), ValueError, "too large"),
        (lambda: Standardize().fit(np.ones((4, 2))).inverse(np.ones((4, 3))), ValueError, r"\(3,\), but fit"),
        (lambda: Standardize().load_state_dict({"mean": tg.zeros(2)}), ValueError, "no std"),
        (lambda: Standardize().load_state_dict({"mean": tg.zeros(2), "std": tg.zeros(2)}), ValueError, "do not fit"),
        (lambda: OneHot("skip"), ValueError, '"zeros" or "error"'),
        (lambda: OneHot().transform([1]), ValueError, "before fit"),
        (lambda: OneHot().fit([]), ValueError, "at least one row"),
        (lambda: OneHot().fit(np.zeros((2, 2, 2))), ValueError, r"\(2, 2, 2\)"),
        (lambda: OneHot().fit([1, 2]).transform([[1, 2]]), ValueError, "2 columns, but it was fitted to 1"),
        (lambda: OneHot("error").fit(["a"]).transform(["a", "z"]), ValueError, "'z' in row 1, column 0"),
        (lambda: OneHot().fit([1, 2]).inverse(np.zeros((1, 3))), ValueError, r"codes \(N, 2\)"),
        (lambda: train_test_split(), ValueError, "at least one"),
        (lambda: train_test_split([1, 2]), TypeError, "got list"),
        (lambda: train_test_split(np.zeros(3), tg.zeros(4)), ValueError, "rows: 3, 4"),
        (lambda: train_test_split(np.zeros(3), test_size=3), ValueError, "test_size=3 of 3 rows"),
        (lambda: train_test_split(np.zeros(3), test_size=1.5), ValueError, "test_size=1.5"),
        (lambda: train_test_split(np.zeros(1)), ValueError, "of 1 rows"),
        (lambda: train_test_split(np.zeros(4), stratify=np.zeros(3)), ValueError, r"4 labels, got shape \(3,\)"),
        (lambda: train_test_split(np.zeros(4), stratify=[0, 0, 0, 7]), ValueError, "labelled 7"),
        (lambda: train_test_split(np.zeros(4), stratify=[0, 0, 1, 1]), ValueError, "2 classes do not fit into 1 test"),
        (lambda: train_test_split(np.zeros(4), stratify=[0, 0, 1, 1], shuffle=False), ValueError, "shuffle=True"),
    ],
)
def test_errors(run, error, message):
    with pytest.raises(error, match=message):
        run()


def test_one_hot():
    x = np.array([["red", "s"], ["blue", "m"], ["red", "l"]])
    codes = OneHot().fit(x)
    assert codes.width == 5 and codes.transform(x).tolist() == [[0, 1, 0, 0, 1], [1, 0, 0, 1, 0], [0, 1, 1, 0, 0]]
    assert codes.transform([["green", "m"]]).tolist() == [[0, 0, 0, 1, 0]]
    assert codes.inverse(codes.transform(x)).tolist() == x.tolist()
    labels = tg.tensor([3, 1, 3])
    hot = OneHot().fit(labels).transform(labels)
    assert isinstance(hot, tg.Tensor) and hot.dtype == tg.float32 and hot.tolist() == [[0, 1], [1, 0], [0, 1]]


def test_split_kinds_and_order():
    x, y = np.arange(20).reshape(10, 2), tg.arange(10)
    a, _, c, d = train_test_split(x, y, test_size=3, shuffle=False)
    assert a.tolist() == x[:7].tolist() and d.tolist() == [7, 8, 9] and isinstance(c, tg.Tensor)
    tg.manual_seed(0)
    first = train_test_split(x, y)
    assert [len(part) for part in first] == [7, 3, 7, 3]
    assert (first[0][:, 0] // 2).tolist() == first[2].tolist()
    tg.manual_seed(0)
    assert train_test_split(x, y)[3].tolist() == first[3].tolist()
    generator = tg.Generator().manual_seed(0)
    assert train_test_split(y, generator=generator)[1].tolist() == first[3].tolist()


@settings(deadline=None, max_examples=80)
@given(st.lists(st.integers(2, 30), min_size=1, max_size=4), st.floats(0.05, 0.95), st.booleans())
def test_stratified_shares(counts, share, as_tensor):
    labels = np.repeat(np.arange(len(counts)), counts)
    n, held_out = len(labels), int(np.ceil(share * len(labels) - 1e-9))
    if not len(counts) <= held_out <= n - len(counts):
        return
    stratify = tg.from_numpy(labels) if as_tensor else labels
    train, test = train_test_split(np.arange(n), test_size=share, stratify=stratify)
    assert len(test) == held_out and sorted([*train, *test]) == list(range(n))
    taken = np.bincount(labels[test], minlength=len(counts))
    assert (taken >= 1).all() and (taken < counts).all()
    # Within a row of the exact share, but where a class of few rows had to leave its minimum.
    assert (np.abs(taken - np.array(counts) * held_out / n) <= len(counts)).all()
