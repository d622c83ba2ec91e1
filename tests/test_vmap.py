"""vmap: each rule against the loop over samples, also nested and differentiated."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn
from tapegrad.autograd import Function
from tapegrad.func import _batched, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap

F = nn.functional


def draw(*shape, seed=0):
    return tg.tensor(np.random.RandomState(seed).uniform(-1, 1, shape))


def same(a, b, rtol=1e-10):
    if isinstance(b, dict):
        assert a.keys() == b.keys()
        a, b = list(a.values()), list(b.values())
    if isinstance(b, (tuple, list)):
        assert type(a) is type(b) and len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y, rtol)
        return
    assert tuple(a.shape) == tuple(b.shape) and a.dtype is b.dtype
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=rtol, atol=1e-12)


def loop(function, samples, dims):
    """What vmap stands for."""
    size = next(t.shape[0] for t, d in zip(samples, dims, strict=True) if d == 0)
    results = [function(*(t if d is None else t[b] for t, d in zip(samples, dims, strict=True))) for b in range(size)]
    if isinstance(results[0], tuple):
        return tuple(tg.stack(list(column)) for column in zip(*results, strict=True))
    return tg.stack(results)


def table(a, b):
    return a.unsqueeze(1) * b


# a and b have shape (3,) for each sample
FAST = {
    "add": lambda a, b: a + b,
    "number": lambda a, b: 2 - a / 3 + 1.5 * b,
    "negative": lambda a, b: -a + abs(b),
    "broadcast": table,
    "scalar": lambda a, b: a[0] * b,
    "pow": lambda a, b: a**2,
    "function": lambda a, b: tg.exp(a) * b.tanh(),
    "comparison": lambda a, b: (a > b).sum(),
    "where": lambda a, b: tg.where(a > 0, a, b * 2),
    "maximum": tg.maximum,
    "float": lambda a, b: a.float(),
    "clone": lambda a, b: a.clone() + b.detach(),
    "sum": lambda a, b: a.sum(),
    "sum of dims": lambda a, b: table(a, b).sum((0, 1)),
    "sum keepdim": lambda a, b: table(a, b).sum(-1, keepdim=True),
    "mean": lambda a, b: table(a, b).mean(0),
    "amax": lambda a, b: table(a, b).amax(1),
    "max": lambda a, b: a.max(),
    "max of a dim": lambda a, b: tuple(table(a, b).max(1)),
    "argmax": lambda a, b: table(a, b).argmax(),
    "var": lambda a, b: table(a, b).var() + a.std(),
    "any": lambda a, b: (a > 0).any(),
    "softmax": lambda a, b: tg.softmax(a, 0) * tg.log_softmax(b, -1),
    "reshape": lambda a, b: table(a, b).reshape(-1),
    "view": lambda a, b: a.view(3, 1).view((1, -1)),
    "flatten": lambda a, b: table(a, b).flatten() + table(a, b).unsqueeze(0).flatten(1)[0],
    "squeeze": lambda a, b: a.unsqueeze(0).squeeze() + b.unsqueeze(-1).squeeze(-1),
    "transpose": lambda a, b: table(a, b).transpose(0, -1) + table(a, b).T + table(a, b).mT + table(a, b).t(),
    "permute": lambda a, b: table(a, b).unsqueeze(0).permute(2, 0, 1),
    "expand": lambda a, b: a.expand(2, 3),
    "select": lambda a, b: table(a, b).select(1, 0),
    "index": lambda a, b: a[1:] * b[-1] + table(a, b)[..., 0][:2],
    "new axis": lambda a, b: a[None, :, None],
    "iteration": lambda a, b: sum(row * row for row in a),
    "cat": lambda a, b: tg.cat([a, tg.ones(2).double(), b]),
    "stack": lambda a, b: tg.stack([a, b], -1),
    "dot": lambda a, b: a @ b,
    "matrix vector": lambda a, b: table(a, b) @ b,
    "vector matrix": lambda a, b: a @ table(a, b),
    "matrix matrix": lambda a, b: table(a, b) @ table(b, a),
    "constant matrix": lambda a, b: a @ tg.ones(3, 2).double(),
    "constant on the left": lambda a, b: tg.ones(2, 3).double() @ a,
    "linear": lambda a, b: F.linear(a, tg.ones(4, 3).double(), tg.ones(4).double()),
    "batched linear": lambda a, b: F.linear(a, table(a, b), b),
    "gather": lambda a, b: tg.gather(a, 0, b.argmax(0, keepdim=True)),
    "mse": F.mse_loss,
    "mse sum": lambda a, b: F.mse_loss(a, b, reduction="sum"),
    "layer_norm": lambda a, b: F.layer_norm(a, (3,)) + F.layer_norm(b, (3,), a, b),
    "cross_entropy": lambda a, b: F.cross_entropy(table(a, b), tg.tensor([0, 2, 1])),
    "cross_entropy of one": lambda a, b: F.cross_entropy(a, b.argmax()),
    "relu": lambda a, b: F.relu(a),
    "structure": lambda a, b: (a, b * 2),
    "constant": lambda a, b: tg.ones(2) + a.float()[0],
    "in place": lambda a, b: (a * 1).add_(b).mul_(2),
}
SLOW = {
    "index by sample": lambda a, b: a[b.argmax()],
    "mean over all, kept": lambda a, b: table(a, b).mean(keepdim=True),
}


@pytest.mark.parametrize("dims", [(0, 0), (0, None), (None, 0)], ids=["both", "first", "second"])
@pytest.mark.parametrize("name", FAST)
def test_rules(name, dims, monkeypatch):
    """All samples at once, and as if one after another; so is the gradient."""
    if name == "in place" and dims[0] is None:
        pytest.skip("would write into what is the same for all samples")
    function, rtol = FAST[name], 1e-6 if name in ("float", "constant") else 1e-10
    a, b = draw(4, 3), draw(4, 3, seed=1)
    samples = [(a if dims[0] == 0 else a[0]).requires_grad_(), (b if dims[1] == 0 else b[1]).requires_grad_()]
    want = loop(function, samples, dims)
    monkeypatch.setattr(_batched, "each_sample", lambda *args: pytest.fail(f"no rule: {args[0]}"))
    got = vmap(function, in_dims=dims)(*samples)
    same(got, want)
    pairs = [
        (g, w)
        for g, w in zip(*((r if isinstance(r, tuple) else (r,)) for r in (got, want)), strict=True)
        if w.requires_grad
    ]
    if pairs:
        seeds = [draw(*w.shape, seed=3).to(w.dtype) for _, w in pairs]
        same(
            tg.autograd.grad([g for g, _ in pairs], samples, seeds, materialize_grads=True),
            tg.autograd.grad([w for _, w in pairs], samples, seeds, materialize_grads=True),
            rtol,
        )


@pytest.mark.parametrize("name", SLOW)
def test_without_rules(name):
    a, b = draw(4, 3), draw(4, 3, seed=1)
    same(vmap(SLOW[name])(a, b), loop(SLOW[name], (a, b), (0, 0)))


def test_dims():
    x = draw(3, 4)
    same(vmap(lambda a: a * 2, in_dims=1, out_dims=1)(x), x * 2)
    same(vmap(lambda a: (a * 2, a.sum()), in_dims=-1, out_dims=(-1, 0))(x), (x * 2, x.sum(0)))
    same(vmap(lambda a, b: a["k"] + b[0] * b[1], in_dims=({"k": 0}, (0, None)))({"k": x}, (x, x[0])), x + x * x[0])
    same(vmap(lambda a, n: a**n, in_dims=(0, None))(x, 2), x**2)
    same(vmap(lambda a, *, scale: a * scale)(x, scale=tg.arange(3)), x * tg.arange(3).unsqueeze(1))
    same(vmap(lambda a: x[0])(x), tg.stack([x[0]] * 3))
    same(vmap(lambda a: x[0], out_dims=None)(x), x[0])
    same(vmap(lambda a: {"s": a.sum()})(x), {"s": x.sum(1)})
    for size in (1, 2, 3, 10):
        same(vmap(lambda a: (a * 2, a.sum()), out_dims=(1, 0), chunk_size=size)(x), ((x * 2).t(), x.sum(1)))


def test_refuses():
    x = draw(3, 4)
    with pytest.raises(ValueError, match="one size"):
        vmap(lambda a, b: a)(x, x[:2])
    with pytest.raises(ValueError, match="None in in_dims"):
        vmap(lambda a, b: a)(x, 3.0)
    with pytest.raises(ValueError, match="in_dims"):
        vmap(lambda a: a, in_dims=2)(x)
    with pytest.raises(ValueError, match="structure"):
        vmap(lambda a: a, in_dims=(0, 0))(x)
    with pytest.raises(ValueError, match="mapped"):
        vmap(lambda a: a, in_dims=None)(x)
    with pytest.raises(ValueError, match="tensors"):
        vmap(lambda a: 3)(x)
    with pytest.raises(ValueError, match="out_dims"):
        vmap(lambda a: a, out_dims=None)(x)
    for read in (bool, float, int, lambda a: a.item(), lambda a: a.numpy(), lambda a: a if a > 0 else -a):
        with pytest.raises(RuntimeError, match="vmap"):
            vmap(lambda a, read=read: read(a.sum()))(x)
    with pytest.raises(RuntimeError, match="vmap"):
        vmap(lambda a: tg.zeros(4).double().add_(a))(x)
    with pytest.raises(ValueError, match="randomness"):
        vmap(lambda a: a, randomness="some")
    with pytest.raises((RuntimeError, ValueError)):
        vmap(lambda a: a @ tg.ones(3).double())(x)
    assert not _batched.frames.running


def test_randomness():
    x = tg.ones(50, 20)
    for draws in (lambda a: F.dropout(a), lambda a: a * tg.rand(20)):
        with pytest.raises(RuntimeError, match="random"):
            vmap(draws)(x)
    different = vmap(lambda a: F.dropout(a), randomness="different")(x)
    assert len({tuple(row) for row in different.tolist()}) > 40
    for draws in (lambda a: F.dropout(a), lambda a: a * tg.rand(20)):
        same_rows = vmap(draws, randomness="same")(x)
        assert len({tuple(row) for row in same_rows.tolist()}) == 1
    same(vmap(lambda a: F.dropout(a, training=False))(x), x)


def test_nested():
    x, y = draw(4, 3), draw(5, 3, seed=1)
    outer = vmap(lambda a: vmap(lambda b: (a * b).sum() + a[0])(y))(x)
    same(outer, x @ y.T + x[:, :1])
    same(vmap(vmap(lambda a, b: a * b, in_dims=(0, None)), in_dims=(0, 0))(x, x[:, 0]), x * x[:, :1])
    three = vmap(lambda a: vmap(lambda b: vmap(lambda c: a @ b * c.exp())(y))(x))(x)
    same(three, (x @ x.T).unsqueeze(-1).unsqueeze(-1) * y.exp())


def test_gradient_of_every_sample():
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 5)).double()
    x, labels, params = draw(6, 3), tg.tensor([0, 4, 2, 2, 1, 3]), dict(model.named_parameters())

    def loss(p, x, label):
        return F.cross_entropy(tg.func.functional_call(model, p, x.unsqueeze(0)), label.unsqueeze(0))

    gradients = vmap(grad(loss), in_dims=(None, 0, 0))(params, x, labels)
    assert all(not g.requires_grad or True for g in gradients.values())
    for b in range(6):
        want = tg.autograd.grad(loss(params, x[b], labels[b]), list(params.values()))
        for (name, g), w in zip(gradients.items(), want, strict=True):
            same(g[b], w)
            assert tuple(g.shape) == (6, *params[name].shape)


def test_with_other_transforms():
    x, w = draw(4, 3), draw(2, 3, seed=1)

    def f(x):
        return (w @ x).tanh()

    def g(x):
        return f(x).sum()

    for one in (grad(g), hessian(g), jacrev(f), jacfwd(f), lambda x: jvp(f, (x,), (x * 2,))[1]):
        same(vmap(one)(x), loop(one, (x,), (0,)))
    _, pull = vjp(f, x[0])
    same(vmap(pull)(tg.eye(2).double()), (jacrev(f)(x[0]),))
    same(vmap(lambda t: jvp(f, (x[0],), (t,))[1], out_dims=1)(tg.eye(3).double()), jacfwd(f)(x[0]))
    same(grad(lambda x: vmap(g)(x).sum())(x), vmap(grad(g))(x))
    same(jacrev(vmap(g))(x), tg.stack([tg.stack([grad(g)(x[b]) * (a == b) for b in range(4)]) for a in range(4)]))
    same(vmap(lambda a: grad(lambda b: (a * b * b).sum())(w[0]))(x), 2 * x * w[0])
    same(
        vmap(lambda a: vmap(lambda b: grad(lambda c: (a * b * c * c).sum())(w[0]))(w))(x).sum(1),
        2 * x * w.sum(0) * w[0],
    )


def test_functions_with_gradients_of_their_own():
    class Cube(Function):
        @staticmethod
        def forward(ctx, x, k):
            ctx.save_for_backward(x)
            return x * x * x * k

        @staticmethod
        def backward(ctx, g):
            return 3 * ctx.saved_tensors[0] ** 2 * g, None

    x = draw(4, 3)
    same(vmap(lambda a: Cube.apply(a, 1.0).sum())(x), (x**3).sum(1))
    same(vmap(grad(lambda a: Cube.apply(a, 1.0).sum()))(x), 3 * x * x)


def test_plain_tensors_are_not_touched():
    """Calls that fail outside of vmap fail as before."""
    x = draw(3)
    with pytest.raises(TypeError):
        tg.exp("text")
    with pytest.raises(IndexError):
        x[10]
    with pytest.raises(TypeError):
        x.sum(dim="text")
    leaked = []
    vmap(lambda a: leaked.append(a) or a)(draw(2, 3))
    assert "Batched" in repr(leaked[0])
