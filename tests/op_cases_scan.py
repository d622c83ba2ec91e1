"""Cases of the scans and of prod: partial sums, products and extremes along a dimension."""

from __future__ import annotations

import numpy as np

from op_case import Bad, Case, S
from op_cases_reduce import dim_errors, one_dim, over, unusual

A = np.asarray
NARROW = ("int64", "int32", "uint8", "bool")


def lines(rng):
    """Samples for an op along one dimension that keeps the shape."""
    return [
        S(rng.randn(7), 0),
        S(rng.randn(3, 4), 0),
        S(rng.randn(3, 4), dim=1),
        S(rng.randn(2, 3, 4), -2),
        S(rng.randn(2, 3, 4), dim=-3),
        S(rng.randn(4, 300), 0),
        S(rng.randn(2, 1000), 1),
        S(rng.randn(300, 2), 0),
        S(A(rng.randn()), 0),
        S(A(rng.randn()), -1),
        S(rng.randn(1), 0),
        S(rng.randn(0), 0),
        S(rng.randn(0, 3), 0),
        S(rng.randn(0, 3), 1),
        S(rng.randn(2, 0), 1),
    ]


def near_one(rng):
    """The same with factors whose products stay of ordinary size."""
    return [S(1 + 0.1 * s.args[0] if s.args[0].size > 30 else s.args[0], *s.args[1:], **s.kwargs) for s in lines(rng)]


def with_zeros(rng):
    """One zero and several, in the front, the middle and at the end: the gradients must not divide."""
    zeros = [(0,), (2,), (4,), (1, 3), (0, 1, 4), (0, 1, 2, 3, 4)]
    samples = []
    for at in zeros:
        a = rng.uniform(0.5, 2, 5)
        a[list(at)] = 0
        samples.append(S(a, 0))
    return [*samples, S(np.where(rng.rand(4, 3) < 0.4, 0, rng.randn(4, 3)), 0)]


def prod_samples(rng):
    samples = []
    for s in one_dim(rng):
        a = s.args[0]
        samples.append(S(1 + 0.05 * a if a.size > 30 else a, **s.kwargs))
    return [*samples, *with_zeros(rng), *(S(s.args[0]) for s in with_zeros(rng))]


def integers(rng):
    draws = [rng.randint(0, 2, (3, 4)).astype(d) for d in NARROW]
    return [S(a, 0) for a in draws] + [S(a, dim=1) for a in draws]


def ties(rng):
    a = rng.randint(0, 3, (4, 6)).astype(np.float64)
    return [S(a, 0, grad=False), S(a, 1, grad=False)]


def some_nan(rng):
    return [S(s.args[0], s.kwargs.get("dim", 0)) for s in unusual(rng)]


def along(f):
    def ref(x, dim):
        return f(x, axis=dim) if x.ndim else f(x[None], axis=0)[0]

    return ref


def best_so_far(better):
    """(values, indices): the last of equals, and from the first nan on the last nan."""

    def line(x):
        at = np.zeros(len(x), np.int64)
        for i in range(1, len(x)):
            best = x[at[i - 1]]
            at[i] = i if np.isnan(x[i]) or better(x[i], best) or x[i] == best else at[i - 1]
        return at

    def ref(x, dim):
        if x.ndim == 0:
            return x, A(0)
        at = np.apply_along_axis(line, dim, x) if x.size else np.zeros(x.shape, np.int64)
        return np.take_along_axis(x, at, axis=dim), at

    return ref


def scan_errors(name):
    f = lambda T: getattr(T, name)  # noqa: E731
    return (
        Bad(lambda T: f(T)(T.ones(2, 3), 2), ("2",)),
        Bad(lambda T: f(T)(T.ones(2, 3), dim=-3), ("-3",)),
        Bad(lambda T: f(T)(T.tensor(1.0), 1), ("1",)),
        Bad(lambda T: f(T)(T.ones(2, 3), "a"), ("str",)),
        Bad(lambda T: f(T)(T.ones(2, 3), 0, sideways=3), ("sideways",)),
        Bad(lambda T: f(T)(T.ones(2, 3)), ("dim",)),
    )


CASES = [
    Case(
        "cumsum",
        lines,
        along(np.cumsum),
        integers=integers,
        int_result="int64",
        specials=some_nan,
        errors=scan_errors("cumsum"),
        ulp=2,
        absolute=300,
        why="added up in double; a sum that nearly cancels keeps the rounding of its terms",
    ),
    Case(
        "cumprod",
        lambda rng: near_one(rng) + with_zeros(rng),
        along(np.cumprod),
        integers=integers,
        int_result="int64",
        specials=some_nan,
        errors=scan_errors("cumprod"),
        ulp=600,
        why="float64: a rounding for each of up to 1000 factors",
    ),
    *(
        Case(
            name,
            lambda rng: lines(rng) + ties(rng),
            best_so_far(better),
            integers=integers,
            specials=some_nan,
            errors=scan_errors(name),
            ulp=0,
            why="a choice, no rounding",
        )
        for name, better in (("cummax", np.greater), ("cummin", np.less))
    ),
    Case(
        "prod",
        prod_samples,
        over(np.prod),
        integers=lambda rng: [S(s.args[0]) for s in integers(rng)] + integers(rng),
        int_result="int64",
        specials=unusual,
        gradient_at=(([2.0, 0.0, 3.0], [0, 6, 0]), ([0.0, 0.0, 3.0], [0, 0, 0])),
        errors=(*dim_errors("prod"), Bad(lambda T: T.prod(T.ones(2, 3), keepdim=True), ("keepdim",))),
        ulp=1500,
        why="float64: a rounding for each of up to 5000 factors",
    ),
]
