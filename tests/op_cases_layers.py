"""Cases of the functions behind layers: normalisations, embedding, bilinear, distances."""

from __future__ import annotations

import numpy as np

from op_case import Bad, Case, S
from op_cases_nn import layer_norm


def function(name):
    """The function of nn.functional. Lists of numbers become tensors, which need no gradient."""

    def call(T, *args, **kwargs):
        args = [T.tensor(a, dtype=args[0].dtype) if isinstance(a, list) else a for a in args]
        return getattr(T.nn.functional, name)(*args, **kwargs)

    return call


def refused(name, mentions, *shapes, **kwargs):
    """The call with tensors of ones of these shapes; other arguments are passed on."""

    def call(T):
        args = [T.ones(*s) if isinstance(s, tuple) else s for s in shapes]
        return getattr(T.nn.functional, name)(*args, **kwargs)

    return Bad(call, mentions)


def layer(name, samples, ref, **kw) -> Case:
    kw = {"fn": function(name), "row": False, "ulp": 8, "absolute": 4, "why": "a few roundings and a sum", **kw}
    return Case(name, samples, ref, **kw)


def bilinear(x, y, w, b=None):
    z = np.einsum("...i,kij,...j->...k", x, w, y)
    return z if b is None else z + b


def bilinear_samples(rng):
    return [
        S(rng.randn(5, 3), rng.randn(5, 4), rng.randn(2, 3, 4), rng.randn(2)),
        S(rng.randn(2, 5, 3), rng.randn(2, 5, 4), rng.randn(2, 3, 4)),
    ]


def rms_norm(x, normalized_shape, weight=None, eps=None):
    axes = tuple(range(x.ndim - len(normalized_shape), x.ndim))
    eps = 2.0**-23 if eps is None else eps
    y = x / np.sqrt(np.mean(x * x, axis=axes, keepdims=True) + eps)
    return y if weight is None else y * weight


def rms_samples(rng):
    return [
        S(rng.randn(5), (5,), eps=1e-5),
        S(rng.randn(3, 4), (4,), rng.randn(4), 1e-5),
        S(rng.randn(2, 3, 4), (3, 4), rng.randn(3, 4), eps=1e-3),
    ]


def channels(value, x):
    return np.reshape(value, (1, -1) + (1,) * (x.ndim - 2))


def batch_norm(x, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    if training:
        axes = (0, *range(2, x.ndim))
        mean, var = np.mean(x, axis=axes), np.var(x, axis=axes)
    y = (x - channels(mean, x)) / np.sqrt(channels(var, x) + eps)
    y = y if weight is None else y * channels(weight, x)
    return y if bias is None else y + channels(bias, x)


def batch_samples(rng):
    def samples(*shape):
        c = shape[1]
        parameters, statistics = (rng.randn(c), rng.randn(c)), ([0.5, -1.0, 0.1], [0.5, 2.0, 1.0])
        return [
            S(rng.randn(*shape), None, None, *parameters, training=True, eps=0.1),
            S(rng.randn(*shape), *statistics, *parameters),
            S(rng.randn(*shape), *statistics, eps=0.1),
        ]

    return [*samples(5, 3), *samples(6, 3, 4)]


def group_norm(x, groups, weight=None, bias=None, eps=1e-5):
    rows = x.reshape(x.shape[0], groups, int(np.prod(x.shape[1:])) // groups)
    y = layer_norm(rows, rows.shape[2:], eps=eps).reshape(x.shape)
    y = y if weight is None else y * channels(weight, x)
    return y if bias is None else y + channels(bias, x)


def group_samples(rng):
    return [
        S(rng.randn(3, 8), 2),
        S(rng.randn(3, 6, 5), 3, rng.randn(6), rng.randn(6)),
        S(rng.randn(3, 6), 1, rng.randn(6), None, 0.1),
        S(rng.randn(0, 4), 2),
    ]


def embedding_samples(rng):
    return [
        S(rng.randint(0, 5, 7), rng.randn(5, 3)),
        S(rng.randint(0, 5, (2, 4)), rng.randn(5, 3), padding_idx=2, grad=False),
        S(rng.randint(0, 5, (2, 4)), rng.randn(5, 3), -1, grad=False),
        S(np.asarray(3), rng.randn(5, 3)),
        S(np.zeros((0, 2), int), rng.randn(5, 3)),
    ]


def embedding_bag_samples(rng):
    rows, bags, table = rng.randint(0, 5, (3, 4)), rng.randint(0, 5, 7), rng.randn(5, 3)
    starts, ends = [0, 2, 2, 5], [0, 3, 7]
    return [
        *(S(rows, table, mode=mode) for mode in ("sum", "mean", "max")),
        S(bags, table, starts),
        S(bags, table, starts, mode="sum"),
        S(bags, table, starts, mode="max"),
        S(bags, table, ends, include_last_offset=True),
        S(bags, table, starts, None, 2, False, "sum", False, rng.randn(7)),
        *(S(bags, table, starts, mode=mode, padding_idx=-1, grad=False) for mode in ("sum", "mean", "max")),
        S(np.zeros(0, int), table, [0, 0]),
    ]


def embedding_bag(index, weight, offsets=None, *rest, mode="mean", include_last_offset=False, padding_idx=None):
    factors = rest[-1] if rest else np.ones(index.size)
    mode = "sum" if rest else mode
    if offsets is None:
        bags, factors = list(index), factors.reshape(index.shape)
    else:
        cuts = offsets[1:-1] if include_last_offset else offsets[1:]
        bags, factors = np.split(index, cuts), np.split(factors, cuts)
    out = np.zeros((len(bags), weight.shape[1]))
    for k, (bag, factor) in enumerate(zip(bags, factors, strict=True)):
        kept = np.ones(bag.shape, bool) if padding_idx is None else bag != padding_idx % len(weight)
        if kept.any():
            out[k] = getattr(np, mode)(weight[bag[kept]] * factor[kept][:, None], axis=0)
    return out


def norm(x, p, axis, keepdims=False):
    return np.linalg.norm(x, ord=None if p == 2 and x.ndim == 1 else p, axis=axis, keepdims=keepdims)


def normalize(x, p=2.0, dim=1, eps=1e-12):
    return x / np.maximum(norm(x, p, dim, True), eps)


def cosine(x, y, dim=1, eps=1e-8):
    norms = [np.maximum(np.linalg.norm(a, axis=dim), eps) for a in (x, y)]
    return np.sum(x * y, axis=dim) / (norms[0] * norms[1])


def distance(x, y, p=2.0, eps=1e-6, keepdim=False):
    return norm(x - y + eps, p, -1, keepdim)


CASES = [
    layer(
        "bilinear",
        bilinear_samples,
        bilinear,
        absolute=8,
        errors=(refused("bilinear", ("(2, 3)", "(2, 4)", "(5, 3, 3)"), (2, 3), (2, 4), (5, 3, 3)),),
    ),
    layer(
        "rms_norm",
        rms_samples,
        rms_norm,
        errors=(
            refused("rms_norm", ("(2, 3)", "(4)"), (2, 3), [4]),
            refused("rms_norm", ("weight", "(2)", "(3)"), (2, 3), [3], (2,)),
        ),
    ),
    layer(
        "batch_norm",
        batch_samples,
        batch_norm,
        absolute=8,
        errors=(
            refused("batch_norm", ("(1, 3)",), (1, 3), None, None, training=True),
            refused("batch_norm", ("running_mean",), (2, 3), None, None),
            refused("batch_norm", ("running_mean", "(2)"), (2, 3), (2,), (3,)),
            refused("batch_norm", ("weight", "(2)"), (2, 3), (3,), (3,), (2,)),
        ),
    ),
    layer(
        "group_norm",
        group_samples,
        group_norm,
        absolute=8,
        errors=(
            refused("group_norm", ("3", "2"), (2, 3), 2),
            refused("group_norm", ("weight", "(2)"), (2, 3), 1, (2,)),
        ),
    ),
    layer(
        "embedding",
        embedding_samples,
        lambda index, weight, padding_idx=None: weight[index],
        ulp=0,
        why="copies",
        errors=(
            Bad(lambda T: T.nn.functional.embedding(T.tensor([0, 5]), T.ones(5, 3)), ("5",)),
            Bad(lambda T: T.nn.functional.embedding(T.tensor([-1]), T.ones(5, 3)), ("-1",)),
            Bad(lambda T: T.nn.functional.embedding(T.tensor([0]), T.ones(5, 3), padding_idx=5), ("5",), True),
        ),
    ),
    layer(
        "embedding_bag",
        embedding_bag_samples,
        embedding_bag,
        ulp=4,
        absolute=4,
        why="sums of up to 4 rows",
        reads_values=lambda sample: sample.kwargs.get("mode") == "max" and len(sample.args) > 2,
        errors=(
            Bad(lambda T: T.nn.functional.embedding_bag(T.tensor([[0, 5]]), T.ones(5, 3)), ("5",)),
            Bad(lambda T: T.nn.functional.embedding_bag(T.tensor([0, 1]), T.ones(5, 3)), ("offsets", "(2)")),
            Bad(lambda T: T.nn.functional.embedding_bag(T.tensor([[0]]), T.ones(5, 3), mode="all"), ("'all'",)),
            Bad(
                lambda T: T.nn.functional.embedding_bag(T.tensor([[0]]), T.ones(5, 3), per_sample_weights=T.ones(1, 1)),
                ("'sum'",),
            ),
        ),
    ),
    layer(
        "normalize",
        lambda rng: [S(rng.randn(3, 4), **kw) for kw in ({}, {"p": 1.0}, {"p": 3.0}, {"dim": 0}, {"p": np.inf})],
        normalize,
    ),
    layer(
        "cosine_similarity",
        lambda rng: [
            S(rng.randn(3, 4), rng.randn(3, 4)),
            S(rng.randn(3, 4), rng.randn(1, 4)),
            S(rng.randn(4), rng.randn(4), dim=0),
            S(rng.randn(2, 3, 4), rng.randn(2, 3, 4), dim=-1),
        ],
        cosine,
        ulp=16,
    ),
    layer(
        "pairwise_distance",
        lambda rng: [
            *(S(rng.randn(5, 4), rng.randn(5, 4), **kw) for kw in ({}, {"p": 1.0}, {"p": 3.0}, {"keepdim": True})),
            S(rng.randn(4), rng.randn(4)),
            S(rng.randn(5, 4), rng.randn(1, 4), p=np.inf),
        ],
        distance,
        ulp=16,
    ),
    layer(
        "alpha_dropout",
        lambda rng: [S(rng.randn(3, 4)), S(rng.randn(3, 4), 0.0, True), S(rng.randn(3, 4), 1.0, True)],
        lambda x, p=0.5, training=False: x * 0 if training and p == 1 else x,
        why="nothing, or everything, is dropped",
        errors=(refused("alpha_dropout", ("1.5",), (2,), 1.5, True),),
    ),
]
