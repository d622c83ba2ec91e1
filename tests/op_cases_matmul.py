"""Cases of matmul and linear."""

from __future__ import annotations

import numpy as np

from op_case import Bad, Case, S

MATMUL_SHAPES = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 4)),
    ((2, 3), (3, 4)),
    ((1, 1), (1, 1)),
    ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)),
    ((5, 2, 3), (5, 3, 4)),
    ((1, 2, 3), (5, 3, 4)),
    ((4, 1, 2, 3), (5, 3, 2)),
    ((5, 2, 3), (3,)),
    ((3,), (5, 3, 2)),
    ((0, 3), (3, 2)),
    ((2, 0), (0, 3)),
    ((2, 3), (3, 0)),
    ((0,), (0,)),
    ((0, 2, 3), (3, 4)),
    ((33, 65), (65, 17)),
    ((15, 400), (400, 49)),
    ((1, 300), (300, 65)),
    ((70, 5), (5, 1)),
]
LINEAR_SHAPES = [
    ((2, 3), (4, 3), (4,)),
    ((2, 3), (4, 3), None),
    ((3,), (4, 3), (4,)),
    ((5, 2, 3), (4, 3), (4,)),
    ((0, 3), (4, 3), (4,)),
    ((2, 0), (4, 0), (4,)),
    ((33, 65), (17, 65), (17,)),
    ((256, 100), (40, 100), (40,)),
]
SUMS = {"ulp": 4.0, "absolute": 60.0, "why": "a sum of up to 400 products of normal numbers, in an order of its own"}


ACTIVATIONS = {
    None: lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}


def linear(x, weight, bias=None, *, activation=None):
    y = x @ weight.T
    return ACTIVATIONS[activation](y if bias is None else y + bias)


def linear_samples(rng):
    return [S(rng.randn(*x), rng.randn(*w), *([] if b is None else [rng.randn(*b)])) for x, w, b in LINEAR_SHAPES]


def activated_samples(rng):
    return [S(*s.args, activation=name) for name in ACTIVATIONS for s in linear_samples(rng)]


def nan_activated_samples(rng):
    x, w, b = rng.randn(5, 4), rng.randn(3, 4), rng.randn(3)
    x[1, 2], x[2, 0], w[2, 1] = np.nan, np.inf, -np.inf
    return [S(x, w, b, activation=name) for name in ACTIVATIONS]


def nan_samples(rng):
    a, b = rng.randn(5, 4), rng.randn(4, 3)
    a[1, 2], a[2, 0], b[3, 1] = np.nan, np.inf, -np.inf
    return [S(a, b)]


CASES = [
    Case(
        "matmul",
        samples=lambda rng: [S(rng.randn(*a), rng.randn(*b)) for a, b in MATMUL_SHAPES],
        ref=np.matmul,
        specials=nan_samples,
        integers=lambda rng: [
            S(*(rng.randint(0, 100, s).astype(d) for s in shapes))
            for d in ("int64", "int32", "uint8")
            for shapes in (
                ((2, 3), (3, 4)),
                ((3,), (3,)),
                ((5, 2, 3), (3, 4)),
                ((5, 2, 3), (1, 3, 2)),
                ((2, 0), (0, 3)),
            )
        ],
        errors=(
            Bad(lambda T: T.matmul(T.ones(2, 3), T.ones(2, 3)), ("(2, 3)",)),
            Bad(lambda T: T.matmul(T.ones(3), T.ones(4)), ("(3)", "(4)")),
            Bad(lambda T: T.matmul(T.ones(5, 2, 3), T.ones(4, 3, 2)), ("(5, 2, 3)", "(4, 3, 2)")),
            Bad(lambda T: T.matmul(T.tensor(1.0), T.ones(4)), ("()", "(4)")),
            Bad(lambda T: T.matmul(T.ones(2, 2), T.ones(2, 2).double()), ("float32", "float64")),
            Bad(lambda T: T.matmul(T.ones(2, 2).bool(), T.ones(2, 2).bool()), ("bool",)),
            Bad(lambda T: T.matmul(T.ones(2, 2), 3.0), ("float",)),
            Bad(lambda T: T.matmul(T.ones(2, 2))),
        ),
        **SUMS,
    ),
    Case(
        "linear",
        samples=linear_samples,
        ref=linear,
        errors=(
            Bad(lambda T: T.nn.functional.linear(T.ones(2, 3), T.ones(4, 5)), ("(2, 3)", "(4, 5)")),
            Bad(lambda T: T.nn.functional.linear(T.ones(2, 3), T.ones(4, 3), T.ones(5)), ("(5)",)),
            Bad(lambda T: T.nn.functional.linear(T.ones(2, 3), T.ones(4, 3).double()), ("float32", "float64")),
            Bad(
                lambda T: T.nn.functional.linear(T.ones(2, 3), T.ones(4, 3), activation="gelu"),
                ("'relu'", "'tanh'", "'sigmoid'", "'gelu'"),
            ),
        ),
        **SUMS,
    ),
    Case(
        "linear with an activation",
        fn=lambda T, *args, **kwargs: T.nn.functional.linear(*args, **kwargs),
        samples=activated_samples,
        ref=linear,
        specials=nan_activated_samples,
        parity=False,
        row=False,
        **SUMS,
    ),
]
