"""Anomaly mode: the first nan, by the line whose operation made it."""

from __future__ import annotations

import inspect
import re

import pytest

import tapegrad as tg
from graphs import leaf
from tapegrad import autograd


def line_of_next() -> str:
    return f"{__file__}:{inspect.currentframe().f_back.f_lineno + 1}"


def test_first_nan_forward():
    zero, other = tg.zeros(2, 3), tg.ones(3)
    with autograd.detect_anomaly():
        with pytest.raises(RuntimeError) as error:
            line = line_of_next()
            (zero / zero + other).sum()
        assert "div" in str(error.value) and "(2, 3)" in str(error.value) and line in str(error.value)
        nan = tg.tensor([float("nan")])
        nan * 2  # made by nobody
        tg.full((2,), float("nan")).log()
    assert (zero / zero).isnan().all() if hasattr(zero, "isnan") else True
    assert not autograd.is_anomaly_enabled()


def test_first_nan_backward():
    with autograd.detect_anomaly():
        x = leaf([0.0, 1.0])
        line = line_of_next()
        y = x.sqrt()
        with pytest.raises(RuntimeError, match=re.escape(line)) as error:
            (y * 0.0).sum().backward()
        assert "sqrt" in str(error.value) and "(2,)" in str(error.value)


def test_anomaly_mode_in_place_and_scopes():
    x = tg.zeros(2)
    scope = autograd.set_detect_anomaly(True)
    with pytest.raises(RuntimeError, match="div"):
        x.div_(0)
    with autograd.detect_anomaly(check_nan=False):
        tg.zeros(1) / 0
    assert autograd.is_anomaly_enabled()
    with scope:
        pass
    assert not autograd.is_anomaly_enabled()
