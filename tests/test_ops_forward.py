"""Forward of every op against NumPy in float64: values, dtypes, layouts, special values, integers."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from op_case import (
    LAYOUTS,
    Case,
    Sample,
    arrays_in,
    close,
    flat,
    in_dtype,
    in_layout,
    leaves_in,
    map_arrays,
    reference,
    tensors,
)
from op_cases import CASES

by_name = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
by_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def check(case: Case, sample: Sample, dtype: str, args=None, what: str = "") -> None:
    """Runs the op on `args` (default: the sample's arrays) and compares with the reference for the sample."""
    args = tensors(tg, sample.args) if args is None else args
    results = flat(case(tg, *args, **sample.kwargs))
    want = reference(case, sample)
    assert len(results) == len(want)
    what = what or f"{[a.shape for a in arrays_in(sample.args)]} {sample.kwargs}"
    for k, (r, w) in enumerate(zip(results, want, strict=True)):
        assert isinstance(r, tg.Tensor)
        assert tuple(r.shape) == w.shape, f"{case.name} {what}: shape {tuple(r.shape)}, expected {w.shape}"
        close(case, dtype, r.detach().numpy(), w, what)
        if k == 0:
            expected = dtype if case.result == "same" else case.result
            assert r.dtype == getattr(tg, expected), f"{case.name} {what}: dtype {r.dtype}"


@by_dtype
@by_name
def test_against_numpy(case, dtype, rng):
    for sample in case.samples(rng):
        sample = in_dtype(sample, dtype)
        before = map_arrays(np.copy, sample.args)
        args = tensors(tg, sample.args)
        check(case, sample, dtype, args)
        for a, b in zip(arrays_in(before), leaves_in(tg, args), strict=True):
            assert a.tobytes() == b.numpy().tobytes(), f"{case.name} changed its input"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", [c for c in CASES if c.layouts], ids=lambda c: c.name)
def test_layouts(case, layout, rng):
    """Inputs of any strides give what contiguous ones give: each input alone, then all together."""
    for sample in case.samples(rng):
        sample = in_dtype(sample, "float32")
        count = len(arrays_in(sample.args))
        for chosen in [*({k} for k in range(count)), *([set(range(count))] if count > 1 else [])]:
            args, arrays = _in_layout(sample.args, layout, chosen)
            check(case, Sample(arrays, sample.kwargs), "float32", args, f"{layout} {chosen} {sample.kwargs}")


def _in_layout(tree, layout, chosen):
    """(tensors, arrays) of the tree with the chosen arrays (by position) in the layout."""
    pairs = [
        in_layout(tg, a, layout) if k in chosen else (tg.tensor(a), a) for k, a in enumerate(arrays_in(tree))
    ]  # fmt: skip
    made = []
    for items in zip(*pairs, strict=True):
        supply = iter(items)
        made.append(map_arrays(lambda _, supply=supply: next(supply), tree))
    return made


@by_dtype
@pytest.mark.parametrize("case", [c for c in CASES if c.specials], ids=lambda c: c.name)
def test_special_values(case, dtype, rng):
    """nan, infinities, signed zeros, values near overflow and underflow."""
    for sample in case.specials(rng):
        with np.errstate(over="ignore"):
            check(case, in_dtype(sample, dtype), dtype, what=f"special values {sample.kwargs}")


@pytest.mark.parametrize("case", [c for c in CASES if c.integers], ids=lambda c: c.name)
def test_integers(case, rng):
    for sample in case.integers(rng):
        own = str(arrays_in(sample.args)[-1 if case.name == "where" else 0].dtype)
        expected = {"same": own, "float": "float32"}.get(case.int_result, case.int_result)
        result = flat(case(tg, *tensors(tg, sample.args), **sample.kwargs))
        assert result[0].dtype == getattr(tg, expected), f"{case.name} of {own} gave {result[0].dtype}"
        with np.errstate(all="ignore"):
            want = flat(case.ref(*_widen(case, sample.args), **sample.kwargs))
        for r, w in zip(result, want, strict=True):
            close(case, "float32", r.numpy(), np.asarray(w).astype(r.numpy().dtype), own)


def _widen(case, args):
    """Integers as the reference wants them: float64 where the op computes in floats, their own dtype where it wraps."""
    return map_arrays(lambda a: a.astype(np.float64), args) if case.int_result == "float" else args


@pytest.mark.parametrize("case", [c for c in CASES if c.domain], ids=lambda c: c.name)
def test_every_length(case, rng):
    """No length falls through the vector loop's tail, whatever the start's alignment."""
    samples = case.samples(rng)
    operands = len(samples[0].args) if samples else 2
    low, high = case.domain
    for n in [*range(1, 70), 255, 256, 257]:
        for start in range(3):
            base = [np.asarray(rng.uniform(max(low, 0.4), high, n + start)).astype("float32") for _ in range(operands)]
            if not samples:
                base = [(b * 9).astype("int32") for b in base]
            arrays = tuple(b[start:] for b in base)
            args = tuple(tg.tensor(b)[start:] for b in base)
            got = case(tg, *args).numpy()
            wide = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays]
            close(case, "float32", got, case.ref(*wide), f"length {n} from {start}")
