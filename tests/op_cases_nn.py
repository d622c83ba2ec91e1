"""Cases of softmax, layer_norm and dropout."""

from __future__ import annotations

import numpy as np

from op_case import Bad, Case, S
from op_cases_reduce import dim_errors

A = np.asarray


def softmax(x, dim):
    with np.errstate(all="ignore"):
        e = np.exp(x - np.max(x, axis=dim, keepdims=True, initial=-np.inf))
        return e / np.sum(e, axis=dim, keepdims=True)


def log_softmax(x, dim):
    with np.errstate(all="ignore"):
        x = x - np.max(x, axis=dim, keepdims=True, initial=-np.inf)
        return x - np.log(np.sum(np.exp(x), axis=dim, keepdims=True))


def softmax_samples(rng):
    return [
        S(rng.randn(5), 0),
        S(rng.randn(3, 4), 1),
        S(rng.randn(3, 4), dim=0),
        S(rng.randn(2, 3, 4), dim=-2),
        S(A(rng.randn()), dim=0),
        S(rng.randn(0, 3), dim=1),
        S(rng.randn(3, 0), dim=1),
        S(5 * rng.randn(3, 5), dim=-1),
        S(rng.randn(40, 1000), dim=-1),
        S(1e4 + rng.randn(2, 7), dim=1),
    ]


def softmax_specials(rng):
    a = np.array([[1.0, -np.inf, 2.0], [np.nan, 1.0, 2.0], [-np.inf, -np.inf, -np.inf], [88.0, 89.0, 70.0]])
    return [S(a, dim=1)]


def layer_norm(x, normalized_shape, weight=None, bias=None, eps=1e-5):
    axes = tuple(range(x.ndim - len(normalized_shape), x.ndim))
    with np.errstate(all="ignore"):
        d = x - np.mean(x, axis=axes, keepdims=True) if x.size else x
        d = d - np.mean(d, axis=axes, keepdims=True) if x.size else x  # equal elements: exactly 0
        y = d / np.sqrt(np.mean(d * d, axis=axes, keepdims=True) + eps) if x.size else x
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def layer_norm_samples(rng):
    shapes = [
        ((5,), 1),
        ((3, 4), 1),
        ((2, 3, 4), 1),
        ((2, 3, 4), 2),
        ((3, 4), 2),
        ((0, 3), 1),
        ((3, 0), 1),
    ]
    shapes += [((3, 4), 2), ((300, 7), 1), ((37, 130), 1), ((5, 1027), 1), ((40, 6, 50), 2), ((3, 4097), 1)]

    def parameters(shape, k):
        normalized = shape[len(shape) - k :]
        return normalized, rng.randn(*normalized), rng.randn(*normalized)

    x, (n, w, b) = rng.randn(2, 5), parameters((2, 5), 1)
    return [
        *(S(rng.randn(*shape), *parameters(shape, k)) for shape, k in shapes),
        S(x, n),
        S(x, n, w),
        S(x, n, None, b),
        S(x, n, w, b, 0.1),
        S(x, n, w, b, eps=0.0),
        S(rng.randn(70, 33), (33,)),
        S(rng.randn(3, 1), (1,), rng.randn(1), rng.randn(1), grad=False),  # it is 0 but for rounding
        S(1e4 + rng.randn(6, 50), (50,), grad=False),  # the differences there are too rough
        S(-300 + 0.1 * rng.randn(3, 1000), (1000,), grad=False),
    ]


def layer_norm_specials(rng):
    return [S(np.array([[1.0, np.nan, 2.0], [np.inf, 1.0, 2.0], [7.0, 7.0, 7.0], [1e15, 2e15, -1e15]]), (3,))]


def bad_layer_norm(mentions, *args, **kw):
    """args: shapes of tensors of ones, normalized_shape as a list."""

    def call(T):
        return T.nn.functional.layer_norm(*(T.ones(*a) if isinstance(a, tuple) else a for a in args))

    return Bad(call, mentions, **kw)


def drop(x, p=0.5, training=True):
    """Only the cases that need no random numbers; test_random.py has the others."""
    return x * 0 if training and p == 1 else x


CASES = [
    Case(
        "softmax",
        softmax_samples,
        softmax,
        specials=softmax_specials,
        errors=dim_errors("softmax")[:4],
        ulp=24,
        why="the rounding of x - max, here up to 20 / 2 eps, is the relative error of exp; and a sum, a division",
    ),
    Case(
        "log_softmax",
        softmax_samples,
        log_softmax,
        specials=softmax_specials,
        errors=dim_errors("log_softmax")[:4],
        ulp=4,
        absolute=8,
        why="a difference of x - max and the log of a sum of exps",
    ),
    Case(
        "layer_norm",
        layer_norm_samples,
        layer_norm,
        fn=lambda T, *a, **k: T.nn.functional.layer_norm(*a, **k),
        specials=layer_norm_specials,
        ulp=8,
        absolute=8,
        why="the deviation, its product with rstd and the weight, each rounded; the bias may cancel it",
        errors=(
            bad_layer_norm(("(2, 3)", "(4)"), (2, 3), [4]),
            bad_layer_norm(("(2, 3)", "(1, 2, 3)"), (2, 3), [1, 2, 3]),
            bad_layer_norm(("()",), (2, 3), []),
            bad_layer_norm(("weight", "(2)", "(3)"), (2, 3), [3], (2,)),
            bad_layer_norm(("bias", "(1, 3)", "(3)"), (2, 3), [3], None, (1, 3)),
            Bad(lambda T: T.nn.functional.layer_norm(T.arange(6).reshape(2, 3), [3]), ("int64",)),
            Bad(
                lambda T: T.nn.functional.layer_norm(T.ones(2, 3), [3], T.ones(3, dtype=T.float64)),
                ("weight", "float32", "float64"),
            ),
            Bad(lambda T: T.nn.functional.layer_norm(T.ones(2, 3), [2.5])),
        ),
    ),
    Case(
        "dropout",
        lambda rng: (
            [S(rng.randn(3, 4), p=p) for p in (0.0, 1.0)] + [S(rng.randn(3, 4), 0.5, False), S(rng.randn(0, 3), 0.5)]
        ),
        drop,
        fn=lambda T, *a, **k: T.nn.functional.dropout(*a, **k),
        ulp=0,
        why="nothing, or everything, is dropped",
        errors=(
            Bad(lambda T: T.nn.functional.dropout(T.ones(2), p=1.5), ("1.5",)),
            Bad(lambda T: T.nn.functional.dropout(T.ones(2), p=-0.1), ("-0.1",)),
            Bad(lambda T: T.nn.functional.dropout(T.ones(2), p=float("nan")), ("nan",), ours_only=True),
        ),
    ),
]
