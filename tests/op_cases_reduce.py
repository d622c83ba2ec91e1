"""Cases of the reductions."""

from __future__ import annotations

import numpy as np

from op_case import Bad, Case, S

A = np.asarray


def over(f):
    """A NumPy reduction under PyTorch's argument names."""

    def ref(x, dim=None, keepdim=False):
        if x.ndim == 0:
            return f(x)
        return f(x, axis=tuple(dim) if isinstance(dim, list) else dim, keepdims=keepdim)

    return ref


def average(x, axis=None, keepdims=False):
    """np.mean without its warning about nothing."""
    count = x.size if axis is None else np.prod([x.shape[d] for d in np.atleast_1d(axis)])
    return np.sum(x, axis=axis, keepdims=keepdims) / A(count)


def one_dim(rng, empty=True):
    """Samples for a reduction over one dimension or all."""
    samples = [
        S(A(rng.randn())),
        S(rng.randn(1)),
        S(rng.randn(7)),
        S(rng.randn(3, 4)),
        S(rng.randn(3, 4), dim=0),
        S(rng.randn(3, 4), dim=-1),
        S(rng.randn(3, 4), dim=1, keepdim=True),
        S(rng.randn(2, 3, 4), dim=1),
        S(rng.randn(2, 3, 4), dim=-3, keepdim=True),
        S(A(rng.randn()), dim=0),
        S(A(rng.randn()), dim=-1),
        S(rng.randn(1000, 3), dim=0),
        S(rng.randn(3, 1000), dim=1),
        S(rng.randn(37, 129)),
        S(rng.randn(2, 0), dim=0),
        S(rng.randn(0, 3), dim=1),
    ]
    if empty:
        samples += [S(rng.randn(0)), S(rng.randn(0, 3), dim=0), S(rng.randn(2, 0), dim=1, keepdim=True)]
    return samples


def many_dims(rng, empty=True):
    """Besides, samples for a reduction over several dimensions."""
    return [
        *one_dim(rng, empty),
        S(rng.randn(2, 3, 4), dim=(0, 2)),
        S(rng.randn(2, 3, 4), dim=(1, 2), keepdim=True),
        S(rng.randn(2, 3, 4), dim=(-1, 0)),
        S(rng.randn(2, 3, 4), dim=[0, 1]),
        S(rng.randn(2, 3, 4), dim=(0, 1, 2)),
        S(rng.randn(3, 5, 2, 4), dim=(0, 2)),
    ]


def integers(rng):
    draws = [rng.randint(0, 2, (3, 4)).astype(d) for d in ("int64", "int32", "uint8", "bool")]
    return [S(a) for a in draws] + [S(a, dim=1) for a in draws]


def integers_but_uint8(rng):
    """any and all of uint8 give uint8 in PyTorch."""
    return [s for s in integers(rng) if s.args[0].dtype != np.uint8]


def numbers(rng):
    draws = [rng.permutation(12).reshape(3, 4).astype(d) for d in ("int64", "int32", "uint8")]
    return [S(a) for a in draws] + [S(a, dim=1) for a in draws]


def unusual(rng):
    a = rng.randn(6, 3)
    a[1, 0], a[2, 1], a[4, 1], a[3, 2], a[5, 2] = np.nan, np.inf, -np.inf, np.inf, np.nan
    return [S(a), S(a, dim=0), S(a, dim=1)]


def far_from_zero(rng):
    return [S(30 + rng.randn(50)), S(30 + rng.randn(3, 400), dim=1)]


def ties(rng):
    a = rng.randint(0, 3, (4, 6)).astype(np.float64)
    return [S(a, grad=False), S(a, dim=0, grad=False), S(a, dim=1, grad=False)]


def max_samples(rng):
    return [*one_dim(rng, empty=False), *ties(rng), S(rng.randn(3, 4), rng.randn(4)), S(rng.randn(3, 1), A(0.0))]


def mean_samples(rng):
    return [*many_dims(rng), S(1e4 + rng.randn(2000), grad=False)]


def with_index(value, index, pair):
    """max and min: over all the value, over a dimension (values, indices), with a tensor elementwise."""

    def ref(x, dim=None, keepdim=False):
        if isinstance(dim, np.ndarray):
            return pair(x, dim)
        if dim is None:
            return value(x)
        return value(x, axis=dim, keepdims=keepdim), index(np.atleast_1d(x), axis=dim, keepdims=keepdim).reshape(
            np.shape(value(x, axis=dim, keepdims=keepdim))
        )

    return ref


def arg(index):
    def ref(x, dim=None, keepdim=False):
        if dim is None:
            return A(index(x))
        out = index(np.atleast_1d(x), axis=dim, keepdims=keepdim)
        return out.reshape(()) if np.ndim(x) == 0 else out

    return ref


def moment(root):
    def ref(x, dim=None, correction=1, keepdim=False, unbiased=True):
        dim = tuple(dim) if isinstance(dim, list) else dim
        n = x.size if dim is None else np.prod([x.shape[d] for d in np.atleast_1d(dim)])
        correction = correction if unbiased else 0
        mean = x.mean(axis=dim, keepdims=True)
        total = np.sum((x - mean) ** 2, axis=dim, keepdims=keepdim)
        v = total / np.maximum(n - correction, 0)
        return np.sqrt(v) if root else v

    return ref


def moment_samples(rng):
    fit = [s for s in many_dims(rng, empty=False) if A(s.args[0]).size > 1]
    return [
        *fit,
        S(rng.randn(5), correction=0),
        S(rng.randn(3, 5), dim=1, correction=2, keepdim=True),
        S(rng.randn(3, 5), dim=0, unbiased=False),
        S(rng.randn(3, 5), dim=1, correction=0.5),
        S(A(rng.randn()), grad=False),
        S(rng.randn(1), grad=False),
    ]


def dim_errors(name, *, many=False):
    """A dimension out of range, given twice, of the wrong type; an unknown keyword."""
    f = lambda T: getattr(T, name)  # noqa: E731
    errors = [
        Bad(lambda T: f(T)(T.ones(2, 3), dim=2), ("2",)),
        Bad(lambda T: f(T)(T.ones(2, 3), dim=-3), ("-3",)),
        Bad(lambda T: f(T)(T.tensor(1.0), dim=1), ("1",)),
        Bad(lambda T: f(T)(T.ones(2, 3), dim="a"), ("str",)),
        Bad(lambda T: f(T)(T.ones(2, 3), dim=0, keepdim=False, sideways=3), ("sideways",)),
    ]
    if many:
        errors += [Bad(lambda T: f(T)(T.ones(2, 3), dim=(0, 0))), Bad(lambda T: f(T)(T.ones(2, 3), dim=(0, 5)), ("5",))]
    return tuple(errors)


def empty_errors(name):
    """No value exists for the maximum of nothing."""
    return (
        Bad(lambda T: getattr(T, name)(T.zeros(0)), ("(0)",)),
        Bad(lambda T: getattr(T, name)(T.zeros(0, 3), dim=0), ("(0, 3)",)),
    )


def floats_only(name):
    return (Bad(lambda T: getattr(T, name)(T.arange(3), dim=0), ("int64",)),)


SUM = {"ulp": 4.0, "absolute": 24.0, "why": "up to 5000 terms in blocks: a few roundings of sums near sqrt(n)"}
EXACT = {"ulp": 0.0, "why": "a choice, no rounding"}
halves = ([1.0, 3.0, 3.0, 2.0], [0, 0.5, 0.5, 0])

CASES = [
    Case(
        "sum",
        many_dims,
        over(np.sum),
        integers=integers,
        int_result="int64",
        specials=unusual,
        errors=dim_errors("sum", many=True),
        **SUM,
    ),
    Case(
        "mean",
        mean_samples,
        over(average),
        specials=unusual,
        errors=dim_errors("mean", many=True) + floats_only("mean"),
        **SUM,
    ),
    Case(
        "max",
        max_samples,
        with_index(np.max, np.argmax, np.maximum),
        integers=numbers,
        specials=unusual,
        gradient_at=(halves,),
        errors=dim_errors("max") + empty_errors("max"),
        **EXACT,
    ),
    Case(
        "min",
        max_samples,
        with_index(np.min, np.argmin, np.minimum),
        integers=numbers,
        specials=unusual,
        gradient_at=(([3.0, 1.0, 1.0, 2.0], [0, 0.5, 0.5, 0]),),
        errors=dim_errors("min") + empty_errors("min"),
        **EXACT,
    ),
    Case(
        "amax",
        lambda rng: many_dims(rng, empty=False) + ties(rng),
        over(np.max),
        integers=numbers,
        specials=unusual,
        gradient_at=(halves,),
        errors=dim_errors("amax", many=True) + empty_errors("amax"),
        **EXACT,
    ),
    Case(
        "amin",
        lambda rng: many_dims(rng, empty=False) + ties(rng),
        over(np.min),
        integers=numbers,
        specials=unusual,
        errors=dim_errors("amin", many=True) + empty_errors("amin"),
        **EXACT,
    ),
    *(
        Case(
            name,
            lambda rng: one_dim(rng, empty=False) + ties(rng),
            arg(getattr(np, name)),
            integers=numbers,
            specials=unusual,
            result="int64",
            int_result="int64",
            differentiable=False,
            errors=dim_errors(name) + empty_errors(name),
            **EXACT,
        )
        for name in ("argmax", "argmin")
    ),
    *(
        Case(
            name,
            lambda rng: many_dims(rng) + ties(rng),
            over(getattr(np, name)),
            integers=integers_but_uint8,
            result="bool",
            int_result="bool",
            specials=unusual,
            differentiable=False,
            errors=dim_errors(name, many=True),
            **EXACT,
        )
        for name in ("any", "all")
    ),
    Case(
        "var",
        moment_samples,
        moment(False),
        specials=lambda rng: unusual(rng) + far_from_zero(rng),
        errors=dim_errors("var", many=True) + floats_only("var"),
        ulp=16,
        absolute=8,
        why="a mean, a difference and a sum of squares",
    ),
    Case(
        "std",
        moment_samples,
        moment(True),
        specials=lambda rng: unusual(rng) + far_from_zero(rng),
        gradient_at=(([2.0, 2.0, 2.0], [0, 0, 0]),),
        errors=dim_errors("std", many=True) + floats_only("std"),
        ulp=16,
        absolute=8,
        why="as var",
    ),
]
