"""Cases of the ops that write by index: index_add, index_copy, index_fill, index_put and scatter."""

from __future__ import annotations

import numpy as np

from op_case import Bad, Case, S

A = np.asarray
EXACT = {"ulp": 0.0, "why": "elements are moved, not computed"}
SUMS = {"ulp": 1.0, "absolute": 32.0, "why": "a sum of up to 300 terms, each addition rounded"}
DTYPES = ("int64", "int32", "uint8", "bool")


def at(x, dim, index):
    """The key of x's rows (slices along dim) at the index."""
    return (*([slice(None)] * (dim % max(x.ndim, 1))), index)


def along_samples(rng, source):
    """(x, dim, index, *source(shape of the rows)): no row twice, so that each value's derivative is plain."""
    rows = [
        ((5,), 0, A([4, 0])),
        ((4, 5), 0, A([1, 3, 0])),
        ((4, 5), 1, A([2])),
        ((2, 3, 4), -2, A([2, 0])),
        ((4, 5), 0, A([], dtype=np.int64)),
        ((3, 0), 0, A([1])),
        ((4, 5), 1, A([1, 3], dtype=np.int32)),
        ((300, 70), 0, rng.permutation(300)),
        ((300, 70), 1, rng.permutation(70)[:50]),
    ]
    for shape, dim, index in rows:
        taken = list(shape)
        taken[dim] = index.size
        yield S(rng.randn(*shape), dim, index, *source(taken))


def pytorchs(samples):
    """Without int32 indices, which PyTorch refuses for some."""
    return [s for s in samples if s.args[2].dtype == np.int64]


def add_samples(rng):
    samples = list(along_samples(rng, lambda shape: (rng.randn(*shape),)))
    samples += [S(*s.args, alpha=a) for s, a in zip(samples, (2, -0.5, 1.0), strict=False)]
    twice = S(rng.randn(4, 3), 0, A([1, 1, 3, 1]), rng.randn(4, 3))
    return [*samples, twice, S(rng.randn(9), 0, rng.randint(0, 9, 100), rng.randn(100)), S(A(2.0), 0, A([0]), A(3.0))]


def index_add(x, dim, index, source, alpha=1):
    y = np.atleast_1d(x).copy()
    np.add.at(y, at(y, dim, index), np.atleast_1d(source) * y.dtype.type(alpha))
    return y.reshape(x.shape)


def index_copy(x, dim, index, source):
    y = np.atleast_1d(x).copy()
    y[at(y, dim, index)] = source
    return y.reshape(x.shape)


def put_samples(rng):
    x, mask = rng.randn(4, 5), rng.rand(4, 5) < 0.5
    rows, columns = A([0, 3, 1]), A([-1, 0, 2])
    return [
        S(rng.randn(6), (A([4, -6]),), rng.randn(2)),
        S(rng.randn(6), (A([4, 0]),), A(2.5)),
        S(x, (rows,), rng.randn(3, 5)),
        S(x, (rows,), rng.randn(5)),
        S(x, [rows, columns], rng.randn(3)),
        S(x, (rows[:, None], A([1, 4])), rng.randn(3, 2)),
        S(x, (rows[:, None], A([1, 4])), rng.randn(2)),
        S(x, (mask,), A(-1.0)),
        S(x, (mask,), rng.randn(1)),
        S(x, (mask[:, 0],), rng.randn(5)),
        S(rng.randn(2, 3, 4), (A([1, 0]), A([2, 1])), rng.randn(2, 4)),
        S(x, (A([], dtype=np.int64),), rng.randn(0, 5)),
        S(x, (rows, columns), rng.randn(3), accumulate=True),
        S(x, (A([1, 1, 3, 1]),), rng.randn(4, 5), accumulate=True),
        S(rng.randn(300), (rng.randint(0, 300, 200),), rng.randn(200), accumulate=True),
    ]


def index_put(x, indices, values, accumulate=False):
    y = x.copy()
    if accumulate:
        np.add.at(y, tuple(indices), values)
    else:
        y[tuple(indices)] = values
    return y


def assign(T, x, value, key):
    y = T.clone(x)
    y[key] = value
    return y


def assigned(x, value, key):
    y = x.copy()
    y[key] = value
    return y


def assign_samples(rng):
    x, none = rng.randn(4, 5, 3), slice(None)
    keys = [
        1,
        (1, 2),
        (1, 2, 0),
        slice(1, 3),
        (none, slice(1, 4, 2), 0),
        Ellipsis,
        (Ellipsis, -1),
        (None, 1),
        slice(3, 1),
        A([0, 3]),
        (none, A([0, -1])),
        (A([0, 3]), none, A([1, 2])),
        (slice(1, 4), A([[0], [3]])),
    ]
    full = [S(x, A(rng.randn(*x[key].shape)), key) for key in keys]
    return [
        *full,
        *(S(x, A(2.5), key) for key in keys),
        *(S(x, rng.randn(*x[key].shape[-1:]), key) for key in keys[3:]),
    ]


def permuted(rng, rows, n, columns, axis=0):
    """An index into n positions, none of them twice along the axis."""
    index = np.stack([rng.permutation(n)[:rows] for _ in range(columns)], 1)
    return index if axis == 0 else index.T.copy()


def scatter_samples(rng):
    return [
        S(rng.randn(5), 0, A([4, 0, 2]), rng.randn(3)),
        S(rng.randn(4, 5), 0, permuted(rng, 2, 4, 5), rng.randn(2, 5)),
        S(rng.randn(4, 5), 0, permuted(rng, 3, 4, 2), rng.randn(3, 2)),
        S(rng.randn(4, 5), 1, permuted(rng, 3, 5, 4, 1), rng.randn(4, 3)),
        S(rng.randn(4, 5), -1, permuted(rng, 5, 5, 2, 1), rng.randn(2, 5)),
        S(rng.randn(2, 3, 4), 1, permuted(rng, 3, 3, 8).reshape(3, 2, 4).transpose(1, 0, 2).copy(), rng.randn(2, 3, 4)),
        S(rng.randn(4, 5), 0, np.zeros((0, 5), np.int64), rng.randn(0, 5)),
        S(A(1.0), 0, A(0), A(2.0)),
        S(rng.randn(300, 120), 0, permuted(rng, 200, 300, 120), rng.randn(200, 120)),
        S(rng.randn(300, 120), 1, permuted(rng, 70, 120, 300, 1), rng.randn(300, 70)),
    ]


def number_samples(rng):
    return [S(*s.args[:3], 2.5) for s in scatter_samples(rng)]


def reduced_samples(rng):
    given = [S(*s.args, grad=False, reduce=r) for s in scatter_samples(rng)[:6] for r in ("add", "multiply")]
    return [*given, S(*number_samples(rng)[1].args, grad=False, reduce="multiply")]


def scatter(x, dim, index, src, reduce=None):
    y = np.atleast_1d(x).copy()
    index = np.atleast_1d(index)
    src = np.broadcast_to(y.dtype.type(src), index.shape) if np.ndim(src) == 0 else src
    for i in np.ndindex(index.shape):
        j = list(i)
        j[dim] = index[i]
        old = y[tuple(j)]
        y[tuple(j)] = src[i] if reduce is None else old + src[i] if reduce == "add" else old * src[i]
    return y.reshape(x.shape)


def scatter_add_samples(rng):
    return [
        *scatter_samples(rng),
        S(rng.randn(3), 0, rng.randint(0, 3, 50), rng.randn(50)),
        S(rng.randn(3, 4), 0, rng.randint(0, 3, (7, 4)), rng.randn(7, 4)),
        S(rng.randn(3, 4), 1, rng.randint(0, 4, (3, 9)), rng.randn(3, 9)),
        S(rng.randn(30, 400), 0, rng.randint(0, 30, (70, 400)), rng.randn(70, 400)),
    ]


def along_errors(name, *source, int32=True):
    """What index_add, index_copy and index_fill refuse; `source`: the arguments behind the index, of shape (2, 3)."""

    def call(dim, index, *other):
        return lambda T: getattr(T, name)(T.ones(2, 3), dim, index(T), *(f(T) for f in other or source))

    return (
        Bad(call(0, lambda T: T.tensor([0, 2])), ("2",)),
        Bad(call(2, lambda T: T.tensor([0, 1])), ("2",)),
        Bad(call(0, lambda T: T.tensor([[0, 1]])), ("(1, 2)",), ours_only=name == "index_fill"),
        Bad(call(0, lambda T: T.tensor([0.0, 1.0])), ("float32",)),
    )


def source_errors(name):
    return (
        *along_errors(name, lambda T: T.ones(2, 3)),
        Bad(lambda T: getattr(T, name)(T.ones(2, 3), 0, T.tensor([0, -1]), T.ones(2, 3)), ("-1",)),
        Bad(lambda T: getattr(T, name)(T.ones(2, 3), 0, T.tensor([0]), T.ones(2, 3)), ("(1, 3)", "(2, 3)")),
        Bad(lambda T: getattr(T, name)(T.ones(2, 3), 0, T.tensor([0, 1]), T.ones(2, 4)), ("(2, 3)", "(2, 4)")),
        Bad(lambda T: getattr(T, name)(T.ones(2, 3), 0, T.tensor([0, 1]), T.arange(6).view(2, 3)), ("int64",)),
    )


def walk_errors(name):
    return (
        Bad(lambda T: getattr(T, name)(T.ones(2, 3), 1, T.tensor([[3], [0]]), T.ones(2, 3)), ("3",)),
        Bad(lambda T: getattr(T, name)(T.ones(2, 3), 1, T.tensor([[-1], [0]]), T.ones(2, 3)), ("-1",)),
        Bad(lambda T: getattr(T, name)(T.ones(2, 3), 2, T.tensor([[0], [0]]), T.ones(2, 3)), ("2",)),
        Bad(lambda T: getattr(T, name)(T.ones(2, 3), 1, T.tensor([0, 0]), T.ones(2, 3)), ("(2, 3)", "(2)")),
        Bad(lambda T: getattr(T, name)(T.ones(2, 3), 1, T.tensor([[0], [0], [0]]), T.ones(3, 3)), ("(3, 1)",)),
        Bad(lambda T: getattr(T, name)(T.ones(2, 3), 1, T.tensor([[0, 1], [0, 1]]), T.ones(2, 1)), ("(2, 1)",)),
        Bad(lambda T: getattr(T, name)(T.ones(2, 3), 1, T.tensor([[0.0], [1.0]]), T.ones(2, 3)), ("float32",)),
        Bad(lambda T: getattr(T, name)(T.ones(2, 3), 1, T.tensor([[0], [0]]), T.ones(2, 3).long()), ("int64",)),
    )


def has_mask(sample):
    """Whether positions are found from a mask; one value for all of them is filled in without."""
    return any(i.dtype == bool for i in sample.args[1]) and sample.args[2].ndim > 0


CASES = [
    Case(
        "setitem",
        assign_samples,
        assigned,
        fn=assign,
        row=False,
        reads_values=lambda sample: isinstance(sample.args[2], np.ndarray) and sample.args[2].dtype == bool,
        integers=lambda rng: [
            S(rng.randint(0, 2, (4, 5)).astype(d), A(1, d), (slice(1, 3), A([0, 2]))) for d in DTYPES
        ],
        errors=(
            Bad(lambda T: assign(T, T.ones(2, 3), 1.0, 2), ("2",)),
            Bad(lambda T: assign(T, T.ones(2, 3), T.ones(4), 0), ("(4)", "(3)")),
            Bad(lambda T: assign(T, T.ones(2, 3), T.ones(2), T.tensor([0, 1])), ("(2)", "(2, 3)")),
            Bad(lambda T: assign(T, T.ones(2, 3), 1.0, T.tensor([2])), ("2",)),
            Bad(lambda T: assign(T, T.ones(2, 3), 1.0, slice(None, None, -1)), ("step",)),
            Bad(lambda T: assign(T, T.ones(2, 3), 1.0, (0, 0, 0))),
            Bad(lambda T: assign(T, T.ones(2, 3), 1.0, T.ones(2)), ("float32",)),
        ),
        **EXACT,
    ),
    Case(
        "index_add",
        add_samples,
        index_add,
        integers=lambda rng: [
            S(rng.randint(0, 2, (3, 4)).astype(d), 1, A([3, 3, 0]), rng.randint(0, 2, (3, 3)).astype(d)) for d in DTYPES
        ],
        errors=source_errors("index_add"),
        **SUMS,
    ),
    Case(
        "index_copy",
        lambda rng: [*pytorchs(along_samples(rng, lambda shape: (rng.randn(*shape),))), S(A(2.0), 0, A([0]), A(3.0))],
        index_copy,
        integers=lambda rng: [
            S(rng.randint(0, 2, (3, 4)).astype(d), 1, A([3, 1]), rng.randint(0, 2, (3, 2)).astype(d)) for d in DTYPES
        ],
        errors=source_errors("index_copy"),
        **EXACT,
    ),
    Case(
        "index_fill",
        lambda rng: [
            *pytorchs(along_samples(rng, lambda shape: (2.5,))),
            *pytorchs(along_samples(rng, lambda shape: (A(-1.0),))),
            S(rng.randn(4, 3), 0, A([-1, 0, -1]), 3),
            S(A(2.0), 0, A([0]), 3),
        ],
        index_copy,
        integers=lambda rng: [S(rng.randint(0, 2, (3, 4)).astype(d), 1, A([3, 1]), 1) for d in DTYPES],
        errors=(
            *along_errors("index_fill", lambda T: 1.0),
            Bad(lambda T: T.index_fill(T.ones(2, 3), 0, T.tensor([0]), T.ones(1)), ("(1)",)),
        ),
        **EXACT,
    ),
    Case(
        "index_put",
        put_samples,
        index_put,
        reads_values=has_mask,
        integers=lambda rng: [
            S(rng.randint(0, 2, (3, 4)).astype(d), (A([2, 2]),), rng.randint(0, 2, (2, 4)).astype(d), accumulate=True)
            for d in DTYPES
        ],
        errors=(
            Bad(lambda T: T.index_put(T.ones(2, 3), (T.tensor([2]),), T.ones(3)), ("2",)),
            Bad(lambda T: T.index_put(T.ones(2, 3), (T.tensor([0, 1]),), T.ones(2)), ("(2)", "(2, 3)")),
            Bad(lambda T: T.index_put(T.ones(2, 3), (T.tensor([0.0]),), T.ones(3)), ("float32",)),
            Bad(lambda T: T.index_put(T.ones(2, 3), (T.ones(3) > 0,), T.ones(3)), ("(3)", "(2, 3)")),
            Bad(lambda T: T.index_put(T.ones(2, 3), (T.tensor([0]), T.tensor([0, 1, 2]), T.tensor([0])), T.ones(3))),
            Bad(lambda T: T.index_put(T.ones(2, 3), (T.tensor([0, 1]), T.tensor([0, 1, 2])), T.ones(1)), ("(2)",)),
            Bad(lambda T: T.index_put(T.ones(2, 3), (T.tensor([0]),), T.tensor(1)), ("int64",)),
            Bad(lambda T: T.index_put(T.ones(2, 3), (None, T.tensor([0])), T.ones(1)), ("None",)),
            Bad(lambda T: T.index_put(T.ones(2, 3), 0, T.ones(1)), ("int",)),
            Bad(lambda T: T.index_put(T.ones(2, 3), (), T.ones(1)), ours_only=True),
        ),
        **SUMS,
    ),
    Case(
        "scatter",
        lambda rng: scatter_samples(rng) + number_samples(rng),
        scatter,
        ulp=4.0,
        absolute=2.0,
        why="elements are moved, or a few additions or products",
        integers=lambda rng: [
            S(rng.randint(0, 2, (3, 4)).astype(d), 0, A([[2, 0, 1, 0]]), rng.randint(0, 2, (2, 4)).astype(d), **r)
            for d in DTYPES
            for r in ({}, {"reduce": "add"}, {"reduce": "multiply"})
        ],
        errors=(
            *walk_errors("scatter"),
            Bad(lambda T: T.scatter(T.ones(2, 3), 1, T.tensor([[0]]), T.ones(2, 3), reduce="max"), ("max",)),
            Bad(lambda T: T.scatter(T.ones(2, 3), 1, T.tensor([[0]]))),
        ),
    ),
    Case(
        "scatter reduce",
        reduced_samples,
        scatter,
        fn=lambda T, *args, reduce: T.scatter(*args, reduce=reduce),
        row=False,
        differentiable=False,  # in PyTorch neither
        ulp=4.0,
        absolute=2.0,
        why="a few additions or products",
    ),
    Case(
        "scatter_add",
        scatter_add_samples,
        lambda x, dim, index, src: scatter(x, dim, index, src, "add"),
        integers=lambda rng: [
            S(rng.randint(0, 2, (3, 4)).astype(d), 1, A([[2, 2], [0, 1]]), rng.randint(0, 2, (2, 4)).astype(d))
            for d in DTYPES
        ],
        errors=walk_errors("scatter_add"),
        **SUMS,
    ),
]
