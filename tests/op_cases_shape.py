"""Cases of the ops that move elements: reshape, transpose, expand, cat and the like."""

from __future__ import annotations

import numpy as np

from op_case import Bad, Case, S

A = np.asarray
EXACT = {"ulp": 0.0, "why": "elements are moved, not computed"}


def reshape_samples(rng):
    return [
        S(rng.randn(3, 4), (4, 3)),
        S(rng.randn(3, 4), (2, -1)),
        S(rng.randn(3, 4), (-1,)),
        S(rng.randn(12), (2, 1, 6)),
        S(rng.randn(12), [3, 4]),
        S(A(rng.randn()), (1, 1)),
        S(rng.randn(1, 1), ()),
        S(rng.randn(0, 4), (4, 0)),
        S(rng.randn(0, 4), (2, 0, 7)),
        S(rng.randn(65, 70), (70, 65)),
    ]


def reshape_errors(name):
    return (
        Bad(lambda T: getattr(T.ones(2, 3), name)(5), ("(2, 3)", "(5)")),
        Bad(lambda T: getattr(T.ones(2, 3), name)(-1, -1)),
        Bad(lambda T: getattr(T.ones(2, 3), name)(4, -1), ("(2, 3)", "(4, -1)")),
        Bad(lambda T: getattr(T.ones(2, 3), name)(-2, -3), ("-2",)),
        Bad(lambda T: getattr(T.ones(0, 3), name)(0, -1), ("(0, 3)",)),
        Bad(lambda T: getattr(T.ones(2, 3), name)(2.0, 3.0), ("float",)),
        Bad(lambda T: getattr(T.ones(2, 3), name)("6")),
    )


def transpose(x, dim0, dim1):
    return np.swapaxes(x, dim0, dim1) if x.ndim else x


def squeeze(x, dim=None):
    if dim is None:
        return np.squeeze(x)
    dims = [d for d in np.atleast_1d(dim) if x.ndim and x.shape[d] == 1]
    return np.squeeze(x, axis=tuple(dims))


def flatten(x, start_dim=0, end_dim=-1):
    if x.ndim == 0:
        return x.reshape(1)
    start, end = start_dim % x.ndim, end_dim % x.ndim
    return x.reshape((*x.shape[:start], int(np.prod(x.shape[start : end + 1])), *x.shape[end + 1 :]))


def expand(x, sizes):
    lead = len(sizes) - x.ndim
    return np.broadcast_to(x, [x.shape[i - lead] if n == -1 else n for i, n in enumerate(sizes)])


def join_samples(rng):
    return [
        S([rng.randn(2, 3), rng.randn(4, 3)]),
        S([rng.randn(2, 3), rng.randn(2, 1), rng.randn(2, 4)], dim=1),
        S((rng.randn(2, 3), rng.randn(2, 3)), dim=-1),
        S([rng.randn(5)], dim=0),
        S([rng.randn(2), rng.randn(0), rng.randn(3)], dim=0),
        S([rng.randn(0, 3), rng.randn(0, 3)], dim=0),
        S([rng.randn(2, 3, 4), rng.randn(2, 2, 4)], dim=-2),
        S([rng.randn(100, 7), rng.randn(100, 9)], dim=1),
    ]


def stack_samples(rng):
    return [
        S([rng.randn(2, 3), rng.randn(2, 3)]),
        S([rng.randn(2, 3), rng.randn(2, 3), rng.randn(2, 3)], dim=1),
        S((rng.randn(2, 3), rng.randn(2, 3)), dim=-1),
        S([A(rng.randn()), A(rng.randn())]),
        S([rng.randn(0, 2), rng.randn(0, 2)], dim=2),
    ]


def copy_samples(rng):
    return [
        S(A(rng.randn())),
        S(rng.randn(5)),
        S(rng.randn(3, 4)),
        S(rng.randn(2, 3, 4)),
        S(rng.randn(0, 3)),
        S(rng.randn(70, 65)),
    ]


def integers(*rest):
    """Integer inputs for an op whose further arguments are `rest`."""
    return lambda rng: [S(rng.randint(0, 2, (3, 4)).astype(d), *rest) for d in ("int64", "int32", "uint8", "bool")]


CASES = [
    Case("reshape", reshape_samples, np.reshape, integers=integers((2, 6)), errors=reshape_errors("reshape"), **EXACT),
    Case(
        "view",
        reshape_samples,
        np.reshape,
        fn=lambda T, x, shape: x.view(shape),
        integers=integers((2, 6)),
        errors=(*reshape_errors("view"), Bad(lambda T: T.ones(2, 3).t().view(6), ("(3, 2)", "(6)"))),
        layouts=False,
        **EXACT,
    ),
    Case(
        "transpose",
        lambda rng: [
            S(rng.randn(3, 4), 0, 1),
            S(rng.randn(2, 3, 4), 0, -1),
            S(rng.randn(2, 3, 4), -2, -3),
            S(rng.randn(5), 0, 0),
            S(rng.randn(0, 3), 1, 0),
            S(A(rng.randn()), 0, -1),
        ],
        transpose,
        integers=integers(0, 1),
        errors=(
            Bad(lambda T: T.transpose(T.ones(2, 3), 0, 2), ("2",)),
            Bad(lambda T: T.transpose(T.ones(2, 3), 0)),
            Bad(lambda T: T.transpose(T.ones(2, 3), 0, 1.5), ("float",)),
        ),
        **EXACT,
    ),
    Case(
        "permute",
        lambda rng: [
            S(rng.randn(2, 3, 4), (2, 0, 1)),
            S(rng.randn(2, 3, 4), (-1, 1, 0)),
            S(rng.randn(3), [0]),
            S(A(rng.randn()), ()),
            S(rng.randn(0, 3), (1, 0)),
            S(rng.randn(2, 3, 4, 5), (3, 1, 2, 0)),
        ],
        np.transpose,
        integers=integers((1, 0)),
        errors=(
            Bad(lambda T: T.permute(T.ones(2, 3), (0, 0))),
            Bad(lambda T: T.permute(T.ones(2, 3), (0,)), ("(2, 3)",)),
            Bad(lambda T: T.permute(T.ones(2, 3), (0, 2)), ("2",)),
        ),
        **EXACT,
    ),
    Case(
        "t",
        lambda rng: [S(rng.randn(3, 4)), S(rng.randn(3)), S(A(rng.randn())), S(rng.randn(0, 3))],
        np.transpose,
        integers=integers(),
        errors=(Bad(lambda T: T.t(T.ones(2, 3, 4)), ("(2, 3, 4)",)),),
        **EXACT,
    ),
    Case(
        "squeeze",
        lambda rng: [
            S(rng.randn(1, 3, 1)),
            S(rng.randn(1, 3, 1), 0),
            S(rng.randn(1, 3, 1), 1),
            S(rng.randn(1, 3, 1), -1),
            S(rng.randn(1, 3, 1), (0, 2)),
            S(A(rng.randn())),
            S(A(rng.randn()), 0),
            S(rng.randn(1, 0)),
        ],
        squeeze,
        integers=integers(),
        errors=(Bad(lambda T: T.squeeze(T.ones(2, 3), 2), ("2",)),),
        **EXACT,
    ),
    Case(
        "unsqueeze",
        lambda rng: [
            S(rng.randn(3, 4), 0),
            S(rng.randn(3, 4), 2),
            S(rng.randn(3, 4), -1),
            S(rng.randn(3, 4), -3),
            S(A(rng.randn()), 0),
            S(rng.randn(0), 1),
        ],
        np.expand_dims,
        integers=integers(1),
        errors=(
            Bad(lambda T: T.unsqueeze(T.ones(2, 3), 3), ("3",)),
            Bad(lambda T: T.unsqueeze(T.ones(2, 3), -4), ("-4",)),
            Bad(lambda T: T.unsqueeze(T.ones(2, 3))),
        ),
        **EXACT,
    ),
    Case(
        "flatten",
        lambda rng: [
            S(rng.randn(2, 3, 4)),
            S(rng.randn(2, 3, 4), 1),
            S(rng.randn(2, 3, 4), 0, 1),
            S(rng.randn(2, 3, 4), -2, -1),
            S(rng.randn(2, 3), start_dim=1),
            S(A(rng.randn())),
            S(rng.randn(0, 3, 2), 1),
            S(rng.randn(5)),
        ],
        flatten,
        integers=integers(),
        errors=(Bad(lambda T: T.flatten(T.ones(2, 3), 2), ("2",)), Bad(lambda T: T.flatten(T.ones(2, 3, 4), 2, 1))),
        **EXACT,
    ),
    Case(
        "expand",
        lambda rng: [
            S(rng.randn(3, 1), (3, 4)),
            S(rng.randn(4), (3, 4)),
            S(rng.randn(3, 1), (2, -1, 5)),
            S(A(rng.randn()), (2, 3)),
            S(rng.randn(1), (0,)),
            S(rng.randn(3, 4), (3, 4)),
            S(A(rng.randn()), ()),
        ],
        expand,
        fn=lambda T, x, sizes: x.expand(sizes),
        integers=integers((2, 3, 4)),
        errors=(
            Bad(lambda T: T.ones(2, 3).expand(4, 3), ("(2, 3)", "(4, 3)")),
            Bad(lambda T: T.ones(2, 3).expand(3), ("(2, 3)", "(3)")),
            Bad(lambda T: T.ones(3).expand(-1, 3), ("-1",)),
            Bad(lambda T: T.ones(3).expand("a")),
        ),
        **EXACT,
    ),
    Case(
        "cat",
        join_samples,
        lambda arrays, dim=0: np.concatenate(arrays, axis=dim),
        integers=lambda rng: [
            S([rng.randint(0, 2, (2, 3)).astype(d) for _ in range(2)]) for d in ("int64", "int32", "uint8", "bool")
        ],
        errors=(
            Bad(lambda T: T.cat([T.ones(2, 3), T.ones(2, 4)]), ("(2, 3)", "(2, 4)")),
            Bad(lambda T: T.cat([])),
            Bad(lambda T: T.cat([T.ones(2, 3), T.ones(2)]), ("(2, 3)", "(2)")),
            Bad(lambda T: T.cat([T.ones(2)], dim=1), ("1",)),
            Bad(lambda T: T.cat([T.tensor(1.0), T.tensor(2.0)]), ("()",)),
            Bad(lambda T: T.cat([T.ones(2), 3.0]), ("float",)),
            Bad(lambda T: T.cat(5), ("int",)),
        ),
        **EXACT,
    ),
    *(
        Case(alias, join_samples, lambda arrays, dim=0: np.concatenate(arrays, axis=dim), row=False, **EXACT)
        for alias in ("concat", "concatenate")
    ),
    Case(
        "stack",
        stack_samples,
        lambda arrays, dim=0: np.stack(arrays, axis=dim),
        integers=lambda rng: [
            S([rng.randint(0, 2, (2, 3)).astype(d) for _ in range(2)]) for d in ("int64", "int32", "uint8", "bool")
        ],
        errors=(
            Bad(lambda T: T.stack([T.ones(2), T.ones(3)]), ("(2)", "(3)")),
            Bad(lambda T: T.stack([])),
            Bad(lambda T: T.stack([T.ones(2)], dim=2), ("2",)),
            Bad(lambda T: T.stack([T.ones(2), None]), ("None",)),
        ),
        **EXACT,
    ),
    Case(
        "clone",
        copy_samples,
        lambda x: x,
        integers=integers(),
        errors=(Bad(lambda T: T.clone(3.0), ("float",)),),
        **EXACT,
    ),
    Case(
        "contiguous",
        copy_samples,
        lambda x: x,
        fn=lambda T, x: x.contiguous(),
        integers=integers(),
        errors=(Bad(lambda T: T.ones(2).contiguous(1)),),
        **EXACT,
    ),
    Case(
        "to",
        copy_samples,
        lambda x: x,
        fn=lambda T, x: x.to(T.float64),
        result="float64",
        row=False,
        integers=integers(),
        int_result="float64",
        errors=(Bad(lambda T: T.ones(2).to("real"), ("real",)), Bad(lambda T: T.ones(2).to(3))),
        **EXACT,
    ),
]
