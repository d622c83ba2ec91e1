"""Averages of weights: AveragedModel, its rules, and running statistics from a loader."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from captured import compiled
from tapegrad import nn, optim
from tapegrad.nn import functional as F
from tapegrad.optim import swa_utils


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")


RULES = {
    "default": lambda s: {},
    "swa multi": lambda s: {"multi_avg_fn": s.get_swa_multi_avg_fn()},
    "ema multi": lambda s: {"multi_avg_fn": s.get_ema_multi_avg_fn(0.9)},
    "ema fast": lambda s: {"multi_avg_fn": s.get_ema_multi_avg_fn(0.25)},
    "swa": lambda s: {"avg_fn": s.get_swa_avg_fn()},
    "ema": lambda s: {"avg_fn": s.get_ema_avg_fn(0.9), "use_buffers": True},
    "own": lambda s: {"avg_fn": lambda average, value, n: 0.5 * (average + value)},
}


class WithBuffer(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.register_buffer("seen", tg.zeros(2))

    def forward(self, x):
        return self.linear(x)


def values(rule, steps=6):
    """The averages of a course of random values, and that course."""
    rng = np.random.default_rng(0)
    model = WithBuffer()
    averaged = swa_utils.AveragedModel(model, **RULES[rule](swa_utils))
    course = []
    for _ in range(steps):
        with tg.no_grad():
            for tensor in (*model.parameters(), *model.buffers()):
                tensor.copy_(tg.tensor(rng.normal(size=tensor.shape)))
        course.append([t.detach().numpy().copy() for t in (*model.parameters(), *model.buffers())])
        averaged.update_parameters(model)
    return averaged, course


@pytest.mark.parametrize("rule", RULES)
def test_rules(rule):
    averaged, course = values(rule)
    assert averaged.n_averaged.item() == 6 and averaged.n_averaged.dtype == tg.int64
    decay = {"ema multi": 0.9, "ema fast": 0.25, "ema": 0.9, "own": 0.5}.get(rule)
    for i, actual in enumerate([*averaged.module.parameters(), *averaged.module.buffers()]):
        column = [step[i].astype(np.float64) for step in course]
        expected = column[0] if decay is not None else np.mean(column, 0)
        for value in column[1:] if decay is not None else ():
            expected = decay * expected + (1 - decay) * value
        if i == 2 and rule != "ema":
            expected = column[-1]
        np.testing.assert_allclose(actual.detach().numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_as_in_torch(torch, rule):
    averaged, course = values(rule)
    model = torch.nn.Linear(3, 2)
    model.register_buffer("seen", torch.zeros(2))
    theirs = torch.optim.swa_utils.AveragedModel(model, **RULES[rule](torch.optim.swa_utils))
    for step in course:
        with torch.no_grad():
            for tensor, value in zip((*model.parameters(), *model.buffers()), step, strict=True):
                tensor.copy_(torch.tensor(value))
        theirs.update_parameters(model)
    pairs = zip(
        (*averaged.module.parameters(), *averaged.module.buffers()),
        (*theirs.module.parameters(), *theirs.module.buffers()),
        strict=True,
    )
    for a, b in pairs:
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_state_dict_has_the_keys_of_torch(torch):
    ours = swa_utils.AveragedModel(nn.Linear(3, 2))
    theirs = torch.optim.swa_utils.AveragedModel(torch.nn.Linear(3, 2))
    assert sorted(ours.state_dict()) == sorted(theirs.state_dict())


def test_the_average_is_apart_from_the_model():
    model = nn.Linear(3, 2)
    averaged = swa_utils.AveragedModel(model)
    x = tg.randn(4, 3)
    before = averaged(x)
    with tg.no_grad():
        model.weight.fill_(7.0)
    assert (averaged(x) == before).all()
    averaged.update_parameters(model)
    assert (averaged.module.weight == 7.0).all() and averaged.module.weight is not model.weight
    with tg.no_grad():
        model.weight.fill_(3.0)
    assert (averaged.module.weight == 7.0).all()


@pytest.mark.parametrize("rule", ["default", "ema multi"])
def test_compiled(rule):
    """The average may be taken in a compiled training step: the same bits."""
    results = []
    for capture in (False, True):
        tg.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
        averaged = swa_utils.AveragedModel(model, **RULES[rule](swa_utils))
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

        def step(x, y, model=model, averaged=averaged, optimizer=optimizer):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            averaged.update_parameters(model)
            return loss

        inner = None
        if capture:
            step, inner = compiled(step)
        generator = tg.Generator().manual_seed(1)
        for _ in range(12):
            step(tg.randn(16, 4, generator=generator), tg.randn(16, 2, generator=generator))
        results.append([p.detach().numpy().tobytes() for p in averaged.parameters()])
    assert results[0] == results[1] and inner.runs <= 2


def test_errors():
    with pytest.raises(ValueError, match=r"Invalid decay value 1\.5"):
        swa_utils.get_ema_multi_avg_fn(1.5)
    with pytest.raises(ValueError, match="Invalid decay value -1"):
        swa_utils.get_ema_avg_fn(-1)
    with pytest.raises(AssertionError, match="Only one of"):
        swa_utils.AveragedModel(nn.Linear(1, 1), avg_fn=max, multi_avg_fn=max)


class Norm(nn.Module):
    """What update_bn asks of a batch normalization."""

    def __init__(self):
        super().__init__()
        self.momentum = 0.1
        self.register_buffer("running_mean", tg.zeros(3))
        self.register_buffer("num_batches_tracked", tg.tensor(0))

    def reset_running_stats(self):
        self.running_mean.zero_()
        self.num_batches_tracked.zero_()

    def forward(self, x):
        if self.training:
            self.num_batches_tracked += 1
            share = self.momentum if self.momentum is not None else 1 / self.num_batches_tracked.item()
            self.running_mean += share * (x.mean(0) - self.running_mean)
        return x - self.running_mean


@pytest.mark.parametrize("pairs", [False, True])
def test_update_bn(pairs):
    batches = [tg.randn(5, 3) + k for k in range(4)]
    model = nn.Sequential(nn.Identity(), Norm()).eval()
    model[1].running_mean.fill_(9.0)
    swa_utils.update_bn([(x, None) for x in batches] if pairs else batches, model)
    expected = np.mean([x.mean(0).numpy() for x in batches], 0)
    np.testing.assert_allclose(model[1].running_mean.numpy(), expected, rtol=1e-5)
    assert not model.training and model[1].momentum == 0.1
    swa_utils.update_bn(None, nn.Linear(1, 1))  # nothing to do
