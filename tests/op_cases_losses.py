"""Cases of the losses that compare element with element, or rows."""

from __future__ import annotations

import numpy as np

from op_case import Bad, Case, S

A = np.asarray
SHAPES = [(), (5,), (3, 4), (2, 3, 4), (0, 3)]
REDUCTIONS = ("mean", "sum", "none")


def function(name, *given):
    """The function of nn.functional. Lists of numbers become tensors of the input's dtype, which need no gradient; so
    do the integers of the arguments whose positions are `given`."""

    def call(T, *args, **kwargs):
        def constant(value):
            return T.tensor(value, dtype=args[0].dtype) if isinstance(value, list) else value

        args = [a.to(args[0].dtype) if k in given and hasattr(a, "to") else a for k, a in enumerate(args)]
        return getattr(T.nn.functional, name)(*args, **{key: constant(value) for key, value in kwargs.items()})

    return call


def reduced(values, reduction):
    return {"none": values, "sum": np.sum(values), "mean": np.sum(values) / max(values.size, 1)}[reduction]


def shape_errors(name, *shapes):
    """Tensors of different shapes, and a reduction that does not exist."""

    def call(T, *args, **kwargs):
        return getattr(T.nn.functional, name)(*(T.ones(*s) for s in args), **kwargs)

    return (
        Bad(lambda T: call(T, (4, 1), (4,), *shapes), ("(4, 1)", "(4)"), ours_only=True),
        Bad(lambda T: call(T, (4,), (4,), *((4,) for _ in shapes), reduction="avg"), ("avg",)),
    )


def elementwise(name, ref, target, *settings, fn=None, inputs=None, others=(), **kw) -> Case:
    """A loss of input against target, with each of the settings; ref: the losses of the elements."""
    inputs = inputs or (lambda rng, shape: A(rng.randn(*shape)))

    def samples(rng):
        pairs = [
            S(A(inputs(rng, shape)), A(target(rng, shape)), **extra, reduction=r)
            for shape in SHAPES
            for extra in settings or ({},)
            for r in REDUCTIONS
            if (r != "mean" or 0 not in shape) and (shape or not any(isinstance(v, list) for v in extra.values()))
        ]
        return [*pairs, S(A(inputs(rng, (3, 4))), A(target(rng, (3, 4))))]

    kw = {"ulp": 8, "absolute": 4, "why": "a few roundings and a sum", "row": False, **kw}
    return Case(
        name,
        samples,
        lambda x, t, reduction="mean", **extra: reduced(ref(x, t, **extra), reduction),
        fn=fn or function(name),
        errors=(*shape_errors(name), *others),
        **kw,
    )


def normal(rng, shape):
    return rng.randn(*shape)


def apart(rng, shape):
    """Away from the kinks at 0.5, 1 and 2, seen from an input of zeros."""
    return rng.choice([-2.5, -1.6, -0.7, -0.3, 0.3, 0.7, 1.6, 2.5], shape) + rng.uniform(-0.1, 0.1, shape)


def zeros(rng, shape):
    return rng.uniform(-0.05, 0.05, shape)


def probabilities(rng, shape):
    return rng.uniform(0.1, 0.9, shape)


def signs(rng, shape):
    return rng.choice([-1, 1], shape)


def labels(rng, shape):
    return rng.randint(0, 2, shape)


def counts(rng, shape):
    return rng.randint(0, 9, shape)


def mse_loss(x, t, weight=None, reduction="mean"):
    if weight is None:
        return reduced((x - t) ** 2, reduction)
    losses = A(weight) * (x - t) ** 2
    return np.sum(losses) / np.sum(weight) if reduction == "mean" else reduced(losses, reduction)


def mse_samples(rng):
    shapes = [(), (5,), (3, 4), (2, 3, 4), (0, 3), (300, 10)]
    pairs = [S(A(rng.randn(*s)), A(rng.randn(*s)), reduction=r) for s in shapes for r in ("sum", "none")]
    weighted = [S(rng.randn(3), rng.randn(3), weight=[0.5, 2.0, 1.0], reduction=r) for r in REDUCTIONS]
    return weighted + pairs + [S(A(rng.randn(*s)), A(rng.randn(*s))) for s in shapes if 0 not in s]


def l1_loss(x, t):
    return np.abs(x - t)


def smooth_l1(x, t, beta=1.0):
    d = np.abs(x - t)
    return np.where(d < beta, d * d / (2 * beta) if beta else d, d - beta / 2)


def huber(x, t, delta=1.0, weight=None):
    d = np.abs(x - t)
    return np.where(d <= delta, d * d / 2, delta * (d - delta / 2)) * (1 if weight is None else A(weight))


def bce(x, t, weight=None):
    return -(t * np.log(x) + (1 - t) * np.log1p(-x)) * (1 if weight is None else A(weight))


def bce_with_logits(x, t, weight=None, pos_weight=None):
    positive = 1 if pos_weight is None else A(pos_weight)
    each = t * positive * np.logaddexp(0, -x) + (1 - t) * np.logaddexp(0, x)
    return each * (1 if weight is None else A(weight))


def kl_div(x, t, log_target=False):
    with np.errstate(all="ignore"):
        return np.exp(t) * (t - x) if log_target else np.where(t == 0, 0, t * np.log(np.where(t == 0, 1, t))) - t * x


def stirling(t):
    safe = np.where(t > 1, t, 1)
    return np.where(t > 1, safe * np.log(safe) - safe + 0.5 * np.log(2 * np.pi * safe), 0)


def poisson_nll(x, t, log_input=True, full=False, eps=1e-8):
    losses = np.exp(x) - t * x if log_input else x - t * np.log(x + eps)
    return losses + (stirling(t) if full else 0)


def hinge(x, t, margin=1.0):
    return np.where(t == 1, x, np.maximum(0, margin - x))


def gaussian_nll(x, t, var, full=False, eps=1e-6, reduction="mean"):
    var = np.maximum(var[..., None] if np.ndim(var) == x.ndim - 1 else var, eps)
    return reduced(0.5 * (np.log(var) + (x - t) ** 2 / var) + (0.5 * np.log(2 * np.pi) if full else 0), reduction)


def gaussian_samples(rng):
    return [
        *(
            S(rng.randn(3, 4), rng.randn(3, 4), rng.uniform(0.2, 2, s), reduction=r, full=r == "sum")
            for s in ((3, 4), (3,), (3, 1), (1, 4))
            for r in REDUCTIONS
        ),
        S(rng.randn(5), rng.randn(5), A([0.0, 1e-9, 1.0, 2.0, 0.5]), eps=1e-2, grad=False),
    ]


def ranking(x, y, t, margin=0.0, reduction="mean"):
    return reduced(np.maximum(0, -t * (x - y) + margin), reduction)


def ranking_samples(rng):
    return [
        S(zeros(rng, (3, 4)), apart(rng, (3, 4)), signs(rng, (3, 4)), reduction=r, margin=m)
        for r in REDUCTIONS
        for m in (0.0, 1.1)
    ]


def cosine_embedding(x, y, t, margin=0.0, reduction="mean"):
    cos = np.sum(x * y, -1) / np.sqrt((np.sum(x * x, -1) + 1e-12) * (np.sum(y * y, -1) + 1e-12))
    return reduced(np.where(t == 1, 1 - cos, np.maximum(0, cos - margin)), reduction)


def cosine_samples(rng):
    return [
        *(
            S(rng.randn(6, 3), rng.randn(6, 3), signs(rng, 6), reduction=r, margin=m)
            for r in REDUCTIONS
            for m in (0.0, 0.3)
        ),
        S(rng.randn(4), rng.randn(4), A(1)),
    ]


def triplet(anchor, positive, negative, margin=1.0, p=2.0, swap=False, reduction="mean"):
    def distance(x, y):
        return np.sum(np.abs(x - y + 1e-6) ** p, -1) ** (1 / p)

    far = np.minimum(distance(anchor, negative), distance(positive, negative) if swap else np.inf)
    return reduced(np.maximum(0, distance(anchor, positive) - far + margin), reduction)


def triplet_samples(rng):
    settings = ({}, {"p": 1.0}, {"p": 3.0, "margin": 0.5}, {"swap": True})
    return [S(*rng.randn(3, 6, 4), reduction=r, **extra) for r in REDUCTIONS for extra in settings]


CASES = [
    Case(
        "mse_loss",
        mse_samples,
        mse_loss,
        fn=function("mse_loss"),
        ulp=8,
        absolute=2,
        why="a square and a sum of positive terms",
        errors=(
            *shape_errors("mse_loss"),
            Bad(lambda T: T.nn.functional.mse_loss(T.ones(4), T.ones(1)), ("(4)", "(1)"), ours_only=True),
            Bad(lambda T: T.nn.functional.mse_loss(T.ones(4), 3.0), ours_only=True),
            Bad(lambda T: T.nn.functional.mse_loss(T.ones(4), T.ones(4), weight=T.ones(1)), ("weight", "(1)"), True),
        ),
    ),
    elementwise("l1_loss", l1_loss, apart, inputs=zeros),
    elementwise("smooth_l1_loss", smooth_l1, apart, {}, {"beta": 0.5}, {"beta": 0.0}, inputs=zeros, row=True),
    elementwise("huber_loss", huber, apart, {}, {"delta": 0.5}, inputs=zeros, row=True),
    elementwise("binary_cross_entropy", bce, probabilities, inputs=probabilities, row=True),
    elementwise(
        "binary_cross_entropy_with_logits",
        bce_with_logits,
        labels,
        {},
        {"weight": [0.7]},
        {"pos_weight": [2.5]},
        fn=function("binary_cross_entropy_with_logits", 1),
        inputs=lambda rng, shape: 6 * A(rng.randn(*shape)),
        row=True,
    ),
    elementwise("kl_div", kl_div, probabilities, {}),
    elementwise(
        "poisson_nll_loss",
        poisson_nll,
        counts,
        {},
        {"full": True},
        {"log_input": False, "eps": 1e-3},
        absolute=32,
        fn=function("poisson_nll_loss", 1),
        inputs=lambda rng, shape: rng.uniform(0.5, 2, shape),
    ),
    elementwise("hinge_embedding_loss", hinge, signs, {}, {"margin": 0.5}, inputs=lambda rng, s: 1.25 + zeros(rng, s)),
    elementwise("soft_margin_loss", lambda x, t: np.logaddexp(0, -t * x), signs),
    Case(
        "gaussian_nll_loss",
        gaussian_samples,
        gaussian_nll,
        fn=function("gaussian_nll_loss"),
        row=False,
        ulp=8,
        absolute=8,
        why="a logarithm and a square may cancel",
        errors=(
            *shape_errors("gaussian_nll_loss", (4,)),
            Bad(lambda T: T.nn.functional.gaussian_nll_loss(T.ones(4), T.ones(4), T.ones(3)), ("(3)", "(4)")),
            Bad(lambda T: T.nn.functional.gaussian_nll_loss(T.ones(4), T.ones(4), -1.0), ("-1",)),
        ),
    ),
    Case(
        "margin_ranking_loss",
        ranking_samples,
        ranking,
        fn=function("margin_ranking_loss"),
        row=False,
        ulp=8,
        absolute=2,
        why="differences and a sum",
        errors=shape_errors("margin_ranking_loss", (4,)),
    ),
    Case(
        "cosine_embedding_loss",
        cosine_samples,
        cosine_embedding,
        fn=function("cosine_embedding_loss"),
        row=False,
        ulp=8,
        absolute=8,
        why="1 - cos cancels",
        errors=(
            *shape_errors("cosine_embedding_loss", (4,))[:1],
            Bad(lambda T: T.nn.functional.cosine_embedding_loss(T.ones(2, 3), T.ones(2, 3), T.ones(3)), ("(2, 3)",)),
        ),
    ),
    Case(
        "triplet_margin_loss",
        triplet_samples,
        triplet,
        fn=function("triplet_margin_loss"),
        row=False,
        ulp=16,
        absolute=8,
        why="a difference of distances",
        errors=shape_errors("triplet_margin_loss", (4,)),
    ),
    Case(
        "multilabel_soft_margin_loss",
        lambda rng: [
            S(rng.randn(5, 3), labels(rng, (5, 3)), reduction=r, **extra)
            for r in REDUCTIONS
            for extra in ({}, {"weight": [0.5, 2.0, 1.0]})
        ],
        lambda x, t, reduction="mean", weight=None: reduced(np.mean(bce_with_logits(x, t, weight), -1), reduction),
        fn=function("multilabel_soft_margin_loss", 1),
        row=False,
        ulp=8,
        absolute=4,
        why="as binary_cross_entropy_with_logits",
        errors=shape_errors("multilabel_soft_margin_loss"),
    ),
]
