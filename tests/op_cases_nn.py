"""Cases of softmax, the losses and dropout."""

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


def reduced(values, reduction):
    return {"none": values, "sum": np.sum(values), "mean": np.sum(values) / max(values.size, 1)}[reduction]


def cross_entropy(x, target, reduction="mean"):
    rows = np.atleast_2d(x)
    picked = np.take_along_axis(log_softmax(rows, -1), np.atleast_1d(target)[:, None], axis=-1)[:, 0]
    return reduced(-picked.reshape(np.shape(target)), reduction)


def entropy_samples(rng):
    sizes = [(5, 3), (1, 4), (256, 10), (7, 1000)]
    samples = [S(rng.randn(n, c), rng.randint(0, c, n), reduction=r) for n, c in sizes for r in ("mean", "sum", "none")]
    return [
        *samples,
        S(rng.randn(5, 3), rng.randint(0, 3, 5)),
        S(rng.randn(4), A(2)),
        S(1e3 + rng.randn(6, 4), rng.randint(0, 4, 6)),
        S(200 * rng.randn(6, 4), rng.randint(0, 4, 6)),
    ]


def mse_loss(input, target, reduction="mean"):
    return reduced((input - target) ** 2, reduction)


def mse_samples(rng):
    shapes = [(), (5,), (3, 4), (2, 3, 4), (0, 3), (300, 10)]
    pairs = [S(A(rng.randn(*s)), A(rng.randn(*s)), reduction=r) for s in shapes for r in ("sum", "none")]
    return pairs + [S(A(rng.randn(*s)), A(rng.randn(*s))) for s in shapes if 0 not in s]


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
        "cross_entropy",
        entropy_samples,
        cross_entropy,
        ulp=8,
        absolute=8,
        why="log_softmax and a mean",
        errors=(
            Bad(lambda T: T.nn.functional.cross_entropy(T.ones(2, 3), T.tensor([0, 3])), ("3",)),
            Bad(lambda T: T.nn.functional.cross_entropy(T.ones(2, 3), T.tensor([0, -1])), ("-1",)),
            Bad(lambda T: T.nn.functional.cross_entropy(T.ones(2, 3), T.tensor([0, 1, 2])), ("(2, 3)", "(3)")),
            Bad(lambda T: T.nn.functional.cross_entropy(T.ones(2, 3), T.ones(2)), ("float32",)),
            Bad(lambda T: T.nn.functional.cross_entropy(T.ones(2, 3), T.tensor([0, 1]), reduction="avg"), ("avg",)),
            Bad(lambda T: T.nn.functional.cross_entropy(T.arange(6).reshape(2, 3), T.tensor([0, 1])), ("int64",)),
        ),
    ),
    Case(
        "mse_loss",
        mse_samples,
        mse_loss,
        ulp=8,
        absolute=2,
        why="a square and a sum of positive terms",
        errors=(
            Bad(lambda T: T.nn.functional.mse_loss(T.ones(4, 1), T.ones(4)), ("(4, 1)", "(4)"), ours_only=True),
            Bad(lambda T: T.nn.functional.mse_loss(T.ones(4), T.ones(1)), ("(4)", "(1)"), ours_only=True),
            Bad(lambda T: T.nn.functional.mse_loss(T.ones(4), T.ones(4), reduction="avg"), ("avg",)),
            Bad(lambda T: T.nn.functional.mse_loss(T.ones(4), 3.0), ours_only=True),
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
