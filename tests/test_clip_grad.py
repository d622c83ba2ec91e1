"""Gradient clipping against its definition and against PyTorch."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tapegrad as tg

GRADS = [np.array([[3.0, -4.0], [0.0, 12.0]]), np.array([84.0, -1.0]), None]


def parameters():
    out = []
    for g in GRADS:
        p = tg.zeros(*(g.shape if g is not None else (2,)), dtype=tg.float64).requires_grad_()
        p.grad = None if g is None else tg.tensor(g)
        out.append(p)
    return out


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.5, math.inf])
@pytest.mark.parametrize("max_norm", [0.5, 1e3])
def test_norm(norm_type, max_norm):
    ps = parameters()
    flat = np.concatenate([g.ravel() for g in GRADS if g is not None])
    norm = np.linalg.norm(flat, norm_type)
    assert tg.nn.utils.clip_grad_norm_(ps, max_norm, norm_type).item() == pytest.approx(norm)
    scale = min(max_norm / (norm + 1e-6), 1.0)
    for p, g in zip(ps, GRADS, strict=True):
        if g is not None:
            np.testing.assert_allclose(p.grad.numpy(), g * scale, rtol=1e-12)


def test_value_and_no_gradients():
    ps = parameters()
    tg.nn.utils.clip_grad_value_(ps, 3.5)
    for p, g in zip(ps, GRADS, strict=True):
        if g is not None:
            assert (p.grad.numpy() == np.clip(g, -3.5, 3.5)).all()
    assert tg.nn.utils.clip_grad_norm_([tg.zeros(2).requires_grad_()], 1.0).item() == 0


def test_nonfinite():
    p = tg.zeros(2).requires_grad_()
    p.grad = tg.tensor([1.0, math.inf])
    with pytest.raises(RuntimeError, match="norm of order 2 of the gradients is inf"):
        tg.nn.utils.clip_grad_norm_(p, 1.0, error_if_nonfinite=True)
    assert math.isinf(tg.nn.utils.clip_grad_norm_(p, 1.0).item())


def test_in_a_compiled_step():
    results = []
    for wrap in (lambda f: f, tg.compile):
        tg.manual_seed(0)
        model = tg.nn.Sequential(tg.nn.Linear(8, 16), tg.nn.Tanh(), tg.nn.Linear(16, 1))
        optimizer = tg.optim.Adam(model.parameters(), lr=0.01)

        def step(x, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            norm = tg.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
            return loss, norm

        step = wrap(step)
        values = [[v.item() for v in step(tg.randn(32, 8))] for _ in range(10)]
        results.append((values, [p.tolist() for p in model.parameters()]))
    assert results[0] == results[1]


def test_like_pytorch():
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    for norm_type in (1.0, 2.0, math.inf):
        ps, theirs = parameters(), [torch.zeros(4, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)]
        theirs[0].grad, theirs[1].grad = torch.tensor(GRADS[0].ravel()), torch.tensor(GRADS[1])
        a = tg.nn.utils.clip_grad_norm_(ps, 1.0, norm_type)
        b = torch.nn.utils.clip_grad_norm_(theirs, 1.0, norm_type)
        assert a.item() == pytest.approx(b.item(), rel=1e-12)
        np.testing.assert_allclose(ps[0].grad.numpy().ravel(), theirs[0].grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize("norm_type", [1.0, 2.0, math.inf])
def test_a_total_norm_and_clipping_with_it(norm_type):
    ps, others = parameters(), parameters()
    norm = tg.nn.utils.get_total_norm([p.grad for p in ps if p.grad is not None], norm_type)
    tg.nn.utils.clip_grads_with_norm_(ps, 0.5, norm)
    assert norm.item() == tg.nn.utils.clip_grad_norm_(others, 0.5, norm_type).item()
    for p, other in zip(ps[:2], others[:2], strict=True):
        np.testing.assert_array_equal(p.grad.numpy(), other.grad.numpy())
    assert tg.nn.utils.get_total_norm([]).item() == 0.0
