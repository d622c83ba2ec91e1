"""Cases of diagonals, triangles and reordered copies: diagonal, diag, trace, tril, flip, roll and the like."""

from __future__ import annotations

import numpy as np

from op_case import Bad, Case, S
from op_cases_views import A, moved

SHAPES = [(3, 4), (4, 3), (3, 3), (2, 3, 4), (0, 3), (3, 0), (70, 65)]


def diagonal(x, offset=0, dim1=0, dim2=1):
    return np.diagonal(x, offset, dim1, dim2)


def diag_embed(x, offset=0, dim1=-2, dim2=-1):
    n = x.shape[-1] + abs(offset)
    y = np.zeros((*x.shape[:-1], n, n), x.dtype)
    i = np.arange(x.shape[-1])
    y[..., i + max(-offset, 0), i + max(offset, 0)] = x
    return np.moveaxis(y, (-2, -1), (dim1, dim2))


def diagonal_samples(rng):
    return [
        S(rng.randn(3, 4)),
        S(rng.randn(4, 3)),
        S(rng.randn(3, 4), 1),
        S(rng.randn(3, 4), -2),
        S(rng.randn(3, 4), 9),
        S(rng.randn(3, 4), -9),
        S(rng.randn(2, 3, 4), offset=1, dim1=-1, dim2=1),
        S(rng.randn(2, 3, 4), dim1=0, dim2=2),
        S(rng.randn(0, 3)),
    ]


def embed_samples(rng):
    return [
        S(rng.randn(3)),
        S(rng.randn(2, 3)),
        S(rng.randn(2, 3), 1),
        S(rng.randn(2, 3), -2),
        S(rng.randn(2, 3), offset=1, dim1=0, dim2=2),
        S(rng.randn(2, 3), offset=1, dim1=-1, dim2=0),
        S(rng.randn(0)),
    ]


def triangle_samples(rng):
    return [*(S(rng.randn(*s)) for s in SHAPES), *(S(rng.randn(3, 4), k) for k in (-9, -2, -1, 1, 3, 9))]


def triangle_errors(name):
    return (
        Bad(lambda T: getattr(T, name)(T.ones(3)), ("(3)",)),
        Bad(lambda T: getattr(T, name)(T.tensor(1.0)), ("()",)),
        Bad(lambda T: getattr(T, name)(T.ones(2, 2), 0.5), ("float",)),
    )


INDICES = [(3, 3), (3, 4, 1), (4, 3, -1), (3, 3, 9), (3, 3, -9), (0, 3), (3, 0, 1), (1, 5, 2), (5, 2, -3)]


def indices_case(name):
    def ref(row, col, offset=0):
        return np.stack(getattr(np, name)(row, offset, col))

    return moved(
        name,
        ref,
        lambda rng: [S(*args) for args in INDICES],
        integers=None,
        differentiable=False,
        layouts=False,
        result="int64",
        errors=(
            Bad(lambda T: getattr(T, name)(-1, 3), ("-1",)),
            Bad(lambda T: getattr(T, name)(3, 3, dtype=T.float32), ("float32",)),
            Bad(lambda T: getattr(T, name)(2**40, 2**40)),
            Bad(lambda T: getattr(T, name)(3)),
        ),
    )


def roll(x, shifts, dims=None):
    return np.roll(x, shifts, dims) if x.ndim else x


CASES = [
    moved(
        "diagonal",
        diagonal,
        diagonal_samples,
        errors=(
            Bad(lambda T: T.diagonal(T.ones(3))),
            Bad(lambda T: T.diagonal(T.ones(2, 3), 0, 0, 2), ("2",)),
            Bad(lambda T: T.diagonal(T.ones(2, 3), 0, 1, -1), ("1", "-1")),
        ),
    ),
    moved(
        "diag_embed",
        diag_embed,
        embed_samples,
        errors=(
            Bad(lambda T: T.diag_embed(T.tensor(1.0))),
            Bad(lambda T: T.diag_embed(T.ones(2, 3), 0, 0, 3), ("3",)),
            Bad(lambda T: T.diag_embed(T.ones(2, 3), 0, 0, -3), ("0", "-3")),
            Bad(lambda T: T.diag_embed(T.ones(2, 3), 2**63 - 1)),
        ),
    ),
    moved(
        "diag",
        np.diag,
        lambda rng: [S(rng.randn(3)), S(rng.randn(3), -1), S(rng.randn(3, 4)), S(rng.randn(3, 4), 2), S(rng.randn(0))],
        errors=(
            Bad(lambda T: T.diag(T.ones(2, 3, 4)), ("(2, 3, 4)",)),
            Bad(lambda T: T.diag(T.tensor(1.0)), ("()",)),
        ),
    ),
    Case(
        "trace",
        lambda rng: [S(rng.randn(3, 3)), S(rng.randn(3, 5)), S(rng.randn(0, 3)), S(rng.randn(70, 65))],
        np.trace,
        integers=lambda rng: [S(rng.randint(0, 99, (3, 4)).astype(d)) for d in ("int64", "int32", "uint8")],
        int_result="int64",
        absolute=8.0,
        why="a sum of up to 65 elements",
        errors=(Bad(lambda T: T.trace(T.ones(3)), ("(3)",)), Bad(lambda T: T.trace(T.ones(2, 3, 3)), ("(2, 3, 3)",))),
    ),
    moved("tril", np.tril, triangle_samples, errors=triangle_errors("tril")),
    moved("triu", np.triu, triangle_samples, errors=triangle_errors("triu")),
    indices_case("tril_indices"),
    indices_case("triu_indices"),
    moved(
        "flip",
        np.flip,
        lambda rng: [
            S(rng.randn(5), (0,)),
            S(rng.randn(3, 4), (1,)),
            S(rng.randn(3, 4), [0, -1]),
            S(rng.randn(2, 3, 4), (0, 2)),
            S(rng.randn(3, 4), ()),
            S(rng.randn(0, 3), (0, 1)),
            S(A(rng.randn()), ()),
            S(rng.randn(33, 70), (0, 1)),
        ],
        takes=((0, 1),),
        errors=(
            Bad(lambda T: T.flip(T.ones(2, 3), (2,)), ("2",)),
            Bad(lambda T: T.flip(T.ones(2, 3), (0, -2)), ("0",)),
            Bad(lambda T: T.flip(T.ones(2, 3), (0.5,))),
        ),
    ),
    moved(
        "fliplr",
        np.fliplr,
        lambda rng: [S(rng.randn(3, 4)), S(rng.randn(2, 3, 4)), S(rng.randn(2, 0))],
        errors=(Bad(lambda T: T.fliplr(T.ones(3)), ("(3)",)),),
    ),
    moved(
        "flipud",
        np.flipud,
        lambda rng: [S(rng.randn(3, 4)), S(rng.randn(5)), S(rng.randn(0, 2))],
        errors=(Bad(lambda T: T.flipud(T.tensor(1.0)), ("()",)),),
    ),
    moved(
        "rot90",
        lambda x, k=1, dims=(0, 1): np.rot90(x, k, dims),
        lambda rng: [
            *(S(rng.randn(3, 4), k) for k in range(-2, 5)),
            S(rng.randn(2, 3, 4), 1, (1, 2)),
            S(rng.randn(2, 3, 4), 3, [-1, 0]),
            S(rng.randn(0, 3)),
        ],
        errors=(
            Bad(lambda T: T.rot90(T.ones(3)), ("(3)",)),
            Bad(lambda T: T.rot90(T.ones(2, 3), 1, (0, 0)), ("(0, 0)",)),
            Bad(lambda T: T.rot90(T.ones(2, 3), 1, (0, 2)), ("2",)),
            Bad(lambda T: T.rot90(T.ones(2, 3), 1, (0,)), ("(0)",)),
        ),
    ),
    moved(
        "roll",
        roll,
        lambda rng: [
            S(rng.randn(5), 2),
            S(rng.randn(5), -7, 0),
            S(rng.randn(3, 4), 5),
            S(rng.randn(3, 4), 1, 1),
            S(rng.randn(3, 4), (1, -2), (0, 1)),
            S(rng.randn(3, 4), (1, 1), (-1, -1)),
            S(rng.randn(3, 4), 0, 0),
            S(rng.randn(0, 3), 1, 1),
            S(A(rng.randn()), 1),
            S(rng.randn(40, 65), (7, 11), (0, 1)),
        ],
        takes=(1, 0),
        errors=(
            Bad(lambda T: T.roll(T.ones(2, 3), (1, 2)), ("(1, 2)",)),
            Bad(lambda T: T.roll(T.ones(2, 3), 1, (0, 1)), ("(1)", "(0, 1)")),
            Bad(lambda T: T.roll(T.ones(2, 3), 1, 2), ("2",)),
            Bad(lambda T: T.roll(T.tensor(1.0), 1, 0)),
            Bad(lambda T: T.roll(T.ones(2, 3), 0.5, 0)),
        ),
    ),
]
