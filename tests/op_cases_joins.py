"""Cases of joining and repeating: hstack and the like, atleast_*, repeat, tile, meshgrid, kron."""

from __future__ import annotations

import numpy as np

from op_case import Bad, Case, S
from op_cases_views import DTYPES, A, method, moved, pairs


def lists(*shapes):
    """Integer inputs for an op of a list of tensors."""
    return lambda rng: [S([rng.randint(0, 2, shape).astype(d) for shape in shapes]) for d in DTYPES]


def join_cases():
    together = [((3,), (2,)), ((2, 3), (2, 1)), ((), ()), ((0,), (2,))]
    rows = [((3,), (3,)), ((2, 3), (3,)), ((), ()), ((1, 3), (2, 3))]
    deep = [((3,), (3,)), ((2, 3), (2, 3)), ((), ()), ((2, 3, 1), (2, 3, 4))]
    columns = [((3,), (3,)), ((3, 2), (3,)), ((), ()), ((0,), (0, 2))]
    for name, shapes in (("hstack", together), ("vstack", rows), ("dstack", deep), ("column_stack", columns)):
        yield moved(
            name,
            lambda arrays, name=name: getattr(np, name)(arrays),
            lambda rng, shapes=shapes: [S([A(rng.randn(*s)) for s in both]) for both in shapes],
            integers=lists((3,), (3,)),
            errors=(
                Bad(lambda T, name=name: getattr(T, name)([])),
                Bad(
                    lambda T, name=name: getattr(T, name)([T.ones(2, 3, 2), T.ones(3, 4, 5)]),
                    ("(2, 3, 2)", "(3, 4, 5)"),
                ),
                Bad(lambda T, name=name: getattr(T, name)([T.ones(2), 3.0]), ("float",)),
                Bad(lambda T, name=name: getattr(T, name)(5), ("int",)),
            ),
        )


def at_least_cases():
    for name in ("atleast_1d", "atleast_2d", "atleast_3d"):
        yield moved(
            name,
            lambda *arrays, name=name: getattr(np, name)(*(arrays[0] if isinstance(arrays[0], list) else arrays)),
            lambda rng: [
                S(A(rng.randn())),
                S(rng.randn(3)),
                S(rng.randn(2, 3)),
                S(rng.randn(2, 3, 4)),
                S(rng.randn(2, 1, 3, 2)),
                S(A(rng.randn()), rng.randn(3)),
                S([rng.randn(2, 3), rng.randn(0)]),
            ],
            takes=(),
            errors=(Bad(lambda T, name=name: getattr(T, name)(T.ones(2), 3.0), ("float",)),),
        )


def repeat(x, repeats):
    return np.tile(x, repeats) if len(repeats) else x


def repeat_samples(rng):
    return [
        S(rng.randn(3), (2,)),
        S(rng.randn(2, 3), (2, 2)),
        S(rng.randn(2, 3), (1, 1)),
        S(rng.randn(3), (4, 1)),
        S(rng.randn(1, 3), (5, 2)),
        S(rng.randn(2, 3), (2, 1, 3)),
        S(A(rng.randn()), (2, 3)),
        S(A(rng.randn()), ()),
        S(rng.randn(2, 3), (0, 2)),
        S(rng.randn(0, 3), (2, 2)),
    ]


def repeat_errors(name, lowest):
    return (
        *([Bad(lambda T: T.ones(2, 3).repeat(2), ("(2, 3)", "(2)"))] if lowest else []),
        Bad(lambda T: getattr(T.ones(2), name)(-1), ("-1",)),
        Bad(lambda T: getattr(T.ones(2), name)(2**62, 2**62)),
        Bad(lambda T: getattr(T.ones(2), name)((1,) * 65), ("64", "65"), ours_only=True),
        Bad(lambda T: getattr(T.ones(2), name)("a")),
        Bad(lambda T: getattr(T.ones(2), name)(1.5)),
    )


def repeat_interleave(x, repeats=None, dim=None, output_size=None):
    if repeats is None:
        return np.repeat(np.arange(len(x)), x)
    repeats = repeats.reshape(-1) if isinstance(repeats, np.ndarray) else repeats
    return np.repeat(x, repeats, axis=dim if x.ndim else None)


def repeating_cases():
    yield moved(
        "repeat", repeat, repeat_samples, fn=method("repeat"), takes=((2, 2),), errors=repeat_errors("repeat", True)
    )
    yield moved(
        "tile",
        repeat,
        lambda rng: [*repeat_samples(rng), S(rng.randn(2, 3), (2,)), S(rng.randn(2, 3), ())],
        takes=((2,),),
        errors=repeat_errors("tile", False),
    )
    yield moved(
        "repeat_interleave",
        repeat_interleave,
        lambda rng: [
            S(rng.randn(3), 2),
            S(rng.randn(2, 3), 2),
            S(rng.randn(2, 3), 3, dim=1),
            S(rng.randn(2, 3), 0, dim=-2),
            S(rng.randn(0, 3), 2, dim=0),
            S(A(rng.randn()), 2),
            S(rng.randn(2, 3), 2, dim=1, output_size=6),
            S(rng.randn(3), A([1, 0, 2])),
            S(rng.randn(2, 3), A([1, 0, 2]), dim=1),
            S(rng.randn(2, 3), A([2]), dim=0),
            S(rng.randn(2, 3), A(2), dim=0),
        ],
        takes=(2, 1),
        reads_values=lambda sample: isinstance(sample.args[1], np.ndarray),
        errors=(
            Bad(lambda T: T.repeat_interleave(T.ones(3), -1), ("-1",)),
            Bad(lambda T: T.repeat_interleave(T.ones(3), T.tensor([1, -1, 2])), ("-1",)),
            Bad(lambda T: T.repeat_interleave(T.ones(3), T.tensor([1, 2])), ("3", "(2)")),
            Bad(lambda T: T.repeat_interleave(T.ones(3), T.tensor([0.5, 1.0, 1.0])), ("float32",)),
            Bad(lambda T: T.repeat_interleave(T.ones(3), T.ones(3, 1).long()), ("(3, 1)",)),
            Bad(lambda T: T.repeat_interleave(T.ones(3), 2, dim=1), ("1",)),
            Bad(lambda T: T.repeat_interleave(T.ones(3), 2**62), ()),
            Bad(lambda T: T.repeat_interleave(T.ones(3)), ("float32",)),
            Bad(lambda T: T.repeat_interleave(T.ones(3), T.tensor([1, 0, 2]), output_size=5), ("5", "3")),
        ),
    )
    yield moved(
        "repeat_interleave of repeats alone",
        repeat_interleave,
        lambda rng: [],
        fn=lambda T, repeats: T.repeat_interleave(repeats),
        integers=lambda rng: [S(A([1, 0, 2]).astype(d)) for d in ("int64",)],
        differentiable=False,
        row=False,
        layouts=False,
        reads_values=lambda sample: True,
    )


def meshgrid_cases():
    yield moved(
        "meshgrid",
        lambda *vectors, indexing="ij": np.meshgrid(*vectors, indexing=indexing),
        lambda rng: [
            S(rng.randn(3), rng.randn(2), indexing="ij"),
            S(rng.randn(3), rng.randn(2), indexing="xy"),
            S(rng.randn(3), rng.randn(2), rng.randn(4), indexing="xy"),
            S(rng.randn(3), rng.randn(2), rng.randn(4), indexing="ij"),
            S(rng.randn(3), indexing="xy"),
            S(rng.randn(3), A(rng.randn()), indexing="ij"),
            S(rng.randn(0), rng.randn(2), indexing="ij"),
        ],
        fn=lambda T, *vectors, **kwargs: T.meshgrid(*vectors, **kwargs),
        integers=lambda rng: [
            S(rng.randint(0, 2, 3).astype(d), rng.randint(0, 2, 2).astype(d), indexing="ij") for d in DTYPES
        ],
        errors=(
            Bad(lambda T: T.meshgrid()),
            Bad(lambda T: T.meshgrid(T.ones(2), T.ones(2), indexing="xz"), ("'xz'",)),
            Bad(lambda T: T.meshgrid(T.ones(2), T.ones(2, 3), indexing="ij"), ("(2, 3)",)),
            Bad(lambda T: T.meshgrid(T.ones(2), T.ones(2).double(), indexing="ij"), ("float32", "float64")),
            Bad(lambda T: T.meshgrid(T.ones(2), 3.0), ("float",)),
        ),
    )
    yield Case(
        "kron",
        pairs(((2,), (3,)), ((2, 3), (3, 2)), ((2,), (2, 3)), ((), (2,)), ((2, 2, 1), (1, 2)), ((0,), (2,))),
        np.kron,
        integers=lambda rng: [S(rng.randint(0, 2, (2, 2)).astype(d), rng.randint(0, 2, 3).astype(d)) for d in DTYPES],
        ulp=0.5,
        why="one product each",
        errors=(
            Bad(lambda T: T.kron(T.ones(2), "text"), ("str",)),
            Bad(lambda T: T.kron(T.ones(2))),
        ),
    )


CASES = [*join_cases(), *at_least_cases(), *repeating_cases(), *meshgrid_cases()]
