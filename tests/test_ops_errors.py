"""Bad input to every op: the exception's type, and a message that names the op and what is wrong."""

from __future__ import annotations

import pytest

import tapegrad as tg
from op_case import flat, tensors
from op_cases import CASES

ROWS = [(case, k, bad) for case in CASES for k, bad in enumerate(case.errors)]
EXPECTED = (ValueError, TypeError, IndexError, RuntimeError)


def normal(message: str) -> str:
    """Shapes in one notation: (2, 3), (4), ()."""
    return message.replace("[", "(").replace("]", ")").replace(",)", ")").replace("tapegrad.", "")


@pytest.mark.parametrize(("case", "k", "bad"), ROWS, ids=[f"{case.name}-{k}" for case, k, _ in ROWS])
def test_bad_input(case, k, bad):
    with pytest.raises(EXPECTED) as caught:
        bad.call(tg)
    assert type(caught.value) in EXPECTED, f"{type(caught.value)} instead of a plain exception"
    message = normal(str(caught.value))
    names = {case.name, "indexing", "index"} if case.name in ("getitem", "setitem") else {case.name}
    assert any(n in message for n in names), f"{message!r} does not name {case.name}"
    for mention in bad.mentions:
        assert mention in message, f"{message!r} does not mention {mention!r}"


@pytest.mark.parametrize("case", [c for c in CASES if c.fn is None], ids=lambda c: c.name)
def test_no_arguments(case):
    """Called with nothing, or with None for a tensor. (With an `fn` of its own: methods and operators.)"""
    with pytest.raises(TypeError):
        case(tg)
    with pytest.raises(TypeError):
        case(tg, None)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_state_survives_errors(case, rng):
    """After its errors the op still gives its first sample's result."""
    sample = (case.samples(rng) or case.integers(rng))[0]
    before = flat(case(tg, *tensors(tg, sample.args), **sample.kwargs))[0].tolist()
    for bad in case.errors:
        with pytest.raises(EXPECTED):
            bad.call(tg)
    assert flat(case(tg, *tensors(tg, sample.args), **sample.kwargs))[0].tolist() == before


def test_values_are_checked_in_calls_long_enough_to_release_the_gil():
    x, index = tg.rand(100_000, 4), tg.zeros(100_000, dtype=tg.int64)
    index[-1] = 4
    with pytest.raises(IndexError, match="label 4 is out of range for 4 classes"):
        tg.nn.functional.cross_entropy(x, index)
    with pytest.raises(IndexError, match="index -1 is negative"):
        x.index_select(0, index - 1)
