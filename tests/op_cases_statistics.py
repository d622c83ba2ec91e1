"""Cases of norms, of statistics made of several reductions, and of cdist."""

from __future__ import annotations

import numpy as np

from op_case import Bad, Case, S
from op_cases_reduce import (
    average,
    dim_errors,
    empty_errors,
    floats_only,
    integers,
    many_dims,
    moment,
    moment_samples,
    numbers,
    one_dim,
    over,
    ties,
    unusual,
)

A = np.asarray
NAN, INF = np.nan, np.inf
SUM = {"ulp": 8.0, "absolute": 24.0, "why": "sums of up to 5000 terms: a few roundings of sums near sqrt(n)"}
EXACT = {"ulp": 0.0, "why": "a choice, no rounding"}
ORDERS = (2, 1, 3, 1.5, 0.5, -1, INF, -INF, "fro")


def vector_norm(x, p=2, axis=None, keepdims=False):
    p = 2 if p == "fro" else p
    size = np.abs(x)
    if np.isinf(p):
        return (np.max if p > 0 else np.min)(size, axis=axis, keepdims=keepdims)
    if p == 0:
        return np.sum(x != 0, axis=axis, keepdims=keepdims).astype(float)
    return np.sum(size**p, axis=axis, keepdims=keepdims) ** (1 / p)


def norm(x, p="fro", dim=None, keepdim=False):
    return over(lambda a, **kw: vector_norm(a, p, **kw))(x, dim, keepdim)


def norm_samples(rng):
    samples = [s for s in many_dims(rng) if len(np.atleast_1d(s.kwargs.get("dim", 0))) < 3]  # a matrix norm in PyTorch
    some = [s for s in samples if A(s.args[0]).size][3:]
    for p in ORDERS:
        # Away from 0, where powers below 1 are steep.
        samples += [S(np.sign(s.args[0]) + s.args[0], p, **s.kwargs) for s in (*some[:4], *some[-3:])]
        samples += [S(A(x), p, grad=False) for x in ([3.0, 0.0, -4.0], [2.0, -2.0, 1.0])]
        samples += [S(A(-1.5), p), S(rng.randn(0, 3), p, dim=1)]
    return [*samples, S(rng.randn(3, 0), 3, dim=1), S(rng.randn(0), 1), S(np.zeros((3, 4)), dim=1, grad=False)]


def norm_errors(name):
    f = lambda T: getattr(T, name)  # noqa: E731
    return (
        *dim_errors(name, many=True),
        *floats_only(name),
        Bad(lambda T: f(T)(T.ones(2, 3), "nuc"), ("singular",), ours_only=True),
        Bad(lambda T: f(T)(T.ones(2, 3), "abc"), ("abc",)),
        Bad(lambda T: f(T)(T.zeros(0), INF), ("inf", "(0)")),
        Bad(lambda T: f(T)(T.zeros(0, 3), -1, dim=0), ("-1", "(0, 3)")),
    )


def matrix_norm(x, ord="fro", dim=(-2, -1), keepdim=False):
    down, along = dim
    if ord == "fro":
        return vector_norm(x, 2, axis=dim, keepdims=keepdim)
    summed, compared = (down, along) if abs(ord) == 1 else (along, down)
    sums = np.abs(x).sum(axis=summed, keepdims=True)
    best = (np.max if ord > 0 else np.min)(sums, axis=compared, keepdims=True)
    return best if keepdim else np.squeeze(best, dim)


def matrix_samples(rng):
    orders = ("fro", 1, -1, INF, -INF)
    return [S(rng.randn(3, 4), p) for p in orders] + [
        S(rng.randn(2, 3, 4)),
        S(rng.randn(2, 3, 4), 1, (0, 2)),
        S(rng.randn(2, 3, 4), INF, (2, 0), keepdim=True),
    ]


def any_norm(x, ord=None, dim=None):
    if ord is None or x.ndim == 1 or isinstance(dim, int):
        return norm(x, 2 if ord is None else ord, dim)
    return matrix_norm(x, ord, (0, 1) if dim is None else dim)


def logsumexp(x, axis=None, keepdims=False):
    axes = range(x.ndim) if axis is None else np.sort(np.atleast_1d(axis) % x.ndim)
    for d in reversed(axes):
        x = np.logaddexp.reduce(x, axis=d, keepdims=keepdims)
    return x


def logsumexp_samples(rng):
    samples = [*many_dims(rng), S(700 * rng.randn(4, 5), dim=1)]
    return [S(s.args[0], grad=A(s.args[0]).size > 0, **({"dim": 0} | s.kwargs)) for s in samples]


def logsumexp_specials(rng):
    return [S(A([[INF, 1.0], [-INF, 1.0], [-INF, -INF], [INF, INF], [NAN, 1.0]]), dim=1)]


def holes(rng):
    """many_dims with nan here and there."""
    samples = []
    for s in many_dims(rng):
        a = A(s.args[0]).copy()
        a[rng.rand(*a.shape) < 0.3] = NAN
        samples.append(S(a, grad=False, **s.kwargs))
    return samples + [S(s.args[0], grad=A(s.args[0]).size > 0, **s.kwargs) for s in many_dims(rng)]


def nansum(x, **kw):
    return np.sum(np.where(np.isnan(x), 0, x), **kw)


def nanmean(x, **kw):
    return nansum(x, **kw) / np.sum(~np.isnan(x), **kw)


def count_nonzero_samples(rng):
    return [S(A(np.round(s.args[0])), **{k: v for k, v in s.kwargs.items() if k == "dim"}) for s in many_dims(rng)]


def cov(x, correction=1, fweights=None, aweights=None):
    c = np.cov(x, ddof=correction, fweights=fweights, aweights=aweights)
    return np.squeeze(c)


def cov_case(T, x, **kwargs):
    return T.cov(x, **{k: T.tensor(v).to(x.dtype if k == "aweights" else T.int64) if k != "correction" else v
                       for k, v in kwargs.items()})  # fmt: skip


def cov_samples(rng):
    x = rng.randn(3, 6)
    frequencies, weights = A([1, 2, 0, 3, 1, 1]), A([0.5, 1.0, 0.25, 0.75, 0.5, 1.0])
    return [
        S(x),
        S(rng.randn(5)),
        S(rng.randn(4, 300)),
        S(x, correction=0),
        S(x, fweights=frequencies),
        S(x, aweights=weights),
        S(x, fweights=frequencies, aweights=weights, correction=0),
        S(x, fweights=frequencies, aweights=weights),
    ]


def corrcoef(x):
    return np.corrcoef(x)


def cdist(x1, x2, p=2.0):
    return vector_norm(x1[..., :, None, :] - x2[..., None, :, :], p, axis=-1)


def cdist_samples(rng):
    return [
        *(
            S(rng.randn(3, 4), rng.randn(5, 4), p=p, grad=p not in (0, 0.5))
            for p in (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, INF)
        ),
        S(rng.randn(2, 3, 4), rng.randn(2, 5, 4)),
        S(rng.randn(3, 1, 4, 2), rng.randn(2, 5, 2)),
        S(rng.randn(40, 300), rng.randn(30, 300)),
        S(rng.randn(0, 4), rng.randn(5, 4)),
        S(rng.randn(5, 4), rng.randn(0, 4)),
        S(rng.randn(3, 0), rng.randn(5, 0)),
    ]


def pair(name):
    """var_mean and std_mean."""
    return lambda x, **kw: (moment(name == "std_mean")(x, **kw), over(average)(
        x, kw.get("dim"), kw.get("keepdim", False)))  # fmt: skip


CASES = [
    *(
        Case(
            name,
            moment_samples,
            pair(name),
            errors=dim_errors(name, many=True) + floats_only(name),
            ulp=16,
            absolute=24,
            why="as var and mean",
        )
        for name in ("var_mean", "std_mean")
    ),
    Case(
        "aminmax",
        lambda rng: one_dim(rng, empty=False) + ties(rng),
        lambda x, dim=None, keepdim=False: (over(np.min)(x, dim, keepdim), over(np.max)(x, dim, keepdim)),
        integers=numbers,
        specials=unusual,
        errors=dim_errors("aminmax") + empty_errors("aminmax"),
        **EXACT,
    ),
    Case(
        "norm",
        norm_samples,
        norm,
        specials=unusual,
        gradient_at=(([0.0, 0.0], [0, 0]), ([3.0, -4.0], [0.6, -0.8])),
        errors=norm_errors("norm"),
        **SUM,
    ),
    Case(
        "vector_norm",
        lambda rng: [s for s in norm_samples(rng) if s.args[1:] != ("fro",)],
        lambda x, p=2, **kw: norm(x, p, **kw),
        fn=lambda T, *args, **kwargs: T.linalg.vector_norm(*args, **kwargs),
        row=False,
        **SUM,
    ),
    Case(
        "matrix_norm",
        matrix_samples,
        matrix_norm,
        fn=lambda T, *args, **kwargs: T.linalg.matrix_norm(*args, **kwargs),
        errors=(
            Bad(lambda T: T.linalg.matrix_norm(T.ones(3)), ("(3)",)),
            Bad(lambda T: T.linalg.matrix_norm(T.ones(2, 3), 3), ("3",)),
            Bad(lambda T: T.linalg.matrix_norm(T.ones(2, 3), "nuc"), ("singular",), ours_only=True),
            Bad(lambda T: T.linalg.matrix_norm(T.ones(2, 3), 2), ("singular",), ours_only=True),
            Bad(lambda T: T.linalg.matrix_norm(T.ones(2, 3), 1, (0, 0)), ("(0, 0)",)),
        ),
        row=False,
        **SUM,
    ),
    Case(
        "linalg_norm",
        lambda rng: [S(rng.randn(2, 3, 4)), S(rng.randn(5), 1), S(rng.randn(3, 4), 1), S(rng.randn(3, 4), 3, 0)],
        any_norm,
        fn=lambda T, *args: T.linalg.norm(*args),
        row=False,
        **SUM,
    ),
    Case(
        "logsumexp",
        logsumexp_samples,
        over(logsumexp),
        integers=lambda rng: [s for s in integers(rng) if "dim" in s.kwargs],
        int_result="float",
        specials=logsumexp_specials,
        errors=(*dim_errors("logsumexp", many=True), Bad(lambda T: T.logsumexp(T.ones(2, 3)), ("dim",))),
        ulp=4,
        absolute=4,
        why="the logarithm of a sum of exponentials, plus the largest",
    ),
    Case(
        "nansum",
        holes,
        over(nansum),
        integers=integers,
        int_result="int64",
        specials=unusual,
        errors=dim_errors("nansum", many=True),
        **SUM,
    ),
    Case(
        "nanmean",
        holes,
        over(nanmean),
        specials=unusual,
        errors=dim_errors("nanmean", many=True) + floats_only("nanmean"),
        **SUM,
    ),
    Case(
        "count_nonzero",
        count_nonzero_samples,
        lambda x, dim=None: A(over(np.count_nonzero)(x, dim), np.int64) if x.ndim else A(np.count_nonzero(x)),
        integers=integers,
        result="int64",
        int_result="int64",
        specials=unusual,
        differentiable=False,
        errors=(
            Bad(lambda T: T.count_nonzero(T.ones(2, 3), dim=2), ("2",)),
            Bad(lambda T: T.count_nonzero(T.ones(2, 3), dim=(0, 0))),
            Bad(lambda T: T.count_nonzero(T.ones(2, 3), dim="a"), ("str",)),
        ),
        **EXACT,
    ),
    Case(
        "cov",
        cov_samples,
        cov,
        fn=cov_case,
        integers=lambda rng: [S(rng.randint(0, 5, (3, 4)).astype(d)) for d in ("int64", "int32", "uint8")],
        int_result="float",
        errors=(
            Bad(lambda T: T.cov(T.ones(2, 3, 4)), ("(2, 3, 4)",)),
            Bad(lambda T: T.cov(T.ones(3).to(T.bool)), ("bool",)),
            Bad(lambda T: T.cov(T.ones(2, 3), fweights=T.ones(3)), ("float32",)),
            Bad(lambda T: T.cov(T.ones(2, 3), aweights=T.tensor([1, 2, 3])), ("int64",)),
            Bad(lambda T: T.cov(T.ones(2, 3), fweights=T.tensor([1, 2])), ("(2)", "3")),
            Bad(lambda T: T.cov(T.ones(2, 3), fweights=T.tensor([1, -2, 3])), ("negative",)),
        ),
        ulp=16,
        absolute=8,
        why="means, differences and sums of products",
    ),
    Case(
        "corrcoef",
        lambda rng: [
            S(rng.randn(3, 6)),
            S(rng.randn(5)),
            S(rng.randn(4, 300)),
            S(A([[1.0, 2.0, 3.0], [2.0, 4.0, 6.5]])),
        ],
        corrcoef,
        integers=lambda rng: [S(rng.permutation(12).reshape(3, 4).astype(d)) for d in ("int64", "int32", "uint8")],
        int_result="float",
        errors=(
            Bad(lambda T: T.corrcoef(T.ones(2, 3, 4)), ("(2, 3, 4)",)),
            Bad(lambda T: T.corrcoef(T.ones(3).to(T.bool)), ("bool",)),
        ),
        ulp=16,
        absolute=8,
        why="as cov, and divided by two roots",
    ),
    Case(
        "cdist",
        cdist_samples,
        cdist,
        ulp=8,
        absolute=4,
        why="differences, a sum of powers and a root",
        errors=(
            Bad(lambda T: T.cdist(T.ones(2, 3), T.ones(2, 4)), ("(2, 3)", "(2, 4)")),
            Bad(lambda T: T.cdist(T.ones(2, 3), T.ones(3)), ("(3)",)),
            Bad(lambda T: T.cdist(T.ones(2, 3), T.ones(2, 3), p=-1), ("-1",)),
            Bad(lambda T: T.cdist(T.arange(4).reshape(2, 2), T.ones(2, 2)), ("int64",)),
            Bad(lambda T: T.cdist(T.ones(2, 3), T.ones(2, 3).double()), ("float64",)),
            Bad(lambda T: T.cdist(T.ones(2, 3), T.ones(2, 3), compute_mode="abc"), ("abc",)),
        ),
    ),
]
