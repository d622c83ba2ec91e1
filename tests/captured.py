"""What the tests of compile() share: exact comparison, and functions that count how often Python runs them."""

from __future__ import annotations

import functools

import numpy as np

import tapegrad as tg


def exactly(got, want, what: str = "") -> None:
    """Asserts that results, nested at will, have the same structure, shapes, dtypes and bits (any nan is nan)."""
    if isinstance(want, tg.Tensor):
        assert isinstance(got, tg.Tensor), what
        a, b = got.detach().numpy(), want.detach().numpy()
        assert a.dtype == b.dtype, f"{what}: {a.dtype}, expected {b.dtype}"
        assert a.shape == b.shape, f"{what}: {a.shape}, expected {b.shape}"
        if a.tobytes() == b.tobytes():
            return
        with np.errstate(all="ignore"):
            same = (a == b) & (np.signbit(a) == np.signbit(b)) if a.dtype.kind == "f" else a == b
        bad = ~(same | (np.isnan(a) & np.isnan(b)))
        assert not bad.any(), f"{what}: {bad.sum()} of {bad.size} differ: {a[bad][:3]}, expected {b[bad][:3]}"
    elif isinstance(want, (tuple, list)):
        assert type(got) is type(want), what
        assert len(got) == len(want), what
        for k, (g, w) in enumerate(zip(got, want, strict=True)):
            exactly(g, w, f"{what}[{k}]")
    elif isinstance(want, dict):
        assert type(got) is type(want), what
        assert list(got) == list(want), what
        for key in want:
            exactly(got[key], want[key], f"{what}[{key!r}]")
    else:
        assert got == want, what


def counted(function):
    """The function, which counts in `.runs` how often Python runs it."""

    @functools.wraps(function)
    def run(*args, **kwargs):
        run.runs += 1
        return function(*args, **kwargs)

    run.runs = 0
    return run


def compiled(function, **options):
    """(the compiled function, the one that counts): a call that does not raise `.runs` was a replay."""
    inner = counted(function)
    return tg.compile(inner, **options), inner


def programs(function) -> list:
    """The programs that a compiled function has."""
    return [captured.program for known in function._programs.values() for captured in known or ()]
