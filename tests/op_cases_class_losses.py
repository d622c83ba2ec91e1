"""Cases of the losses of class labels."""

from __future__ import annotations

import numpy as np

from op_case import Bad, Case, S
from op_cases_losses import REDUCTIONS, A, function, reduced
from op_cases_nn import log_softmax


def cross_entropy(x, target, reduction="mean", weight=None, ignore_index=-100, label_smoothing=0.0, logs=log_softmax):
    dim = 0 if x.ndim == 1 else 1
    classes = x.shape[dim]
    logp = logs(x, dim)
    w = np.ones(classes) if weight is None else A(weight)
    along = [1] * x.ndim
    along[dim] = classes
    if target.dtype.kind == "f":
        smooth = target * (1 - label_smoothing) + label_smoothing / classes
        return reduced(-np.sum(smooth * logp * w.reshape(along), dim), reduction)
    counts = target != ignore_index
    safe = np.where(counts, target, 0)
    picked = np.take_along_axis(logp, np.expand_dims(safe, dim), dim).squeeze(dim)
    each = -(1 - label_smoothing) * picked * w[safe]
    if label_smoothing:
        each = each - np.sum(logp * w.reshape(along), dim) * label_smoothing / classes
    each = np.where(counts, each, 0)
    return np.sum(each) / np.sum(np.where(counts, w[safe], 0)) if reduction == "mean" else reduced(each, reduction)


def entropy_samples(rng):
    sizes = [(5, 3), (1, 4), (256, 10), (7, 1000)]
    return [
        *(S(rng.randn(n, c), rng.randint(0, c, n), reduction=r) for n, c in sizes for r in REDUCTIONS),
        S(rng.randn(5, 3), rng.randint(0, 3, 5)),
        S(rng.randn(4), A(2)),
        S(1e3 + rng.randn(6, 4), rng.randint(0, 4, 6)),
        S(200 * rng.randn(6, 4), rng.randint(0, 4, 6)),
        S(rng.randn(2, 3, 4), rng.randint(0, 3, (2, 4)), reduction="none"),
        *soft_samples(rng),
        *(
            S(rng.randn(6, 3), A([0, -100, 2, 1, -100, 1]), reduction=r, **extra)
            for r in REDUCTIONS
            for extra in (
                {},
                {"weight": [0.5, 2.0, 0.0]},
                {"label_smoothing": 0.2},
                {"weight": [0.5, 2.0, 1.0], "label_smoothing": 0.2},
            )
        ),
        S(rng.randn(2, 3, 4), rng.randint(0, 3, (2, 4)), ignore_index=1),
        S(rng.randn(2, 3, 4), rng.randint(0, 3, (2, 4)), weight=[0.5, 2.0, 1.0], ignore_index=1, label_smoothing=0.1),
        S(rng.randn(3), A(2), weight=[0.5, 2.0, 1.0]),
    ]


def soft_samples(rng):
    """Targets of probabilities."""
    rows = rng.dirichlet(np.ones(3), 5)
    return [
        *(S(rng.randn(5, 3), rows, reduction=r) for r in REDUCTIONS),
        S(rng.randn(5, 3), rows, weight=[0.5, 2.0, 1.0], label_smoothing=0.2),
        S(rng.randn(3), rows[0]),
        S(rng.randn(2, 3, 4), np.moveaxis(rng.dirichlet(np.ones(3), (2, 4)), -1, 1), reduction="sum"),
    ]


def nll_samples(rng):
    logp = log_softmax(rng.randn(6, 3), 1)
    return [
        *(
            S(logp, A([0, -100, 2, 1, -100, 1]), reduction=r, **extra)
            for r in REDUCTIONS
            for extra in ({}, {"weight": [0.5, 2.0, 1.0]})
        ),
        S(logp[0], A(1)),
        S(rng.randn(2, 3, 4), rng.randint(0, 3, (2, 4)), ignore_index=0, weight=[0.5, 2.0, 1.0]),
    ]


def class_errors(name):
    def call(T, *args, **kwargs):
        return getattr(T.nn.functional, name)(*args, **kwargs)

    return (
        Bad(lambda T: call(T, T.ones(2, 3), T.tensor([0, 3])), ("3",)),
        Bad(lambda T: call(T, T.ones(2, 3), T.tensor([0, -1])), ("-1",)),
        Bad(lambda T: call(T, T.ones(2, 3), T.tensor([0, 1, 2])), ("(2, 3)", "(3)")),
        Bad(lambda T: call(T, T.ones(2, 3), T.ones(2)), ("float32",)),
        Bad(lambda T: call(T, T.ones(2, 3), T.tensor([0, 1]), reduction="avg"), ("avg",)),
        Bad(lambda T: call(T, T.arange(6).reshape(2, 3), T.tensor([0, 1])), ("int64",)),
        Bad(lambda T: call(T, T.ones(2, 3), T.tensor([0, 1]), weight=T.ones(2)), ("weight", "(3)", "(2)")),
    )


def multi_margin_loss(x, t, p=1, margin=1.0, weight=None, reduction="mean"):
    rows, t = np.atleast_2d(x), np.atleast_1d(t)
    terms = np.maximum(0, margin - np.take_along_axis(rows, t[:, None], 1) + rows) ** p
    terms[np.arange(len(t)), t] = 0
    each = terms.sum(1) / rows.shape[1] * (1 if weight is None else A(weight)[t])
    return reduced(each.reshape(x.shape[:-1]), reduction)


def multi_margin_samples(rng):
    return [
        *(
            S(rng.randn(6, 3), rng.randint(0, 3, 6), reduction=r, **extra)
            for r in REDUCTIONS
            for extra in ({}, {"p": 2, "margin": 0.7}, {"weight": [0.5, 2.0, 1.0]})
        ),
        S(rng.randn(4), A(1)),
    ]


CASES = [
    Case(
        "cross_entropy",
        entropy_samples,
        cross_entropy,
        fn=function("cross_entropy"),
        ulp=8,
        absolute=8,
        why="log_softmax and a mean",
        errors=(
            *class_errors("cross_entropy"),
            Bad(lambda T: T.nn.functional.cross_entropy(T.ones(2, 3), T.tensor([0, 1]), label_smoothing=1.5), ("1.5",)),
            Bad(lambda T: T.nn.functional.cross_entropy(T.ones(2, 3), T.ones(2, 3), ignore_index=1), ("ignore_index",)),
        ),
    ),
    Case(
        "nll_loss",
        nll_samples,
        lambda x, t, **extra: cross_entropy(x, t, **extra, logs=lambda x, dim: x),
        fn=function("nll_loss"),
        ulp=8,
        why="products and a sum of positive terms",
        errors=class_errors("nll_loss")[:5],
    ),
    Case(
        "multi_margin_loss",
        multi_margin_samples,
        multi_margin_loss,
        fn=function("multi_margin_loss"),
        ulp=8,
        absolute=4,
        why="differences and a sum",
        errors=(
            *class_errors("multi_margin_loss")[:5],
            Bad(lambda T: T.nn.functional.multi_margin_loss(T.ones(2, 3), T.tensor([0, 1]), p=3), ("p",)),
        ),
    ),
]
