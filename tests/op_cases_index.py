"""Cases of the ops that pick elements: where, gather, index_select and indexing."""

from __future__ import annotations

import numpy as np

from op_case import Bad, Case, S, arrays_in

A = np.asarray
EXACT = {"ulp": 0.0, "why": "elements are picked, not computed"}


def where_samples(rng):
    shapes = [
        ((3, 4), (3, 4), (3, 4)),
        ((3, 4), (4,), ()),
        ((3, 1), (1, 4), (3, 4)),
        ((4,), (3, 1), (3, 4)),
        ((), (3,), (3,)),
        ((0, 3), (3,), (1,)),
        ((), (), ()),
        ((1027,), (1027,), (1027,)),
    ]
    return [S(A(rng.rand(*c) < 0.5), A(rng.randn(*a)), A(rng.randn(*b))) for c, a, b in shapes]


def where_specials(rng):
    bad = np.array([np.nan, np.inf, -np.inf, 1.0])
    mask = np.array([True, False, True, False])
    return [S(mask, bad, np.zeros(4)), S(mask, np.zeros(4), bad)]


def gather_samples(rng):
    return [
        S(rng.randn(5), 0, rng.randint(0, 5, 7)),
        S(rng.randn(3, 5), 1, rng.randint(0, 5, (3, 2))),
        S(rng.randn(3, 5), 0, rng.randint(0, 3, (4, 5))),
        S(rng.randn(3, 5), -1, rng.randint(0, 5, (2, 9))),
        S(rng.randn(3, 5), 1, np.zeros((3, 4), np.int64)),
        S(rng.randn(2, 3, 4), 1, rng.randint(0, 3, (2, 5, 4))),
        S(rng.randn(3, 5), 1, np.zeros((3, 0), np.int64)),
        S(rng.randn(200, 10), 1, rng.randint(0, 10, (200, 1))),
    ]


def gather(x, dim, index):
    window = [slice(0, n) for n in index.shape]
    window[dim] = slice(None)
    return np.take_along_axis(x[tuple(window)], index, axis=dim)


def select_samples(rng):
    return [
        S(rng.randn(5), 0, A([4, 0, 4])),
        S(rng.randn(4, 5), 0, A([1, 1, 3, 0, 1])),
        S(rng.randn(4, 5), 1, A([2])),
        S(rng.randn(2, 3, 4), -2, A([2, 0])),
        S(rng.randn(4, 5), 0, A([], dtype=np.int64)),
        S(rng.randn(4, 5), 1, A([1, 3], dtype=np.int32)),
        S(rng.randn(300, 7), 0, rng.randint(0, 300, 500)),
    ]


def index_samples(rng):
    """Every form of index; NumPy agrees with all of these."""
    x = rng.randn(4, 5, 3)
    mask = rng.rand(4, 5) < 0.5
    rows, columns = A([0, 3, 3]), A([-1, 0, 2])
    none = slice(None)
    indices = [
        2,
        -1,
        (1, 2),
        (1, 2, 0),
        (-1, -1, -1),
        slice(1, 3),
        slice(None, None, 2),
        slice(-3, None),
        slice(3, 1),
        slice(0, 99),
        (none, 1),
        (none, slice(1, 4, 2)),
        (slice(1, 3), 2, slice(0, 2)),
        Ellipsis,
        (Ellipsis, 1),
        (0, Ellipsis, 1),
        (none, none, none),
        None,
        (none, None),
        (None, Ellipsis, None),
        (1, None, slice(0, 2)),
        (),
        rows,
        (none, rows),
        (rows, columns),
        (Ellipsis, rows * 0 + A([0, 1, 2])),
        (rows, 1),
        (1, rows),
        (rows, slice(1, 3)),
        (slice(0, 2), columns),
        (rows[:, None], A([1, 4])),
        rows.reshape(3, 1),
        [0, 2],
        (none, [1, 1, 4]),
        ([0, 1], [2, 3]),
        mask,
        mask[:, 0],
        (none, mask[0]),
        (mask[:, 0], 1),
        (none, none, A([True, False, True])),
        np.zeros((4, 5), bool),
        A([], dtype=np.int64),
        (rows, none, A([0, 1, 2])),
        (slice(0, 2), None, rows[:2]),
    ]
    small = [S(A(rng.randn()), i) for i in ((), None, Ellipsis)] + [S(rng.randn(5), 3), S(rng.randn(5), slice(1, 1))]
    return (
        [S(x, i) for i in indices]
        + small
        + [S(rng.randn(0, 3), slice(None, None, 2)), S(rng.randn(0, 3), (slice(None), 1))]
    )


def integers(rng):
    return [
        S(rng.randint(0, 2, (4, 5)).astype(d), (slice(1, 3), A([0, 2]))) for d in ("int64", "int32", "uint8", "bool")
    ]


def pick_samples(rng):
    return [
        S(rng.randn(5), 0, 2),
        S(rng.randn(5), 0, -1),
        S(rng.randn(3, 4), 1, 0),
        S(rng.randn(2, 3, 4), -2, 2),
        S(rng.randn(2, 0), 0, 1),
    ]


def nonzero_samples(rng):
    shapes = [(5,), (3, 4), (2, 3, 4), (0,), (0, 3), (1,), (50, 21)]
    return [S(np.round(rng.randn(*s))) for s in shapes] + [S(A(0.0)), S(A(2.0)), S(np.array([np.nan, 0, -0.0, np.inf]))]


def take(T, x, index):
    return x[index]


CASES = [
    Case(
        "where",
        where_samples,
        np.where,
        specials=where_specials,
        integers=lambda rng: [
            S(rng.rand(3, 4) < 0.5, rng.randint(0, 2, 4).astype(d), rng.randint(0, 2, (3, 4)).astype(d))
            for d in ("int64", "int32", "uint8", "bool")
        ],
        errors=(
            Bad(lambda T: T.where(T.ones(2) > 0, T.ones(3), T.ones(2)), ("(3)", "(2)")),
            Bad(lambda T: T.where(T.ones(2), T.ones(2), T.ones(2)), ("float32",)),
            Bad(lambda T: T.where("a", T.ones(2), T.ones(2)), ("str",)),
        ),
        **EXACT,
    ),
    Case(
        "gather",
        gather_samples,
        gather,
        ulp=0,
        why="elements are picked",
        integers=lambda rng: [
            S(rng.randint(0, 2, (3, 4)).astype(d), 1, rng.randint(0, 4, (3, 2))) for d in ("int64", "uint8", "bool")
        ],
        errors=(
            Bad(lambda T: T.gather(T.ones(2, 3), 1, T.tensor([[3], [0]])), ("3",)),
            Bad(lambda T: T.gather(T.ones(2, 3), 1, T.tensor([[-1], [0]])), ("-1",)),
            Bad(lambda T: T.gather(T.ones(2, 3), 2, T.tensor([[0], [0]])), ("2",)),
            Bad(lambda T: T.gather(T.ones(2, 3), 1, T.tensor([0, 0])), ("(2, 3)", "(2)")),
            Bad(lambda T: T.gather(T.ones(2, 3), 1, T.tensor([[0], [0], [0]])), ("(3, 1)", "(2, 3)")),
            Bad(lambda T: T.gather(T.ones(2, 3), 1, T.tensor([[0.0], [1.0]])), ("float32",)),
        ),
    ),
    Case(
        "index_select",
        select_samples,
        lambda x, dim, index: np.take(x, index, axis=dim),
        **EXACT,
        integers=lambda rng: [
            S(rng.randint(0, 2, (3, 4)).astype(d), 1, A([3, 3, 0])) for d in ("int64", "uint8", "bool")
        ],
        errors=(
            Bad(lambda T: T.index_select(T.ones(2, 3), 0, T.tensor([2])), ("2",)),
            Bad(lambda T: T.index_select(T.ones(2, 3), 0, T.tensor([-1])), ("-1",)),
            Bad(lambda T: T.index_select(T.ones(2, 3), 2, T.tensor([0])), ("2",)),
            Bad(lambda T: T.index_select(T.ones(2, 3), 0, T.tensor([[0, 1]])), ("(1, 2)",)),
            Bad(lambda T: T.index_select(T.ones(2, 3), 0, T.tensor([0.0])), ("float32",)),
        ),
    ),
    Case(
        "select",
        pick_samples,
        lambda x, dim, index: np.take(x, index, axis=dim),
        integers=lambda rng: [
            S(rng.randint(0, 2, (3, 4)).astype(d), 1, 2) for d in ("int64", "int32", "uint8", "bool")
        ],
        errors=(
            Bad(lambda T: T.select(T.ones(2, 3), 0, 2), ("2",)),
            Bad(lambda T: T.select(T.ones(2, 3), 2, 0), ("2",)),
            Bad(lambda T: T.select(T.ones(2, 3), 0, -3), ("-3",)),
            Bad(lambda T: T.select(T.tensor(1.0), 0, 0)),
            Bad(lambda T: T.select(T.ones(2), 0, 0.5), ("float",)),
        ),
        **EXACT,
    ),
    Case(
        "nonzero",
        nonzero_samples,
        np.argwhere,
        reads_values=lambda sample: True,
        result="int64",
        int_result="int64",
        differentiable=False,
        integers=lambda rng: [S(rng.randint(0, 2, (3, 4)).astype(d)) for d in ("int64", "int32", "uint8", "bool")],
        errors=(Bad(lambda T: T.nonzero("text"), ("str",)), Bad(lambda T: T.nonzero())),
        **EXACT,
    ),
    Case(
        "getitem",
        index_samples,
        lambda x, i: x[i],
        fn=take,
        reads_values=lambda sample: any(a.dtype == bool for a in arrays_in(sample.args[1])),
        row=False,
        integers=integers,
        **EXACT,
        errors=(
            Bad(lambda T: T.ones(2, 3)[2], ("2",)),
            Bad(lambda T: T.ones(2, 3)[0, -4], ("-4",)),
            Bad(lambda T: T.ones(2, 3)[0, 0, 0]),
            Bad(lambda T: T.ones(2, 3)[1.5], ("float",)),
            Bad(lambda T: T.ones(2, 3)["a"], ("str",)),
            Bad(lambda T: T.ones(2, 3)[T.tensor([2])], ("2",)),
            Bad(lambda T: T.ones(2, 3)[T.tensor([0, -3])], ("-3",)),
            Bad(lambda T: T.ones(2, 3)[T.ones(2)], ("float32",)),
            Bad(lambda T: T.ones(2, 3)[T.ones(3) > 0], ("(3)", "(2, 3)")),
            Bad(lambda T: T.ones(2, 3)[::-1], ("step",)),
            Bad(lambda T: T.ones(2, 3)[::0], ("step",)),
            Bad(lambda T: T.ones(2, 3)[..., ...], ours_only=True),
            Bad(lambda T: T.ones(2, 3)[[0, 1], [0, 1, 2]], ("(2)", "(3)")),
            Bad(lambda T: T.tensor(1.0)[0]),
        ),
    ),
]
