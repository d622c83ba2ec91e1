"""Traps that autodiff libraries are known for, each by name: losses that broadcast, labels out of range, nan that gets
lost, ties and kinks, memory that runs out inside a graph, exit while threads compute."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from graphs import run_apart

F = tg.nn.functional
N = 5


def signs(*shape):
    return tg.ones(*shape)


# (loss, the arguments that do not fit): (n, 1) against (n,), which would broadcast to (n, n)
MISMATCHED = {
    "mse_loss": (tg.rand(N, 1), tg.rand(N)),
    "l1_loss": (tg.rand(N, 1), tg.rand(N)),
    "smooth_l1_loss": (tg.rand(N, 1), tg.rand(N)),
    "huber_loss": (tg.rand(N, 1), tg.rand(N)),
    "binary_cross_entropy": (tg.rand(N, 1), tg.rand(N)),
    "binary_cross_entropy_with_logits": (tg.rand(N, 1), tg.rand(N)),
    "kl_div": (tg.rand(N, 1), tg.rand(N)),
    "poisson_nll_loss": (tg.rand(N, 1), tg.rand(N)),
    "gaussian_nll_loss": (tg.rand(N, 1), tg.rand(N), tg.ones(N, 1)),
    "hinge_embedding_loss": (tg.rand(N, 1), signs(N)),
    "soft_margin_loss": (tg.rand(N, 1), signs(N)),
    "multilabel_soft_margin_loss": (tg.rand(N, 1), tg.ones(N)),
    "margin_ranking_loss": (tg.rand(N, 1), tg.rand(N, 1), signs(N)),
    "cosine_embedding_loss": (tg.rand(N, 3), tg.rand(N, 3), signs(N, 1)),
    "triplet_margin_loss": (tg.rand(N, 1), tg.rand(N), tg.rand(N, 1)),
    "cross_entropy": (tg.rand(N, 3), tg.zeros(N, 1, dtype=tg.int64)),
    "nll_loss": (tg.rand(N, 3), tg.zeros(N, 1, dtype=tg.int64)),
    "multi_margin_loss": (tg.rand(N, 3), tg.zeros(N, 1, dtype=tg.int64)),
}


def test_every_loss_is_among_those_checked_for_broadcasting():
    losses = {name for name in F.__all__ if name.endswith("_loss") or "cross_entropy" in name or name == "kl_div"}
    assert losses == set(MISMATCHED)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", MISMATCHED)
def test_a_loss_refuses_a_column_against_a_vector(name, reduction):
    given = MISMATCHED[name]
    swapped = tuple(a.squeeze(-1) if a.shape == (N, 1) else a.unsqueeze(-1) for a in given)
    for arguments in (given, swapped):
        with pytest.raises((ValueError, TypeError), match=rf"{name}: .*\({N},"):
            getattr(F, name)(*arguments, reduction=reduction)


@pytest.mark.parametrize("label", [-1, 3, 10**9, -(2**63), 2**63 - 1])
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss", "multi_margin_loss"])
def test_a_label_out_of_range_is_an_error_that_names_it(name, label):
    loss = getattr(F, name)
    labels = tg.zeros(1000, dtype=tg.int64)
    labels[777] = label
    x = tg.rand(1000, 3, requires_grad=True)
    with pytest.raises(IndexError, match=f"{name}: .*{label}"):
        loss(x, labels)
    with pytest.raises(IndexError, match=str(label)):
        loss(x[0], tg.tensor(label))
    labels[777] = 2
    loss(x, labels).backward()
    assert np.isfinite(x.grad.numpy()).all()


@pytest.mark.parametrize("label", [-1, 3])
def test_an_index_out_of_range_of_a_table_is_an_error(label):
    for look_up in (lambda i: F.embedding(i, tg.rand(3, 2)), lambda i: F.one_hot(i, 3)):
        with pytest.raises((IndexError, ValueError), match=r"embedding|one_hot"):
            look_up(tg.tensor([0, label]))


KEEPS_NAN = {
    "relu": F.relu,
    "relu6": F.relu6,
    "hardtanh": F.hardtanh,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "clamp": lambda x: x.clamp(-1, 1),
    "clamp_min": lambda x: x.clamp_min(0),
    "clamp by tensors": lambda x: x.clamp(tg.zeros(()), tg.ones(x.shape)),
    "maximum": lambda x: tg.maximum(x, tg.zeros(())),
    "minimum, nan second": lambda x: tg.minimum(tg.zeros(()), x),
    "where": lambda x: tg.where(tg.ones(x.shape, dtype=tg.bool), x, 0.0),
    "max": lambda x: x.max(),
    "min": lambda x: x.min(),
    "max(dim)": lambda x: x.max(0).values,
    "min(dim)": lambda x: x.min(0)[0],
    "amax": lambda x: x.amax(),
    "amin": lambda x: x.amin(),
    "cummax": lambda x: x.cummax(0).values[-1],
    "sort": lambda x: x.sort().values[-1],
    "topk": lambda x: x.topk(1).values,
}


@pytest.mark.parametrize("dtype", [tg.float32, tg.float64])
@pytest.mark.parametrize("name", KEEPS_NAN)
def test_nan_passes_through(name, dtype):
    for n in (1, 2, 7, 16, 33, 1000, 70_000):
        for at in {0, n // 2, n - 1}:
            x = tg.linspace(-2, 2, n, dtype=dtype)
            x[at] = float("nan")
            y = KEEPS_NAN[name](x)
            wanted = [at] if y.shape == x.shape and n > 1 else [0]
            assert np.flatnonzero(np.isnan(np.atleast_1d(y.numpy()))).tolist() == wanted, (n, at)


def test_fmax_and_fmin_prefer_numbers_to_nan():
    x, y = tg.tensor([float("nan"), 1.0]), tg.tensor([2.0, float("nan")])
    assert tg.fmax(x, y).tolist() == tg.fmin(x, y).tolist() == [2, 1]


def test_nan_that_where_leaves_out_reaches_no_gradient():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = tg.where(tg.tensor([True, False]), x, tg.tensor([float("nan")] * 2).clone())
    y.sum().backward()
    assert x.grad.tolist() == [1, 0]


# The slope at kinks and ties, as documented and as PyTorch has it: (function, point, gradient per argument)
KINKS = [
    ("relu", F.relu, [0.0], [0.0]),
    ("relu6", F.relu6, [0.0, 6.0], [0.0, 0.0]),
    ("leaky_relu", lambda x: F.leaky_relu(x, 0.25), [0.0], [0.25]),
    ("hardtanh", F.hardtanh, [-1.0, 1.0], [0.0, 0.0]),
    ("abs", tg.abs, [0.0], [0.0]),
    ("clamp", lambda x: x.clamp(-1, 1), [-1.0, 1.0], [1.0, 1.0]),
    ("maximum with a number", lambda x: tg.maximum(x, tg.zeros(())), [0.0], [0.5]),
    ("minimum of itself", lambda x: tg.minimum(x, x), [3.0], [1.0]),
    ("max", lambda x: x.max(), [2.0, 1.0, 2.0], [0.5, 0.0, 0.5]),
    ("min", lambda x: x.min(), [1.0, 1.0, 2.0, 1.0], [1 / 3, 1 / 3, 0.0, 1 / 3]),
    ("max(dim)", lambda x: x.max(0).values, [2.0, 1.0, 2.0], [1.0, 0.0, 0.0]),
    ("amax", lambda x: x.amax(0), [2.0, 1.0, 2.0], [0.5, 0.0, 0.5]),
    ("norm", lambda x: x.norm(), [0.0, 0.0], [0.0, 0.0]),
    ("std", lambda x: x.std(), [1.0, 1.0], [0.0, 0.0]),
]


@pytest.mark.parametrize(("f", "point", "slope"), [k[1:] for k in KINKS], ids=[k[0] for k in KINKS])
def test_slopes_at_kinks_and_ties(f, point, slope):
    x = tg.tensor(point, requires_grad=True)
    f(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), slope, rtol=1e-6)


def test_fmax_gives_a_tie_to_the_first():
    a, b = tg.ones(2, requires_grad=True), tg.ones(2, requires_grad=True)
    tg.fmax(a, b).sum().backward()
    assert a.grad.tolist() == [1, 1] and b.grad.tolist() == [0, 0]


GRADIENT_LAYOUTS = {
    "transposed": lambda g: g.t().contiguous().t(),
    "every other": lambda g: tg.stack([g, g], -1).flatten(1)[:, ::2],
    "expanded": lambda g: g[:1, :1].expand(*g.shape),
    "offset": lambda g: tg.cat([g, g])[g.shape[0] :],
}


STRIDED = [
    lambda x: x @ x.t(),
    tg.tanh,
    lambda x: x.softmax(-1),
    lambda x: F.layer_norm(x, (6,)),
    lambda x: x.t() * 2,
    lambda x: x.sum(0, keepdim=True),
]


@pytest.mark.parametrize("layout", GRADIENT_LAYOUTS)
@pytest.mark.parametrize("f", STRIDED)
def test_incoming_gradient_of_any_strides(f, layout):
    x = tg.rand(6, 6, requires_grad=True)
    g = GRADIENT_LAYOUTS[layout](tg.rand(*f(x).shape))
    given = g.tolist()
    (a,) = tg.autograd.grad(f(x), x, g)
    (b,) = tg.autograd.grad(f(x), x, g.contiguous().clone())
    assert a.tolist() == b.tolist() and g.tolist() == given


def test_no_memory_inside_a_graph_leaves_the_graph_whole():
    x = tg.ones(3, requires_grad=True)
    y = x * 2
    for _ in range(10):
        with pytest.raises(MemoryError):
            y.sum().expand(10**15) + 1
        with pytest.raises(MemoryError):
            tg.zeros(10**15, dtype=tg.uint8)
    y.sum().backward()
    assert x.grad.tolist() == [2, 2, 2]


def test_no_memory_during_backward_is_an_error_and_the_process_goes_on():
    x = tg.ones((), requires_grad=True)
    y = x.expand(10**15)[7] * x
    for _ in range(3):
        with pytest.raises(MemoryError):
            y.backward(retain_graph=True)
    x.grad = None
    (x * 3).backward()
    assert x.grad.item() == 3


@pytest.mark.parametrize("hooked", [False, True])
def test_exit_while_a_thread_computes_on_live_graphs(hooked):
    """Neither kernels without the lock nor hooks that take it again end the process badly."""
    program = f"""
import threading, time
import tapegrad as tg
w = tg.rand(300, 300, requires_grad=True)
started = threading.Event()
def work():
    while True:
        y = (w @ w).tanh()
        if {hooked}:
            y.register_hook(lambda g: g * 2)
        (y @ w).sum().backward()
        started.set()
threads = [threading.Thread(target=work, daemon=True) for _ in range(3)]
for t in threads: t.start()
assert started.wait(60)
kept = [(w @ w).sum() for _ in range(10)]
time.sleep(0.05)
print("done")
"""
    for _ in range(3):
        assert run_apart(program) == "done\n"
