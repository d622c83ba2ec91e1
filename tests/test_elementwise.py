"""Elementwise ops beyond the table: in-place forms, options, aliases, operators, functions that answer with a bool."""

from __future__ import annotations

import itertools
import operator

import numpy as np
import pytest

import tapegrad as tg
from graphs import same
from op_case import map_arrays
from op_cases import BY_NAME

IN_PLACE = sorted(n for n in BY_NAME if hasattr(tg.Tensor, n + "_") and n not in ("copy", "t", "dropout"))


def leaf(values, dtype=tg.float64):
    return tg.tensor(values, dtype=dtype, requires_grad=True)


def is_float_tensor(a):
    return isinstance(a, tg.Tensor) and a.is_floating_point()


def arguments(case, rng):
    """The arguments of a sample that an in-place form can take: the result has the shape of the first one."""
    for sample in case.samples(rng) or case.integers(rng):
        args = map_arrays(tg.tensor, list(sample.args))
        if args[0].numel() > 1 and case(tg, *args, **sample.kwargs).shape == args[0].shape:
            return args, sample.kwargs
    raise AssertionError("no such sample")


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_forms(name, rng):
    """The tensor itself with the values of the out-of-place form, and a new version."""
    case = BY_NAME[name]
    (x, *rest), kwargs = arguments(case, rng)
    want = case(tg, x, *rest, **kwargs)
    y, version = x.clone(), x._version
    assert getattr(y, name + "_")(*rest, **kwargs) is y
    assert y.dtype == x.dtype and y._version > version
    np.testing.assert_array_equal(y.numpy(), want.to(x.dtype).numpy())


@pytest.mark.parametrize("name", [n for n in IN_PLACE if BY_NAME[n].differentiable])
def test_gradients_of_in_place_forms(name, rng):
    """Those of the out-of-place form, also where the op needs what it overwrote."""
    case = BY_NAME[name]
    args, kwargs = arguments(case, rng)
    grads = []

    def apart(x, *rest):
        return case(tg, x, *rest, **kwargs)

    def in_place(x, *rest):
        return getattr(x, name + "_")(*rest, **kwargs)

    for form in (apart, in_place):
        leaves = [a.detach().clone().requires_grad_() if is_float_tensor(a) else a for a in args]
        y = form(leaves[0] * 1, *leaves[1:])
        (y * y).sum().backward()
        grads.append([a.grad.numpy() for a in leaves if is_float_tensor(a)])
    for a, b in zip(*grads, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_in_place_forms_refuse_other_dtypes_and_shapes():
    t = tg.arange(3)
    for write in (lambda: t.exp2_(), lambda: t.clamp_(min=0.5), lambda: t.floor_divide_(2.5), lambda: t.atan2_(t),
                  lambda: t.addcmul_(tg.ones(3), tg.ones(3)), lambda: t.add_(t, alpha=0.5)):  # fmt: skip
        with pytest.raises((ValueError, TypeError, RuntimeError), match="int"):
            write()
    for write in (
        lambda: t.logical_and_(tg.ones(2, 3)),
        lambda: t.clamp_(tg.ones(2, 3).long()),
        lambda: t.eq_(tg.ones(2, 3)),
    ):
        with pytest.raises((ValueError, RuntimeError), match=r"\(2, 3\)"):
            write()
    x = leaf([1.0, 2.0])
    for write in (lambda: x.clamp_(0, 1), lambda: x.frac_(), lambda: x.lerp_(x, 0.5), lambda: x.eq_(1)):
        with pytest.raises(RuntimeError, match="leaf"):
            write()
    assert t.tolist() == [0, 1, 2] and x.tolist() == [1, 2]
    assert t.eq_(1).tolist() == [0, 1, 0] and t.dtype == tg.int64


def test_in_place_with_operands_on_the_same_memory():
    t = tg.arange(6).float()
    t[1:].addcmul_(t[:-1], t[:-1])
    assert t.tolist() == [0, 1, 3, 7, 13, 21]
    t = tg.arange(4).float()
    t.clamp_(t.flatten()[1:2].clone(), t.reshape(2, 2).flatten()[-1:] - 1)
    assert t.tolist() == [1, 1, 2, 2]
    t.addcmul_(t, t, value=-1)
    assert t.tolist() == [0, 0, -2, -2]
    t.lerp_(t, 0.25)
    assert t.tolist() == [0, 0, -2, -2]


ALIASES = {
    "absolute": "abs", "negative": "neg", "multiply": "mul", "subtract": "sub", "divide": "div", "true_divide": "div",
    "clip": "clamp", "fix": "trunc", "sgn": "sign", "arcsin": "asin", "arccos": "acos", "arctan": "atan",
    "arctan2": "atan2", "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh", "greater": "gt",
    "greater_equal": "ge", "less": "lt", "less_equal": "le", "not_equal": "ne",
}  # fmt: skip


@pytest.mark.parametrize("alias", ALIASES)
def test_aliases(alias):
    name = ALIASES[alias]
    x = tg.tensor([1.0, 1.5, 3.0]) if "cosh" in name else tg.tensor([-0.5, 0.0, 0.5])
    rest = (0.25,) if name in ("mul", "sub", "div", "clamp", "atan2", "gt", "ge", "lt", "le", "ne") else ()
    for owner in (tg, tg.Tensor):
        got, want = getattr(owner, alias)(x, *rest), getattr(owner, name)(x, *rest)
        assert got.dtype == want.dtype and got.tolist() == want.tolist()
    assert getattr(x.clone(), alias + "_")(*rest).tolist() == getattr(x.clone(), name + "_")(*rest).tolist()
    assert getattr(tg, alias).__name__ == alias and alias not in tg._core.op_names()


BITS = ("and_", "or_", "xor")
PLAIN = itertools.product(("floordiv", "mod", "divmod", "pow"), (tg.float32, tg.float64, tg.int64, tg.int32))
OPERATORS = [
    *PLAIN,
    ("matmul", tg.float32),
    *itertools.product(BITS, (tg.bool, tg.int64, tg.int32)),
]


@pytest.mark.parametrize(("op", "dtype"), OPERATORS)
def test_operators(op, dtype):
    """Python's operators with tensors and numbers on either side, and their in-place forms, against NumPy."""
    f = divmod if op == "divmod" else getattr(operator, op)
    a, b = tg.tensor([[7, 3], [5, 1]]).to(dtype), tg.tensor([[2, 3], [4, 1]]).to(dtype)
    number = {tg.bool: True}.get(dtype, 2)
    pairs = [(a, b)] if op == "matmul" else [(a, b), (a, number), (number, b)]
    for x, y in pairs:
        want = f(*(np.asarray(v, dtype=a.numpy().dtype) for v in (x, y)))
        got = f(x, y)
        for g, w in zip(got, want, strict=True) if op == "divmod" else [(got, want)]:
            assert g.dtype == dtype
            np.testing.assert_allclose(g.numpy(), w, rtol=1e-6)
    if op not in ("divmod", "matmul"):
        before = a
        a = getattr(operator, "i" + op.rstrip("_"))(a, b)
        assert a is before
        np.testing.assert_allclose(a.numpy(), f(np.array([[7, 3], [5, 1]], a.numpy().dtype), b.numpy()), rtol=1e-6)


def test_operators_refuse_what_they_do_not_know():
    t = tg.ones(2)
    for f in (operator.floordiv, operator.mod, divmod):
        for other in ("a", None, [1], object()):
            with pytest.raises(TypeError):
                f(t, other)
            with pytest.raises(TypeError):
                f(other, t) if other != "a" or f is not operator.mod else f(None, t)
    assert (5.5 // tg.tensor([2.0, -2.0])).tolist() == [2, -3] and (-5 % tg.tensor([3, -3])).tolist() == [1, -2]
    assert (~tg.tensor([True, False])).tolist() == [False, True] and (~tg.tensor([0, 5])).tolist() == [-1, -6]


def test_sums_with_a_factor():
    x, y = leaf([1.0, 2.0]), leaf([[3.0, 4.0], [5.0, 6.0]])
    z = tg.add(x, y, alpha=0.5) + tg.sub(y, x, alpha=3)
    same(z, [[1 + 1.5 + 3 - 3, 2 + 2 + 4 - 6], [1 + 2.5 + 5 - 3, 2 + 3 + 6 - 6]])
    z.sum().backward()
    same(x.grad, [2 - 6, 2 - 6])
    same(y.grad, np.full((2, 2), 1.5))
    assert tg.tensor([1, 2]).add(tg.tensor([3, 4]), alpha=2).tolist() == [7, 10]
    assert tg.tensor([1, 2], dtype=tg.uint8).sub(1, alpha=2).tolist() == [255, 0]
    assert tg.tensor([True]).add(tg.tensor([False]), alpha=1).tolist() == [True]
    assert tg.tensor([1.0]).sub_(tg.tensor([4]), alpha=0.25).tolist() == [0]
    for bad in ({"alpha": 0.5}, {"alpha": tg.ones(2)}, {"alpha": "a"}, {"alpha": None}):
        with pytest.raises((ValueError, TypeError), match="alpha"):
            tg.add(tg.tensor([1, 2]), tg.tensor([3, 4]), **bad)
    with pytest.raises((ValueError, RuntimeError), match=r"add.*\(2,?\).*\(3,?\)"):
        tg.add(tg.ones(2), tg.ones(3), alpha=2)


@pytest.mark.parametrize(("mode", "rounded"), [("trunc", np.trunc), ("floor", np.floor)])
def test_division_with_rounding(mode, rounded, rng):
    a, b = rng.uniform(-9, 9, (3, 4)), rng.uniform(0.5, 3, 4) * [1, -1, 1, -1]
    x, y = leaf(a.tolist()), leaf(b.tolist())
    z = tg.div(x, y, rounding_mode=mode)
    same(z, rounded(a / b))
    z.sum().backward()
    assert (x.grad == 0).all() and (y.grad == 0).all()
    for dtype in (tg.int64, tg.int32):
        i, j = tg.tensor([7, -7, 6, -6], dtype=dtype), tg.tensor([2, 2, -3, 4], dtype=dtype)
        got = i.div(j, rounding_mode=mode)
        assert got.dtype == dtype and got.tolist() == rounded(np.array([3.5, -3.5, -2, -1.5])).tolist()
        assert i.clone().div_(j, rounding_mode=mode).tolist() == got.tolist()
    with pytest.raises(RuntimeError, match="zero"):
        tg.tensor([1]).div(0, rounding_mode=mode)
    with pytest.raises(ValueError, match=r"rounding_mode.*nearest"):
        tg.div(x, y, rounding_mode="nearest")


def test_rounding_to_decimals_in_place():
    x = leaf([1.26, -3.14])
    y = x * 1
    assert y.round_(decimals=1) is y
    same(y, [1.3, -3.1])
    y.sum().backward()
    assert x.grad.tolist() == [0, 0]
    assert tg.tensor([12.0]).round(decimals=-1).item() == 10
    with pytest.raises(ValueError, match="int64"):
        tg.arange(3).round(decimals=1)


def test_powers():
    """Exponents and bases with a way of their own give what the general power gives."""
    for dtype in (tg.float32, tg.float64):
        x = tg.tensor([0.3, 1.7, 4.0], dtype=dtype, requires_grad=True)
        for c in (2, 3, 0.5, -0.5, -1, 1, 0, 2.5):
            x.grad = None
            (x**c).sum().backward()
            np.testing.assert_allclose((x**c).detach().numpy(), x.detach().numpy() ** c, rtol=4e-7)
            np.testing.assert_allclose(x.grad.numpy(), c * x.detach().numpy() ** (c - 1.0), rtol=4e-7)
        for base in (2, 2.0, 3, 0.5):
            x.grad = None
            y = tg.pow(base, x)
            y.sum().backward()
            assert y.dtype == dtype and (base**x).tolist() == y.tolist()
            np.testing.assert_allclose(y.detach().numpy(), base ** x.detach().numpy(), rtol=4e-7)
            np.testing.assert_allclose(x.grad.numpy(), np.log(base) * base ** x.detach().numpy(), rtol=4e-7)
    assert tg.pow(2, tg.tensor([1, 3])).tolist() == [2, 8] and tg.remainder(7, tg.tensor([4])).tolist() == [3]


def test_where_in_all_its_forms():
    condition = tg.tensor([[True, False], [False, True]])
    x = leaf([1.0, 2.0])
    y = x.where(condition, -x)
    same(y, [[1, -2], [-1, 2]])
    y.sum().backward()
    same(x.grad, [0, 0])
    assert tg.where(condition, 1, 2).tolist() == [[1, 2], [2, 1]]
    assert x.where(condition, 0.5).dtype == tg.float64
    rows, columns = tg.where(condition)
    assert rows.tolist() == [0, 1] and columns.tolist() == [0, 1] and rows.dtype == tg.int64
    assert [p.tolist() for p in tg.where(tg.tensor([0.0, 3.0]))] == [[1]]
    assert [p.tolist() for p in tg.where(tg.tensor(5))] == [[0]]
    with pytest.raises((TypeError, ValueError), match="where"):
        tg.where(condition, x)


def test_equal_and_allclose():
    a = tg.tensor([[1.0, float("nan")]])
    assert tg.equal(a[:, :1], a[:, :1]) is True and a.equal(a) is False and tg.equal(a, a[0]) is False
    assert tg.equal(tg.zeros(0), tg.zeros(0)) and tg.equal(tg.tensor([1.0]), tg.tensor([1]))
    assert tg.allclose(a, a) is False and tg.allclose(a, a, equal_nan=True) is True
    assert tg.allclose(tg.ones(3), tg.ones(3) + 1e-6) and not tg.allclose(tg.ones(3), tg.ones(3) + 1e-6, rtol=1e-7)
    with pytest.raises(TypeError):
        tg.equal(a, None)
    for function in (lambda t: tg.equal(t, t), lambda t: tg.allclose(t, t)):
        with pytest.raises(tg.CaptureError):
            tg.compile(function)(a)


def test_floor_divide_is_pytorchs(rng):
    torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
    values = np.array([0.0, -0.0, 1, -1, 0.5, -7, 3e38, 1e-30, np.inf, -np.inf, np.nan, 88])
    floats = [(values[:, None].astype(d), values.astype(d)) for d in ("float32", "float64")]
    integers = [
        (rng.randint(-99, 99, (9, 9)).astype(d), rng.randint(1, 9, 9).astype(d)) for d in ("int32", "int64", "uint8")
    ]
    for a, b in floats + integers:
        got, want = tg.tensor(a) // tg.tensor(b), torch.tensor(a) // torch.tensor(b)
        assert str(got.dtype).split(".")[-1] == str(want.dtype).split(".")[-1]
        np.testing.assert_array_equal(got.numpy(), want.numpy())
        np.testing.assert_array_equal(np.copysign(1, got.numpy())[got == got], np.copysign(1, want.numpy())[got == got])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_remainders_of_any_size_are_exact(dtype, rng):
    """Quotients small and huge, divisors of any magnitude."""
    a = (rng.choice([-1, 1], 4000) * np.exp(rng.uniform(-60, 60, 4000))).astype(dtype)
    b = (rng.choice([-1, 1], 4000) * np.exp(rng.uniform(-60, 60, 4000))).astype(dtype)
    for divisor in (b, (a / np.round(np.exp(rng.uniform(0, 18, 4000)))).astype(dtype), np.array(0.1, dtype)):
        np.testing.assert_array_equal(tg.fmod(tg.tensor(a), tg.tensor(divisor)).numpy(), np.fmod(a, divisor))
