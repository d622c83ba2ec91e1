"""Cases of the ops around masks, and of those made of indexing: take, take_along_dim, argwhere, one_hot."""

from __future__ import annotations

import numpy as np

from op_case import Bad, Case, S

A = np.asarray
EXACT = {"ulp": 0.0, "why": "elements are moved, not computed"}
DTYPES = ("int64", "int32", "uint8", "bool")
PAIRS = (
    ((3, 4), (3, 4)),
    ((3, 4), (4,)),
    ((2, 3, 4), (3, 1)),
    ((4,), ()),
    ((0, 3), (3,)),
    ((), ()),
    ((700,), (700,)),
)
WIDER = (((4,), (3, 4)), ((3, 1), (1, 4)), ((), (3,)))


def masks(rng, *shapes):
    return [(A(rng.randn(*x)), A(rng.rand(*m) < 0.5)) for x, m in shapes]


def fill_samples(rng):
    pairs = masks(rng, *PAIRS, *WIDER)
    return [S(x, m, v) for x, m in pairs for v in (A(2.5), -1)]


def masked_scatter(x, mask, source):
    shape = np.broadcast_shapes(x.shape, mask.shape)
    y, mask = np.broadcast_to(x, shape).copy(), np.broadcast_to(mask, shape)
    y[mask] = source.ravel()[: np.count_nonzero(mask)]
    return y


def take_along(x, indices, dim=None):
    if dim is None:
        return np.take_along_axis(x.ravel(), indices.ravel(), 0)
    dim %= x.ndim
    shape = list(np.broadcast_shapes(*(np.delete(a.shape, dim) for a in (x, indices))))
    x, indices = (np.broadcast_to(a, (*shape[:dim], a.shape[dim], *shape[dim:])) for a in (x, indices))
    return np.take_along_axis(x, indices, dim)


def one_hot(classes, num_classes=-1):
    count = classes.max() + 1 if num_classes == -1 else num_classes
    return (classes[..., None] == np.arange(count)).astype(np.int64)


def mask_errors(name, *rest):
    def call(mask, x=lambda T: T.ones(2, 3)):
        return lambda T: getattr(T, name)(x(T), mask(T), *(f(T) for f in rest))

    return (
        Bad(call(lambda T: T.ones(4) > 0), ("(4)", "(2, 3)")),
        Bad(call(lambda T: T.ones(3)), ("float32",)),
        Bad(call(lambda T: "a"), ("str",)),
    )


CASES = [
    Case(
        "masked_fill",
        fill_samples,
        lambda x, mask, value: np.where(mask, value, x),
        integers=lambda rng: [S(rng.randint(0, 2, (3, 4)).astype(d), rng.rand(4) < 0.5, 1) for d in DTYPES],
        specials=lambda rng: [S(A([np.nan, np.inf, 1.0]), A([True, False, True]), -np.inf)],
        errors=(
            *mask_errors("masked_fill", lambda T: 1.0),
            Bad(lambda T: T.masked_fill(T.ones(2), T.ones(2) > 0, T.ones(2)), ("(2)",)),
        ),
        **EXACT,
    ),
    Case(
        "masked_select",
        lambda rng: [S(x, m) for x, m in masks(rng, *PAIRS, *WIDER)],
        lambda x, mask: np.broadcast_arrays(x, mask)[0][np.broadcast_arrays(x, mask)[1]],
        reads_values=lambda sample: True,
        integers=lambda rng: [S(rng.randint(0, 2, (3, 4)).astype(d), rng.rand(4) < 0.5) for d in DTYPES],
        errors=mask_errors("masked_select"),
        **EXACT,
    ),
    Case(
        "masked_scatter",
        lambda rng: [S(x, m, rng.randn(np.broadcast(x, m).size + 2)) for x, m in masks(rng, *PAIRS[:-1], *WIDER)],
        masked_scatter,
        reads_values=lambda sample: True,
        integers=lambda rng: [
            S(rng.randint(0, 2, (3, 4)).astype(d), rng.rand(4) < 0.5, rng.randint(0, 2, (3, 4)).astype(d))
            for d in DTYPES
        ],
        errors=(
            *mask_errors("masked_scatter", lambda T: T.ones(6)),
            Bad(lambda T: T.masked_scatter(T.ones(2, 3), T.ones(3) > 0, T.ones(5)), ("6", "5")),
            Bad(lambda T: T.masked_scatter(T.ones(2), T.ones(2) > 0, T.arange(2)), ("int64",)),
        ),
        **EXACT,
    ),
    Case(
        "take",
        lambda rng: [
            S(rng.randn(3, 4), A([0, 11, -1, 5])),
            S(rng.randn(3, 4), A([[1, 1], [2, -12]])),
            S(rng.randn(5), A(3)),
            S(A(2.0), A([0, 0])),
            S(rng.randn(3, 4), A([], dtype=np.int64)),
        ],
        lambda x, index: x.ravel()[index],
        integers=lambda rng: [S(rng.randint(0, 2, (3, 4)).astype(d), A([3, 3, 0])) for d in DTYPES],
        errors=(
            Bad(lambda T: T.take(T.ones(2, 3), T.tensor([6])), ("6",)),
            Bad(lambda T: T.take(T.ones(2, 3), T.tensor([-7])), ("-7",)),
            Bad(lambda T: T.take(T.ones(2, 3), T.tensor([0.0])), ("float32",)),
        ),
        **EXACT,
    ),
    Case(
        "take_along_dim",
        lambda rng: [
            S(rng.randn(3, 4), rng.randint(0, 12, 5)),
            S(rng.randn(3, 4), rng.randint(0, 12, (2, 2)), None),
            S(rng.randn(3, 4), rng.randint(0, 4, (3, 2)), 1),
            S(rng.randn(3, 4), rng.randint(-4, 4, (3, 2)), -1),
            S(rng.randn(3, 4), rng.randint(0, 4, (1, 6)), 1),
            S(rng.randn(1, 4), rng.randint(0, 4, (5, 6)), 1),
            S(rng.randn(3, 4), rng.randint(0, 3, (2, 1)), 0),
            S(rng.randn(2, 1, 3), rng.randint(0, 2, (1, 4, 1)), 0),
            S(rng.randn(3, 4), np.zeros((3, 0), np.int64), 1),
        ],
        take_along,
        integers=lambda rng: [S(rng.randint(0, 2, (3, 4)).astype(d), A([[3, 0]]), 1) for d in DTYPES],
        errors=(
            Bad(lambda T: T.take_along_dim(T.ones(2, 3), T.tensor([[3]]), 1), ("3",), ours_only=True),
            Bad(lambda T: T.take_along_dim(T.ones(2, 3), T.tensor([[-4]]), 1), ours_only=True),
            Bad(lambda T: T.take_along_dim(T.ones(2, 3), T.tensor([0]), 1), ("(2, 3)", "(1)")),
            Bad(lambda T: T.take_along_dim(T.ones(2, 3), T.tensor([[0], [0], [0]]), 1), ("(2, 1)", "(3, 1)")),
            Bad(lambda T: T.take_along_dim(T.ones(2, 3), T.tensor([[0.0]]), 1), ("float32",)),
        ),
        **EXACT,
    ),
    Case(
        "argwhere",
        lambda rng: [S(np.round(rng.randn(*s))) for s in ((5,), (3, 4), (0,), (2, 0))] + [S(A(0.0)), S(A(2.0))],
        np.argwhere,
        reads_values=lambda sample: True,
        result="int64",
        int_result="int64",
        differentiable=False,
        integers=lambda rng: [S(rng.randint(0, 2, (3, 4)).astype(d)) for d in DTYPES],
        errors=(Bad(lambda T: T.argwhere("text"), ("str",)),),
        **EXACT,
    ),
    Case(
        "nonzero as_tuple",
        lambda rng: [S(np.round(rng.randn(*s))) for s in ((5,), (3, 4), (2, 3, 4), (0,))] + [S(A(2.0))],
        lambda x: np.nonzero(np.atleast_1d(x)),
        fn=lambda T, x: T.nonzero(x, as_tuple=True),
        row=False,
        reads_values=lambda sample: True,
        result="int64",
        int_result="int64",
        differentiable=False,
        errors=(),
        **EXACT,
    ),
    Case(
        "one_hot",
        lambda rng: [
            S(rng.randint(0, 5, (6,)), 5),
            S(rng.randint(0, 5, (2, 3)), 7),
            S(rng.randint(0, 5, (2, 3))),
            S(A(2), 4),
            S(A([], dtype=np.int64), 3),
            S(rng.randint(0, 10, (2000,)), 10),
        ],
        one_hot,
        reads_values=lambda sample: len(sample.args) == 1,
        result="int64",
        int_result="int64",
        differentiable=False,
        fn=lambda T, *args: T.nn.functional.one_hot(*args),
        errors=(
            Bad(lambda T: T.nn.functional.one_hot(T.tensor([0, 3]), 3), ("3",)),
            Bad(lambda T: T.nn.functional.one_hot(T.tensor([0, -1]), 3), ("-1",)),
            Bad(lambda T: T.nn.functional.one_hot(T.tensor([0, -1])), ("-1",)),
            Bad(lambda T: T.nn.functional.one_hot(T.tensor([1]), 0)),
            Bad(lambda T: T.nn.functional.one_hot(T.tensor([1]), -3), ("-3",)),
            Bad(lambda T: T.nn.functional.one_hot(T.tensor([1.0]), 3), ("float32",)),
            Bad(lambda T: T.nn.functional.one_hot(T.arange(0)), ours_only=False),
        ),
        **EXACT,
    ),
]
