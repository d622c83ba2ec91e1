"""Cases of order and counting: sort and its kin, unique, bincount, histc, searchsorted."""

from __future__ import annotations

import numpy as np

from op_case import Bad, Case, S

A = np.asarray
INTS = ("int64", "int32", "uint8")
EXACT = {"ulp": 0.0, "why": "a choice, no rounding"}
NAN, INF = np.nan, np.inf


def apart(rng, *shape):
    """Different numbers, none close to another: small changes leave their order."""
    return rng.permutation(int(np.prod(shape))).reshape(shape) / 50.0 - 3


def lines(rng, *args, empty=True, **kwargs):
    """Samples for an op along dim (default: the last), with more arguments before it."""
    samples = [
        S(rng.randn(7), *args, **kwargs),
        S(rng.randn(3, 4), *args, **kwargs),
        S(rng.randn(3, 4), *args, dim=0, **kwargs),
        S(rng.randn(2, 3, 4), *args, dim=1, **kwargs),
        S(rng.randn(2, 3, 4), *args, dim=-3, **kwargs),
        S(apart(rng, 2, 700), *args, **kwargs),
        S(apart(rng, 600, 2), *args, dim=0, **kwargs),
        S(A(rng.randn()), *args, **kwargs),
        S(rng.randn(1), *args, dim=0, **kwargs),
        S(rng.randn(0, 3), *args, **kwargs),
    ]
    if empty:
        samples += [S(rng.randn(0), **kwargs), S(rng.randn(3, 0), dim=1, **kwargs), S(rng.randn(0, 3), dim=0, **kwargs)]
    return samples


def ties(rng, *args, **kwargs):
    a = rng.randint(0, 3, (4, 6)).astype(np.float64)
    a[1, 2] = -0.0
    wide = rng.randint(0, 50, (2, 900)).astype(np.float64)
    return [S(x, *args, dim=d, grad=False, **kwargs) for x, d in ((a, 0), (a, 1), (wide, 1))]


def unusual(rng, *args, **kwargs):
    a = rng.randn(7, 3)
    a[1, 0], a[5, 0], a[2, 1], a[4, 1], a[3, 2], a[5, 2] = NAN, NAN, INF, -INF, INF, NAN
    return [S(a, *args, dim=0, **kwargs), S(a, *args, dim=1, **kwargs)]


def integers(rng, *args, **kwargs):
    draws = [rng.permutation(12).reshape(3, 4).astype(d) - (0 if d == "uint8" else 5) for d in INTS]
    return [S(a, *args, **kwargs) for a in draws]


def bools(rng, **kwargs):
    return [S(rng.rand(3, 5) < 0.5, stable=True, **kwargs)]


def order(x, dim, descending=False):
    """Stable; nan last, or first."""
    ranks = np.unique(x, return_inverse=True)[1].reshape(x.shape) if x.size else x
    ranks = np.where(np.isnan(x), x.size, ranks) if x.dtype.kind == "f" else ranks
    return np.argsort(-ranks if descending else ranks, axis=dim, kind="stable")


def sort(x, dim=-1, descending=False, stable=False):
    if x.ndim == 0:
        return x, A(0)
    at = order(x, dim, descending)
    return np.take_along_axis(x, at, axis=dim), at


def topk(x, k, dim=-1, largest=True, sorted=True):
    if x.ndim == 0:
        return x, A(0)
    at = np.take(order(x, dim, largest), np.arange(k), axis=dim)
    return np.take_along_axis(x, at, axis=dim), at


def at_rank(x, rank, dim, keepdim):
    """(values, indices) of the elements of a rank (one for all lines, or one for each)."""
    if x.ndim == 0:
        return x, A(0)
    ranks = np.broadcast_to(rank, np.delete(x.shape, dim).astype(int))
    at = np.take_along_axis(order(x, dim), np.expand_dims(ranks, dim), axis=dim)
    values = np.take_along_axis(x, at, axis=dim)
    return (values, at) if keepdim else (np.squeeze(values, dim), np.squeeze(at, dim))


def kthvalue(x, k, dim=-1, keepdim=False):
    return at_rank(x, k - 1, dim, keepdim)


def median(skip_nan):
    def ref(x, dim=None, keepdim=False):
        if dim is None:
            return ref(x.reshape(-1), 0)[0] if x.size else A(NAN)
        if x.ndim == 0:
            return x, A(0)
        n = x.shape[dim]
        numbers = n - np.isnan(x).sum(axis=dim) if x.dtype.kind == "f" else A(n)
        middle = np.maximum(numbers - 1, 0) // 2
        return at_rank(x, middle if skip_nan else np.where(numbers < n, numbers, middle), dim, keepdim)

    return ref


def median_samples(rng):
    lined = [S(s.args[0], **({"dim": -1} | s.kwargs)) for s in lines(rng, empty=False)]
    whole = [S(rng.randn(7)), S(rng.randn(3, 4)), S(A(rng.randn())), S(rng.randn(0), grad=False), S(rng.randn(2, 900))]
    tied = [S(rng.randint(0, 3, (4, 6)).astype(np.float64), grad=False)]
    return [*lined, S(rng.randn(3, 4), dim=0, keepdim=True), *whole, *tied]


def rank_errors(name, *args):
    f = lambda T: getattr(T, name)  # noqa: E731
    return (
        Bad(lambda T: f(T)(T.ones(2, 3), *args, dim=2), ("2",)),
        Bad(lambda T: f(T)(T.ones(2, 3), *args, dim="a"), ("str",)),
        Bad(lambda T: f(T)(T.ones(2, 3), *args, dim=0, sideways=1), ("sideways",)),
        Bad(lambda T: f(T)(T.ones(0, 3), *args, dim=0), ("(0, 3)",)),
        Bad(lambda T: f(T)(T.ones(3).to(T.bool), *args), ("bool",)),
    )


def runs(sort_first):
    """unique and unique_consecutive; each nan is distinct."""

    def ref(x, sorted=True, return_inverse=False, return_counts=False, dim=None):
        n = x.size if dim is None else x.shape[dim]
        rows = (x if dim is None else np.moveaxis(x, dim, 0)).reshape(n, x.size // max(n, 1))
        at = np.lexsort(rows.T[::-1]) if sort_first and n else np.arange(n)
        put = rows[at]
        starts = np.append(np.ones(min(n, 1), bool), np.any(put[1:] != put[:-1], axis=1))
        inverse = np.empty(n, np.int64)
        inverse[at] = np.cumsum(starts) - 1
        counts = np.diff(np.append(np.flatnonzero(starts), n))
        values = put[starts]
        if dim is not None:
            rest = np.delete(x.shape, dim).astype(int)
            values = np.moveaxis(values.reshape(len(values), *rest), 0, dim)
        parts = [values.reshape(-1) if dim is None else values]
        parts += [inverse.reshape(x.shape) if dim is None else inverse] if return_inverse else []
        parts += [counts] if return_counts else []
        return tuple(parts)

    return ref


def unique_samples(rng):
    a, b = np.round(rng.randn(4, 5)), np.round(rng.rand(6, 2))
    full = {"return_inverse": True, "return_counts": True}
    return [
        S(a),
        S(a, **full),
        S(a, return_counts=True),
        S(np.round(rng.randn(2000) * 9), **full),
        S(b, dim=0, **full),
        S(b.T.copy(), dim=1, **full),
        S(np.round(rng.rand(2, 6, 2)), dim=-2, return_inverse=True),
        S(np.round(rng.rand(2, 2, 9)), dim=2, **full),
        S(A(2.0), **full),
        S(A([]), **full),
        S(rng.randn(0, 3), dim=0, **full),
        S(rng.randn(1, 3), dim=0, **full),
        S(A([NAN, 1.0, NAN, 1.0, INF, -INF]), **full),
    ]


def unique_integers(rng):
    return [S(rng.randint(0, 2, (3, 4)).astype(d), return_counts=True) for d in (*INTS, "bool")]


def bincount(x, weights=None, minlength=0):
    return np.bincount(x, weights, minlength)


def histc(x, bins=100, min=0, max=0):
    if min == max and x.size:
        min, max = x.min(), x.max()
    if min == max:
        min, max = min - 1, max + 1
    inside = x[(x >= min) & (x <= max)]
    at = np.minimum(((inside - min) * bins / (max - min)).astype(int), bins - 1)
    return np.bincount(at, minlength=bins).astype(x.dtype)


def histc_samples(rng):
    quarters = np.round(rng.randn(50) * 4) / 4
    return [
        S(quarters, bins=8, min=-2, max=2),
        S(quarters.reshape(5, 10), bins=4, min=-1, max=3),
        S(A([1.0, 2.0, 1.0, 5.0]), bins=4),
        S(A([3.0, 3.0]), bins=4),
        S(A([]), bins=3),
        S(A(0.5), bins=2, min=0, max=1),
        S(A([NAN, INF, -INF, 0.25]), bins=4, min=0, max=1),
    ]


def search(sequence, x, right=False, side=None):
    side = side or ("right" if right else "left")
    if sequence.ndim == 1:
        return np.searchsorted(sequence, x, side=side)
    rows = zip(sequence.reshape(-1, sequence.shape[-1]), x.reshape(-1, x.shape[-1]), strict=True)
    return A([np.searchsorted(s, v, side=side) for s, v in rows], np.int64).reshape(x.shape)


def search_samples(rng):
    s = np.sort(np.round(rng.randn(9) * 3))
    rows = np.sort(np.round(rng.randn(2, 3, 6) * 2), axis=-1)
    return [
        S(s, np.round(rng.randn(7) * 3)),
        S(s, np.round(rng.randn(4, 5) * 3), right=True),
        S(s, A(1.0), side="right"),
        S(s, s[::2].copy(), side="left"),
        S(rows, np.round(rng.randn(2, 3, 4) * 2)),
        S(rows, np.round(rng.randn(2, 3, 4) * 2), right=True, side="right"),
        S(np.sort(rng.randn(3000)), rng.randn(5000)),
        S(A([]), A([1.0])),
        S(s, A([NAN, INF, -INF])),
        S(s, rng.randn(0, 3)),
    ]


def search_integers(rng):
    return [S(A([0, 1, 1, 3]).astype(d), rng.randint(0, 5, 6).astype(d)) for d in INTS]


CASES = [
    *(
        Case(
            name,
            lambda rng: lines(rng, stable=True) + lines(rng, descending=True, stable=True) + ties(rng, stable=True),
            ref,
            integers=lambda rng: integers(rng) + integers(rng, descending=True) + bools(rng),
            specials=lambda rng: unusual(rng, stable=True) + unusual(rng, descending=True, stable=True),
            differentiable=name == "sort",
            result="same" if name == "sort" else "int64",
            int_result="same" if name == "sort" else "int64",
            errors=rank_errors(name)[:3],
            **EXACT,
        )
        for name, ref in (("sort", sort), ("argsort", lambda *args, **kwargs: sort(*args, **kwargs)[1]))
    ),
    Case(
        "topk",
        lambda rng: (
            lines(rng, 1, empty=False)
            + lines(rng, 1, empty=False, largest=False)
            + [
                S(rng.randn(3, 9), 4),
                S(rng.randn(9, 3), 9, dim=0),
                S(rng.randn(3, 9), 0),
                S(apart(rng, 2, 900), 600),
                S(rng.randn(0), 0),
                S(rng.randn(5, 7), 3, dim=0, largest=False),
            ]
        ),
        topk,
        integers=lambda rng: integers(rng, 2) + integers(rng, 3, largest=False),
        specials=lambda rng: unusual(rng, 1),
        errors=(
            Bad(lambda T: T.topk(T.ones(2, 3), 4), ("4", "(2, 3)")),
            Bad(lambda T: T.topk(T.ones(2, 3), -1), ("-1",)),
            Bad(lambda T: T.topk(T.ones(2, 3), 1, dim=2), ("2",)),
            Bad(lambda T: T.topk(T.ones(2, 3), 1.5), ("float",)),
            Bad(lambda T: T.topk(T.ones(3).to(T.bool), 1), ("bool",)),
            Bad(lambda T: T.topk(T.tensor(1.0), 2), ("2",)),
        ),
        **EXACT,
    ),
    Case(
        "kthvalue",
        lambda rng: [
            *lines(rng, 1, empty=False),
            *(S(rng.randn(7), 4), S(rng.randn(3, 9), 9, keepdim=True), S(rng.randn(5, 2), 3, dim=0)),
        ],
        kthvalue,
        integers=lambda rng: integers(rng, 2),
        specials=lambda rng: unusual(rng, 2),
        errors=(
            *rank_errors("kthvalue", 1),
            Bad(lambda T: T.kthvalue(T.ones(2, 3), 0), ("0",)),
            Bad(lambda T: T.kthvalue(T.ones(2, 3), 4), ("4",)),
        ),
        **EXACT,
    ),
    *(
        Case(
            name,
            median_samples,
            median(name == "nanmedian"),
            integers=lambda rng: [S(s.args[0], **kw) for s in integers(rng) for kw in ({}, {"dim": 1})],
            specials=lambda rng: unusual(rng) + [S(s.args[0]) for s in unusual(rng)] + [S(A([NAN, NAN]), dim=0)],
            gradient_at=(
                ([2.0, 2.0, 1.0, 3.0], [0.5, 0.5, 0, 0]),
                ([2.0, NAN, 1.0, 3.0], [1, 0, 0, 0] if name == "nanmedian" else [0, 1, 0, 0]),
                ([NAN, NAN], [0.5, 0.5]),
            ),
            errors=(
                *rank_errors(name),
                Bad(lambda T, name=name: getattr(T, name)(T.ones(2, 3), keepdim=True), ("keepdim",)),
            ),
            **EXACT,
        )
        for name in ("median", "nanmedian")
    ),
    *(
        Case(
            name,
            unique_samples,
            runs(name == "unique"),
            integers=unique_integers,
            differentiable=False,
            reads_values=lambda sample: True,
            errors=(
                Bad(lambda T, name=name: getattr(T, name)(T.ones(2, 3), dim=2), ("2",)),
                Bad(lambda T, name=name: getattr(T, name)(T.ones(2, 0), dim=0), ("(2, 0)",)),
                Bad(lambda T, name=name: getattr(T, name)(T.ones(2, 3), sideways=1), ("sideways",)),
            ),
            **EXACT,
        )
        for name in ("unique", "unique_consecutive")
    ),
    Case(
        "bincount",
        lambda rng: [
            S(rng.randint(0, 9, 50), rng.rand(50)),
            S(A([2, 0, 2]), A([0.5, -1.0, 2.0]), minlength=7),
        ],
        bincount,
        integers=lambda rng: [S(rng.randint(0, 9, 50).astype(d)) for d in INTS] + [S(A([], np.int64), minlength=3)],
        int_result="int64",
        differentiable=False,
        reads_values=lambda sample: True,
        ulp=8,
        why="a few additions",
        errors=(
            Bad(lambda T: T.bincount(T.tensor([1, -1])), ("-1",)),
            Bad(lambda T: T.bincount(T.ones(3)), ("float32",)),
            Bad(lambda T: T.bincount(T.tensor([[1, 2]])), ("(1, 2)",)),
            Bad(lambda T: T.bincount(T.tensor([1, 2]), minlength=-1), ("-1",)),
            Bad(lambda T: T.bincount(T.tensor([1, 2]), T.ones(3)), ("(3)", "(2)")),
        ),
    ),
    Case(
        "histc",
        histc_samples,
        histc,
        differentiable=False,
        errors=(
            Bad(lambda T: T.histc(T.ones(3), bins=0), ("0",)),
            Bad(lambda T: T.histc(T.ones(3), bins=3, min=3, max=2), ("max",)),
            Bad(lambda T: T.histc(T.tensor([1.0, NAN]), bins=3), ("nan",)),
            Bad(lambda T: T.histc(T.arange(3), bins=3), ("int64",)),
        ),
        **EXACT,
    ),
    Case(
        "searchsorted",
        search_samples,
        search,
        integers=search_integers,
        result="int64",
        int_result="int64",
        differentiable=False,
        errors=(
            Bad(lambda T: T.searchsorted(T.ones(2, 3), T.ones(4)), ("(2, 3)", "(4)")),
            Bad(lambda T: T.searchsorted(T.ones(2, 3), T.ones(3, 3)), ("(2, 3)", "(3, 3)")),
            Bad(lambda T: T.searchsorted(T.tensor(1.0), T.ones(3)), ("()",)),
            Bad(lambda T: T.searchsorted(T.ones(3), T.ones(3), side="up"), ("up",)),
            Bad(lambda T: T.searchsorted(T.ones(3), T.ones(3), right=True, side="left"), ("left",)),
        ),
        **EXACT,
    ),
    Case(
        "bucketize",
        lambda rng: (
            [S(x.args[1], x.args[0]) for x in search_samples(rng)[:1]]
            + [S(rng.randn(3, 4), A([-1.0, 0.0, 1.0]), right=True), S(A(0.5), A([0.0, 0.5]))]
        ),
        lambda x, boundaries, right=False: search(boundaries, x, right),
        integers=lambda rng: [S(s.args[1], s.args[0]) for s in search_integers(rng)],
        result="int64",
        int_result="int64",
        differentiable=False,
        errors=(Bad(lambda T: T.bucketize(T.ones(3), T.ones(2, 3)), ("(2, 3)",)),),
        **EXACT,
    ),
]
