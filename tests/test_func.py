"""func: gradients and Jacobians of functions, against finite differences, formulas and PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import autograd, func, nn


def draw(*shape, seed=0):
    return tg.tensor(np.random.RandomState(seed).uniform(-1, 1, shape))


def same(tensor, values, rtol=1e-10):
    values = values.detach() if isinstance(values, tg.Tensor) else values
    np.testing.assert_allclose(np.asarray(tensor.detach()), np.asarray(values), rtol=rtol, atol=1e-12)


def f(x, y):
    return (x * x * y).sum()


X, Y = draw(4), draw(4, seed=1)


def test_grad():
    same(func.grad(f)(X, Y), 2 * X * Y)
    gx, gy = func.grad(f, argnums=(0, 1))(X, Y)
    same(gx, 2 * X * Y)
    same(gy, X * X)
    same(func.grad(f, argnums=-1)(X, Y), X * X)
    assert not func.grad(f)(X, Y).requires_grad and not X.requires_grad


def test_grad_with_aux_and_values():
    def g(x):
        return (x * x).sum(), {"twice": x * 2}

    gradient, aux = func.grad(g, has_aux=True)(X)
    same(gradient, 2 * X)
    same(aux["twice"], 2 * X)
    assert not aux["twice"].requires_grad
    value, gradient = func.value_and_grad(f)(X, Y)
    same(value, f(X, Y))
    gradient2, value2 = func.grad_and_value(f)(X, Y)
    same(gradient2, gradient)
    same(value2, value)
    (value, aux), gradient = func.value_and_grad(g, has_aux=True)(X)
    same(gradient, 2 * X)
    same(aux["twice"], 2 * X)


def test_structures():
    params = {"w": draw(3, 4), "b": [draw(3, seed=2)]}

    def loss(p, x):
        return (p["w"] @ x + p["b"][0]).square().sum()

    g = func.grad(loss)(params, X)
    residual = params["w"] @ X + params["b"][0]
    same(g["b"][0], 2 * residual)
    same(g["w"], 2 * residual.unsqueeze(1) * X)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_nested(n):
    g = lambda x: x**5  # noqa: E731
    want = 1.3**5
    for k in range(n):
        g, want = func.grad(g), want * (5 - k) / 1.3
    same(g(tg.tensor(1.3, dtype=tg.float64)), want)


def test_perturbations_are_not_confused():
    """d/dx (x d/dy (x + y)) is 1: the inner derivative is with respect to y alone."""
    one = tg.tensor(1.0, dtype=tg.float64)
    same(func.grad(lambda x: x * func.grad(lambda y: x + y)(one))(one), 1)
    same(func.grad(lambda x: x * func.grad(lambda y: x * y)(one))(tg.tensor(3.0, dtype=tg.float64)), 6)


def test_outer_gradients():
    """What the function closes over takes part in ordinary graphs: a gradient penalty."""
    w = draw(4, seed=3).requires_grad_()
    g = func.grad(lambda x: (x * w).square().sum())(X)
    assert g.requires_grad
    g.sum().backward()
    same(w.grad, 4 * X * w)
    x = draw(4).requires_grad_()
    func.grad(lambda x: (x**3).sum())(x).sum().backward()
    same(x.grad, 6 * x)
    with tg.no_grad():
        assert not func.grad(lambda x: (x * w).sum())(X).requires_grad


def test_grad_refuses():
    with pytest.raises(RuntimeError, match="without dimensions"):
        func.grad(lambda x: x * 2)(X)
    with pytest.raises(TypeError, match="float"):
        func.grad(lambda x: x.sum())(tg.arange(3))
    with pytest.raises(TypeError, match="tensors"):
        func.grad(lambda x: 3.0)(X)
    with pytest.raises(ValueError, match="argnums"):
        func.grad(f, argnums=2)(X, Y)
    with pytest.raises(TypeError, match="aux"):
        func.grad(f, has_aux=True)(X, Y)


def test_functions_that_ignore_their_argument():
    same(func.grad(lambda x: tg.ones(()).double())(X), np.zeros(4))
    same(func.jacrev(lambda x: Y)(X), np.zeros((4, 4)))
    same(func.jacfwd(lambda x: Y)(X), np.zeros((4, 4)))
    same(func.jvp(lambda x: Y, (X,), (X,))[1], np.zeros(4))
    same(func.hessian(lambda x: (x * Y).sum())(X), np.zeros((4, 4)))


def test_vjp():
    out, pull = func.vjp(lambda x, y: (x * y, x.sum()), X, Y)
    same(out[0], X * Y)
    assert not out[0].requires_grad
    for _ in range(2):
        gx, gy = pull((Y, tg.tensor(2.0, dtype=tg.float64)))
        same(gx, Y * Y + 2)
        same(gy, X * Y)
    with pytest.raises(RuntimeError, match="shapes"):
        pull((Y, Y))
    (g,) = func.vjp(lambda x: (x.exp(), "aux"), X, has_aux=True)[1](Y)
    same(g, X.exp() * Y)


def test_jvp():
    def g(x, y):
        return {"a": x.sin() * y, "b": (x * y).sum()}

    t, s = draw(4, seed=5), draw(4, seed=6)
    out, tangent = func.jvp(g, (X, Y), (t, s))
    same(out["a"], X.sin() * Y)
    same(tangent["a"], X.cos() * Y * t + X.sin() * s)
    same(tangent["b"], (t * Y + X * s).sum())
    assert not tangent["a"].requires_grad
    with pytest.raises(RuntimeError, match="shapes"):
        func.jvp(g, (X, Y), (t, s[:2]))
    with pytest.raises(TypeError, match="tuples"):
        func.jvp(g, X, t)


def vector(x):
    return tg.stack([x[0] * x[1], x[1].sin() * x[2], x.prod() if hasattr(x, "prod") else x[0] * x[1] * x[2] * x[3]])


@pytest.mark.parametrize("jacobian", [func.jacrev, func.jacfwd, lambda f: lambda x: autograd.functional.jacobian(f, x)])
def test_jacobian(jacobian):
    a, b, c, d = X.tolist()
    want = [[b, a, 0, 0], [0, np.cos(b) * c, np.sin(b), 0], [b * c * d, a * c * d, a * b * d, a * b * c]]
    same(jacobian(vector)(X), want)


def test_jacobians_of_structures():
    def g(x, y):
        return {"outer": x.unsqueeze(1) * y, "sum": (x * x).sum()}

    for jacobian in (func.jacrev, func.jacfwd):
        j = jacobian(g, argnums=(0, 1))(X, draw(2))
        assert tuple(j["outer"][0].shape) == (4, 2, 4) and tuple(j["outer"][1].shape) == (4, 2, 2)
        same(j["sum"][0], 2 * X)
        same(j["sum"][1], [0, 0])
        j, aux = jacobian(lambda x: (x * 2, x), has_aux=True)(X)
        same(j, 2 * np.eye(4))
        same(aux, X)
        assert tuple(jacobian(lambda x: x[:0])(X).shape) == (0, 4)
        assert tuple(jacobian(lambda x: x * 2)(X[:0]).shape) == (0, 0)


HESSIANS = {
    "hessian": func.hessian,
    "rev rev": lambda f: func.jacrev(func.jacrev(f)),
    "fwd rev": lambda f: func.jacfwd(func.jacrev(f)),
    "rev fwd": lambda f: func.jacrev(func.jacfwd(f)),
    "fwd fwd": lambda f: func.jacfwd(func.jacfwd(f)),
    "jac grad": lambda f: func.jacrev(func.grad(f)),
    "functional": lambda f: lambda x: autograd.functional.hessian(f, x),
}


@pytest.mark.parametrize("hessian", HESSIANS.values(), ids=HESSIANS)
def test_hessian(hessian):
    w = draw(5, 4, seed=7)
    z = (w @ X).numpy()
    want = np.einsum("k,ki,kj->ij", -2 * np.tanh(z) * (1 - np.tanh(z) ** 2), w.numpy(), w.numpy())
    same(hessian(lambda x: (w @ x).tanh().sum())(X), want)


def test_hessian_vector_product():
    v = draw(4, seed=8)
    g = lambda x: (x**4).sum() * x[0]  # noqa: E731
    full = func.hessian(g)(X) @ v
    same(func.jvp(func.grad(g), (X,), (v,))[1], full)
    same(func.grad(lambda x: (func.grad(g)(x) * v).sum())(X), full)


def test_functional_of_several_inputs():
    j = autograd.functional.jacobian(lambda x, y: x * y, (X, Y))
    same(j[0], np.diag(Y.numpy()))
    h = autograd.functional.hessian(f, (X, Y))
    same(h[0][1], np.diag(2 * X.numpy()))
    same(h[1][1], np.zeros((4, 4)))
    x = draw(4).requires_grad_()
    assert not autograd.functional.jacobian(lambda x: x * x, x).requires_grad
    j = autograd.functional.jacobian(lambda x: x * x, x, create_graph=True)
    j.sum().backward()
    same(x.grad, np.full(4, 2.0))
    same(autograd.functional.jacobian(lambda x: x * x, X, strategy="forward-mode"), np.diag(2 * X.numpy()))
    with pytest.raises(RuntimeError, match="one element"):
        autograd.functional.hessian(lambda x: x, X)
    with pytest.raises(ValueError, match="strategy"):
        autograd.functional.jacobian(f, (X, Y), strategy="sideways")


# functional_call


def test_functional_call():
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
    other = {name: p.detach() * 2 for name, p in model.named_parameters()}
    x = tg.randn(5, 4)
    before = model(x)
    got = func.functional_call(model, other, x)
    h = (x @ other["0.weight"].T + other["0.bias"]).tanh()
    same(got, h @ other["2.weight"].T + other["2.bias"], rtol=1e-5)
    same(model(x), before)
    assert all(isinstance(p, nn.Parameter) for p in model.parameters())
    gradients = func.grad(lambda p: func.functional_call(model, p, (x,)).square().mean())(
        dict(model.named_parameters())
    )
    model(x).square().mean().backward()
    for name, p in model.named_parameters():
        same(gradients[name], p.grad, rtol=1e-5)
    with pytest.raises(KeyError, match="nothing"):
        func.functional_call(model, {"nothing": x}, x)
    with pytest.raises(KeyError):
        func.functional_call(model, {"0.weight": x}, x, strict=True)
    with pytest.raises((RuntimeError, ValueError)):
        func.functional_call(model, {"0.weight": tg.ones(2, 2)}, x)
    same(model(x), before)


def test_functional_call_of_shared_parameters():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(3, 3, bias=False)
            self.b = nn.Linear(3, 3, bias=False)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(self.a(x))

    model, x, w = Tied(), tg.randn(2, 3), tg.randn(3, 3)
    same(func.functional_call(model, {"a.weight": w}, x), x @ w.T @ w.T, rtol=1e-5)
    same(func.functional_call(model, {"a.weight": w}, x, tie_weights=False), x @ w.T @ model.b.weight.T, rtol=1e-5)


def test_stacked_modules():
    models = [nn.Linear(3, 2) for _ in range(4)]
    params, buffers = func.stack_module_state(models)
    x = tg.randn(5, 3)
    out = func.vmap(lambda p: func.functional_call(models[0], (p, buffers), x))(params)
    for k, model in enumerate(models):
        same(out[k], model(x), rtol=1e-5)


def _wave(x, y):
    return x.sin() * y * y


@pytest.mark.parametrize(
    ("name", "f", "pairs"),
    [
        ("vjp", _wave, False),
        ("jvp", _wave, True),
        ("vhp", lambda x, y: _wave(x, y).sum(), True),
        ("hvp", lambda x, y: _wave(x, y).sum(), True),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_products_with_vectors_as_in_pytorch(name, f, pairs):
    """Of one input and of two; pairs: v has the inputs' shapes."""
    torch = pytest.importorskip("torch")

    def products(lib):
        product = getattr(lib.autograd.functional, name)
        x, y, v, w = (lib.tensor(a.numpy()) for a in (X, Y, X + 1, Y - 1))
        x.requires_grad_()
        value, one = product(lambda x: f(x, y), x, v)
        assert not one.requires_grad
        _, two = product(f, (x, y), (v, w) if pairs else v)
        _, again = product(lambda x: f(x, y), x, v, create_graph=True)
        (g,) = lib.autograd.grad(again.sum(), x)
        return [t.detach().numpy() for t in (value, one, *(two if isinstance(two, tuple) else (two,)), g)]

    for ours, theirs in zip(products(tg), products(torch), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)
    with pytest.raises(RuntimeError, match=f"{name}: v must be given"):
        getattr(tg.autograd.functional, name)(lambda x: f(x, Y), X)
