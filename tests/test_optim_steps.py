"""The fused steps of the optimizers: options and step counts that a captured step reads anew; lifetime and copies."""

import copy
import gc
import weakref

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import _core, nn, optim


def parameter(*values):
    return nn.Parameter(tg.tensor(values, dtype=tg.float64))


def test_options_are_read_at_every_step():
    p = parameter(1.0)
    p.grad = tg.tensor([1.0], dtype=tg.float64)
    optimizer = optim.Adam([p], lr=tg.tensor(0.25))
    group = optimizer.param_groups[0]
    optimizer.step()
    np.testing.assert_allclose(p.item(), 0.75, atol=1e-7)
    group["lr"].mul_(2)
    group["betas"] = [0.9, 0.999]
    optimizer.step()
    np.testing.assert_allclose(p.item(), 0.25, atol=1e-7)
    for name, value, message in [
        ("lr", "fast", "option 'lr' must be a number, got 'fast'"),
        ("lr", tg.ones(2), "option 'lr' must be a number"),
        ("eps", None, "option 'eps' must be a number, got None"),
        ("betas", (0.9,), r"option 'betas' must be 2 numbers, got \(0.9,\)"),
        ("betas", 0.9, "option 'betas' must be 2 numbers, got 0.9"),
    ]:
        before = group[name]
        group[name] = value
        with pytest.raises(TypeError, match=message):
            optimizer.step()
        group[name] = before
    assert optimizer.state[p]["step"].item() == 2.0
    del group["lr"]
    with pytest.raises(KeyError, match="lr"):
        optimizer.step()


def test_momentum_switched_off_and_on():
    p = parameter(0.0)
    p.grad = tg.tensor([1.0], dtype=tg.float64)
    optimizer = optim.SGD([p], lr=1.0, momentum=0.5, dampening=0.5)
    for momentum, expected in [(0.5, -1.0), (0.0, -2.0), (0.5, -3.0), (0.5, -4.0)]:
        optimizer.param_groups[0]["momentum"] = momentum
        optimizer.step()
        assert p.item() == expected
    plain = optim.SGD([p], lr=1.0)
    plain.step()
    assert not plain.state


def test_steps_count_in_place_and_raise_versions():
    """What a captured step relies on: the count is a tensor that the step itself raises."""
    p = parameter(1.0)
    p.grad = tg.tensor([1.0], dtype=tg.float64)
    optimizer = optim.Adam([p])
    optimizer.step()
    step, before = optimizer.state[p]["step"], optimizer.state[p]["step"]._version
    optimizer.step()
    assert optimizer.state[p]["step"] is step and step.item() == 2.0 and step._version > before


def test_bad_steps():
    p = parameter(1.0)
    names = ["lr", "flags", "momentum"]
    options = _core._Options({"lr": 1.0, "momentum": 0.5, "flags": (0, 0, 0, 0)}, names)
    few = _core._Options({"lr": 1.0}, ["lr"])
    step = tg.tensor(0.0)
    for state, count, given, message in [
        ([], step, few, "sgd_step_: got 1 options, expected 6"),
        ([[p], [p]], step, options, "sgd_step_: got 2 lists of state, expected 0"),
        ([], tg.zeros(1), options, r"sgd_step_: step must be a float tensor of shape \(\)"),
        ([], tg.tensor(0), options, r"sgd_step_: step must be a float tensor of shape \(\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            _core.sgd_step_([p], [p.detach()], state, count, given)
    options = _core._Options({"lr": 1.0, "momentum": 0.5, "flags": (0, 0)}, ["lr", "flags", "momentum", "lr", "lr"])
    with pytest.raises(ValueError, match="sgd_step_: got 0 lists of state, expected 1"):
        _core.sgd_step_([p], [p.detach()], [], step, options)
    with pytest.raises(TypeError, match="argument 'options' must be options"):
        _core.sgd_step_([p], [p.detach()], [], step, {})
    options = _core._Options({"x": (0.1,) * 8}, ["x"])
    with pytest.raises(ValueError, match=r"nadam_step_: step must be a float tensor of shape \(2,\)"):
        _core.nadam_step_([p], [p.detach()], [[p], [p]], step, options)
    options = _core._Options({"x": (0.1,) * 10}, ["x"])
    with pytest.raises(ValueError, match=r"muon_step_: .* is no matrix"):
        _core.muon_step_([p], [p.detach()], [[p.detach()]], step, options)
    assert p.item() == 1.0


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam])
def test_an_optimizer_is_freed_at_once(kind):
    p = parameter(1.0)
    p.grad = tg.tensor([1.0], dtype=tg.float64)
    optimizer = kind([p], lr=0.1)
    optimizer.step()
    alive = weakref.ref(optimizer), weakref.ref(p)
    gc.disable()
    try:
        del optimizer, p
        assert alive[0]() is None and alive[1]() is None
    finally:
        gc.enable()


def test_a_copied_optimizer_has_its_own_groups():
    p = parameter(1.0)
    p.grad = tg.tensor([1.0], dtype=tg.float64)
    optimizer = optim.Adam([p], lr=0.1)
    optimizer.step()
    other = copy.deepcopy(optimizer)
    q = other.param_groups[0]["params"][0]
    q.grad = tg.tensor([1.0], dtype=tg.float64)
    other.param_groups[0]["lr"] = 0.5
    before = p.item()
    other.step()
    np.testing.assert_allclose([p.item() - before, q.item() - before], [0.0, -0.5], atol=1e-7)
    assert optimizer.state[p]["step"].item() == 1.0 and other.state[q]["step"].item() == 2.0
