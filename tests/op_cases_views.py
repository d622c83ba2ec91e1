"""Cases of the views named after NumPy's and of the ways to cut a tensor into parts."""

from __future__ import annotations

import numpy as np

from op_case import Bad, Case, S

A = np.asarray
EXACT = {"ulp": 0.0, "why": "elements are moved, not computed"}
DTYPES = ("int64", "int32", "uint8", "bool")


def integers(*rest, shape=(3, 4), **kwargs):
    """Integer inputs for an op whose further arguments are `rest`."""
    return lambda rng: [S(rng.randint(0, 2, shape).astype(d), *rest, **kwargs) for d in DTYPES]


def moved(name, ref, samples, *, takes=(), errors=(), fn=None, **kw) -> Case:
    """A case of exact results. `takes`: what an integer input's call takes besides."""
    kw.setdefault("integers", integers(*takes))
    return Case(name, samples=samples, ref=ref, fn=fn, errors=errors, **(EXACT | kw))


def method(name):
    """Calls the method of that name: there is no function."""
    return lambda T, x, *args, **kwargs: getattr(x, name)(*args, **kwargs)


def bad_dims(name, *rest):
    """Calls with a dim that the tensor does not have."""
    return tuple(
        Bad(
            lambda T, shape=shape, dim=dim: getattr(T, name)(T.ones(shape), *rest, dim=dim),
            (str(dim),) if shape else (),
        )
        for shape, dim in (((2, 3), 2), ((2, 3), -3), ((), 0))
    )


# Views


def like(ref):
    return lambda x, other: ref(x, other.shape)


def pairs(*shapes):
    return lambda rng: [S(A(rng.randn(*a)), A(rng.randn(*b))) for a, b in shapes]


# The second tensor only lends its shape, so it has no gradient.
def shaped(*shapes):
    return lambda rng: [S(A(rng.randn(*a)), np.zeros(b, np.int64)) for a, b in shapes]


RESHAPED = shaped(((3, 4), (4, 3)), ((3, 4), (12,)), ((), (1, 1)), ((1,), ()), ((0, 4), (4, 0)))
EXPANDED = [((3, 1), (3, 4)), ((4,), (3, 4)), ((), (2, 3)), ((1,), (0,)), ((3, 4), (3, 4)), ((), ())]


def shape_integers(*rest):
    return lambda rng: [S(rng.randint(0, 2, (3, 4)).astype(d), np.zeros((3, 4), d)) for d in DTYPES]


def unflatten(x, dim, sizes):
    dim %= x.ndim
    n = x.shape[dim]
    known = int(np.prod([s for s in sizes if s != -1]))
    return x.reshape((*x.shape[:dim], *(n // known if s == -1 else s for s in sizes), *x.shape[dim + 1 :]))


def move_samples(rng):
    return [
        S(rng.randn(2, 3, 4), 0, 2),
        S(rng.randn(2, 3, 4), -1, 0),
        S(rng.randn(2, 3, 4), (0, 1), (-1, 0)),
        S(rng.randn(2, 3, 4, 5), (3, 0), (1, 3)),
        S(rng.randn(2, 3), (), ()),
        S(rng.randn(5), 0, -1),
        S(rng.randn(0, 3), 1, 0),
    ]


MOVE_ERRORS = (
    Bad(lambda T: T.movedim(T.ones(2, 3), 0, 2), ("2",)),
    Bad(lambda T: T.movedim(T.ones(2, 3), (0, 1), (0,)), ("(0, 1)", "(0)")),
    Bad(lambda T: T.movedim(T.ones(2, 3), (0, -2), (0, 1)), ("(0, -2)",)),
    Bad(lambda T: T.movedim(T.ones(2, 3), (0, 1), (1, 1)), ("(1, 1)",)),
    Bad(lambda T: T.movedim(T.ones(2, 3), 0)),
)


def swapped(name, **options):
    return moved(
        name,
        lambda x, a, b: np.swapaxes(x, a, b) if x.ndim else x,
        lambda rng: [S(rng.randn(2, 3, 4), 0, -1), S(rng.randn(5), 0, 0), S(rng.randn(0, 3), 1, 0), S(A(1.5), 0, -1)],
        takes=(0, 1),
        **options,
    )


# Parts


def narrow(x, dim, start, length):
    start %= max(x.shape[dim], 1)
    return x[(slice(None),) * (dim % x.ndim) + (slice(start, start + length),)]


def cut(x, ends, dim):
    """The parts that end at the given places."""
    return tuple(np.split(x, ends, axis=dim)[: len(ends)])


def split(x, sizes, dim=0):
    if isinstance(sizes, int):
        n = x.shape[dim]
        sizes = [min(sizes, n - at) for at in range(0, n, max(sizes, 1))] or [0]
    return cut(x, np.cumsum(sizes).tolist(), dim)


def chunk(x, chunks, dim=0):
    n = x.shape[dim]
    return split(x, [0] * chunks if n == 0 else -(-n // chunks), dim)


def tensor_split(x, where, dim=0):
    if isinstance(where, np.ndarray):
        where = int(where) if where.ndim == 0 else where.tolist()
    return tuple(np.array_split(x, where, axis=dim))


def sized(rng):
    return [
        S(rng.randn(6), [1, 2, 3]),
        S(rng.randn(2, 5), (3, 0, 2), dim=1),
        S(rng.randn(2, 3, 4), [4], dim=-1),
        S(rng.randn(0, 3), [0, 0]),
    ]


def split_samples(rng):
    return [
        *sized(rng),
        S(rng.randn(7), 3),
        S(rng.randn(6, 2), 2),
        S(rng.randn(2, 5), 2, dim=1),
        S(rng.randn(2, 5), 9, dim=-1),
        S(rng.randn(0, 2), 3),
        S(rng.randn(0, 2), 0),
    ]


def chunk_samples(rng):
    return [
        S(rng.randn(6), 3),
        S(rng.randn(7, 2), 3),
        S(rng.randn(5), 4),
        S(rng.randn(2, 8), 4, dim=1),
        S(rng.randn(2), 5),
        S(rng.randn(0, 2), 3),
    ]


def tensor_split_samples(rng):
    return [
        S(rng.randn(7), 3),
        S(rng.randn(2, 5), 7, dim=1),
        S(rng.randn(0, 2), 2),
        S(rng.randn(6), [2, 4]),
        S(rng.randn(6, 2), (1, 1, 9)),
        S(rng.randn(2, 6), [-2], dim=-1),
        S(rng.randn(6), [4, 2]),
        S(rng.randn(6), []),
    ]


def unbind(x, dim=0):
    return tuple(np.moveaxis(x, dim, 0))


def part_cases():
    yield moved(
        "narrow",
        narrow,
        lambda rng: [
            S(rng.randn(5), 0, 1, 3),
            S(rng.randn(3, 4), 1, 0, 2),
            S(rng.randn(3, 4), -1, -2, 2),
            S(rng.randn(3, 4), 0, 1, 0),
            S(rng.randn(0, 4), 0, 0, 0),
        ],
        takes=(1, 1, 2),
        errors=(
            Bad(lambda T: T.narrow(T.ones(2, 3), 2, 0, 1), ("2",)),
            Bad(lambda T: T.narrow(T.ones(2, 3), 1, 4, 0), ("4", "(2, 3)")),
            Bad(lambda T: T.narrow(T.ones(2, 3), 1, -4, 1), ("-4",)),
            Bad(lambda T: T.narrow(T.ones(2, 3), 1, 1, 3), ("3", "(2, 3)")),
            Bad(lambda T: T.narrow(T.ones(2, 3), 1, 1, -1), ("-1",)),
            Bad(lambda T: T.narrow(T.ones(2, 3), 1, 1, 2**63 - 1)),
            Bad(lambda T: T.narrow(T.tensor(1.0), 0, 0, 1)),
        ),
    )
    yield moved(
        "split",
        split,
        split_samples,
        takes=(2,),
        errors=(
            *bad_dims("split", 1),
            Bad(lambda T: T.split(T.ones(5), 0), ("0",)),
            Bad(lambda T: T.split(T.ones(5), -1), ("-1",)),
            Bad(lambda T: T.split(T.ones(5), [2, 2]), ("(2, 2)", "5")),
            Bad(lambda T: T.split(T.ones(5), [6, -1]), ("(6, -1)",)),
            Bad(lambda T: T.split(T.ones(5), 1.5), ("float",)),
            Bad(lambda T: T.split(T.ones(5), "ab"), ("str",)),
            Bad(lambda T: T.split(T.ones(5))),
        ),
    )
    yield moved(
        "split_with_sizes",
        split,
        sized,
        takes=((1, 2),),
        errors=(
            Bad(lambda T: T.split_with_sizes(T.ones(5), [2, 2]), ("(2, 2)", "5")),
            Bad(lambda T: T.split_with_sizes(T.ones(5), [2**62, 2**62, 2**62, 2**62, 5]), ours_only=True),
            Bad(lambda T: T.split_with_sizes(T.ones(5), 5), ("int",)),
            Bad(lambda T: T.split_with_sizes(T.ones(2, 5), [5], dim=2), ("2",)),
        ),
    )
    yield moved(
        "chunk",
        chunk,
        chunk_samples,
        takes=(2,),
        errors=(
            *bad_dims("chunk", 1),
            Bad(lambda T: T.chunk(T.ones(5), 0), ("0",)),
            Bad(lambda T: T.chunk(T.ones(5), -2), ("-2",)),
            Bad(lambda T: T.chunk(T.ones(5), 2.0), ("float",)),
        ),
    )
    yield moved(
        "tensor_split",
        tensor_split,
        tensor_split_samples,
        takes=(2,),
        errors=(
            *bad_dims("tensor_split", 1),
            Bad(lambda T: T.tensor_split(T.ones(5), 0), ("0",)),
            Bad(lambda T: T.tensor_split(T.ones(5), 2**40), (str(2**40),), ours_only=True),
            Bad(lambda T: T.tensor_split(T.ones(5), [1.5])),
            Bad(lambda T: T.tensor_split(T.ones(5), T.tensor([0.5]))),
        ),
    )
    yield moved(
        "tensor_split at a tensor's indices",
        tensor_split,
        lambda rng: [S(rng.randn(6), A([2, 4])), S(rng.randn(2, 5), A(3), dim=1)],
        fn=lambda T, *args, **kwargs: T.tensor_split(*args, **kwargs),
        integers=None,
        row=False,
        reads_values=lambda sample: True,
    )
    yield moved(
        "unbind",
        unbind,
        lambda rng: [S(rng.randn(3)), S(rng.randn(2, 3)), S(rng.randn(2, 3, 4), dim=-2), S(rng.randn(2, 0), 0)],
        errors=bad_dims("unbind"),
    )


VIEWS = [
    moved(
        "view_as",
        like(np.reshape),
        RESHAPED,
        fn=method("view_as"),
        integers=shape_integers(),
        layouts=False,
        errors=(
            Bad(lambda T: T.ones(2, 3).view_as(T.ones(4)), ("(2, 3)", "(4)")),
            Bad(lambda T: T.ones(2, 3).t().view_as(T.ones(6)), ("(3, 2)", "(6)")),
        ),
    ),
    moved(
        "reshape_as",
        like(np.reshape),
        RESHAPED,
        fn=method("reshape_as"),
        integers=shape_integers(),
        errors=(Bad(lambda T: T.ones(2, 3).reshape_as(T.ones(4)), ("(2, 3)", "(4)")),),
    ),
    moved(
        "expand_as",
        like(np.broadcast_to),
        shaped(*EXPANDED),
        fn=method("expand_as"),
        integers=shape_integers(),
        errors=(Bad(lambda T: T.ones(2, 3).expand_as(T.ones(4, 3)), ("(2, 3)", "(4, 3)")),),
    ),
    moved(
        "broadcast_to",
        np.broadcast_to,
        lambda rng: [S(A(rng.randn(*a)), b) for a, b in EXPANDED],
        takes=((2, 3, 4),),
        errors=(
            Bad(lambda T: T.broadcast_to(T.ones(2, 3), (4, 3)), ("(2, 3)", "(4, 3)")),
            Bad(lambda T: T.broadcast_to(T.ones(2, 3), (3,)), ("(2, 3)", "(3)")),
        ),
    ),
    moved(
        "broadcast_tensors",
        lambda *arrays: np.broadcast_arrays(*arrays),
        pairs(((3, 1), (4,)), ((), (2,)), ((3,), (3,)), ((0, 1), (1, 2)), ((1,), (2, 3, 1))),
        fn=lambda T, *args: T.broadcast_tensors(*args),
        errors=(
            Bad(lambda T: T.broadcast_tensors(T.ones(2, 3), T.ones(4)), ("(2, 3)", "(4)")),
            Bad(lambda T: T.broadcast_tensors(T.ones(2), 3.0), ("float",)),
        ),
    ),
    moved(
        "unflatten",
        unflatten,
        lambda rng: [
            S(rng.randn(6), 0, (2, 3)),
            S(rng.randn(2, 6), 1, (3, -1)),
            S(rng.randn(2, 6, 3), -2, (2, 3, 1)),
            S(rng.randn(0, 2), 0, (0, 4)),
            S(rng.randn(2, 3), 0, [2]),
        ],
        takes=(1, (2, 2)),
        errors=(
            Bad(lambda T: T.unflatten(T.ones(2, 6), 1, (4, -1)), ("(4, -1)", "(2, 6)")),
            Bad(lambda T: T.unflatten(T.ones(2, 6), 1, (-1, -1)), ("(-1, -1)",)),
            Bad(lambda T: T.unflatten(T.ones(2, 6), 1, (2, 2)), ("(2, 2)",)),
            Bad(lambda T: T.unflatten(T.ones(2, 6), 1, ()), ("()",)),
            Bad(lambda T: T.unflatten(T.ones(2, 6), 2, (2, 3)), ("2",)),
            Bad(lambda T: T.unflatten(T.ones(1), 0, (1,) * 65), ("64", "65"), ours_only=True),
            Bad(lambda T: T.unflatten(T.ones(4), 0, (2**62, 2**2)), ()),
        ),
    ),
    moved(
        "ravel",
        lambda x: x.reshape(-1),
        lambda rng: [S(rng.randn(3, 4)), S(A(rng.randn())), S(rng.randn(0, 3)), S(rng.randn(5))],
        errors=(Bad(lambda T: T.ravel(3.0), ("float",)),),
    ),
    moved("movedim", np.moveaxis, move_samples, takes=(0, 1), errors=MOVE_ERRORS),
    moved("moveaxis", np.moveaxis, move_samples, takes=(0, 1), row=False),
    swapped("swapaxes", errors=(Bad(lambda T: T.swapaxes(T.ones(2, 3), 0, 2), ("2",)),)),
    swapped("swapdims", row=False),
]

CASES = [*VIEWS, *part_cases()]
