"""Cases of the products of given ranks (mm, bmm, addmm and the like) and of the contractions einsum and tensordot."""

from __future__ import annotations

import numpy as np

from op_case import Bad, Case, S

A = np.asarray
SUMS = {"ulp": 4.0, "absolute": 60.0, "why": "a sum of up to 400 products of normal numbers, in an order of its own"}
INTS = ("int64", "int32", "uint8")


def drawn(*calls, **kwargs):
    """Samples of normal draws, by the shapes of each call."""
    return lambda rng: [S(*(A(rng.randn(*shape)) for shape in shapes), **kwargs) for shapes in calls]


def integers(*shapes, dtypes=INTS):
    """One call for each dtype; the largest values wrap."""

    def samples(rng):
        return [
            S(*((rng.randint(0, 2, s) if d == "bool" else rng.randint(0, 100, s)).astype(d) for s in shapes))
            for d in dtypes
        ]

    return samples


def wrong_ranks(name, *good):
    """Operands of another rank than `good` ones, each in turn, and of another dtype."""

    def call(T, k, change):
        operands = [T.ones(*shape) for shape in good]
        operands[k] = change(operands[k])
        return getattr(T, name)(*operands)

    return (
        *(Bad(lambda T, k=k: call(T, k, lambda t: t.unsqueeze(0)), ("float32",)) for k in range(len(good))),
        Bad(lambda T: call(T, len(good) - 1, lambda t: t.double()), ("float32", "float64")),
        Bad(lambda T: getattr(T, name)(T.ones(2, 3), "text"), ("str",)),
        Bad(lambda T: getattr(T, name)(*(T.ones(*shape) for shape in good), sideways=1), ("sideways",)),
    )


def product(name, ref, *calls, dtypes=INTS, errors=(), **kw) -> Case:
    """A product of two tensors of fixed ranks; `calls` are pairs of shapes, the first of which fits the errors too."""
    return Case(
        name,
        samples=drawn(*calls),
        ref=ref,
        integers=integers(*calls[0], dtypes=dtypes),
        errors=(*wrong_ranks(name, *calls[0]), *errors),
        **(SUMS | kw),
    )


def added(name, ref, *calls, dtypes=INTS, errors=()) -> Case:
    """input + product: beta and alpha scale the two, and beta 0 drops the input, nan and all."""

    def with_factors(x, a, b, *, beta=1, alpha=1):
        return alpha * ref(a, b) + (beta * x if beta else 0)

    def samples(rng):
        plain = drawn(*calls)(rng)
        return [*plain, *drawn(calls[0], beta=0.5, alpha=-2.0)(rng), *drawn(calls[1], beta=2, alpha=0)(rng)]

    def specials(rng):
        (sample,) = drawn(calls[0])(rng)
        return [S(np.full_like(sample.args[0], np.nan), *sample.args[1:], beta=beta) for beta in (0, 1)]

    def integer_samples(rng):
        return [S(*s.args, beta=beta, alpha=2) for s in integers(*calls[0], dtypes=dtypes)(rng) for beta in (0, 3)]

    def bad(T, *shapes, **kwargs):
        return getattr(T, name)(*(T.ones(*shape) for shape in shapes), **kwargs)

    x, a, b = calls[0]
    return Case(
        name,
        samples=samples,
        ref=with_factors,
        specials=specials,
        integers=integer_samples,
        errors=(
            Bad(lambda T: bad(T, (7, *x), a, b)),
            Bad(lambda T: bad(T, (*x[:-1], 9), a, b), ("9",)),
            Bad(lambda T: bad(T, x, (2, *a), b)),
            Bad(lambda T: bad(T, x, a, (2, *b))),
            Bad(lambda T: bad(T, x, a)),
            Bad(lambda T: bad(T, x, a, b, beta="a"), ("str",)),
            Bad(lambda T: bad(T, x, a, b, beta=None), ("None",)),
            Bad(lambda T: bad(T, x, a, b, gamma=1), ("gamma",)),
            Bad(
                lambda T: getattr(T, name)(*(T.ones(*shape, dtype=T.int64) for shape in calls[0]), alpha=0.5),
                ("int64", "0.5"),
                ours_only=name != "addr",
            ),
            *errors,
        ),
        **SUMS,
    )


def contracted(equation):
    return lambda *operands: np.einsum(equation, *operands)


EQUATIONS = [
    ("ij,jk->ik", (3, 4), (4, 5)),
    ("ij,jk", (3, 4), (4, 5)),
    ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
    ("i,i->", (5,), (5,)),
    ("i,j->ij", (3,), (4,)),
    ("ij->ji", (3, 4)),
    ("ij->", (3, 4)),
    ("ij->j", (3, 4)),
    ("ji", (3, 4)),
    ("ba", (3, 4)),
    ("Ba", (3, 4)),
    ("ii->i", (4, 4)),
    ("ii", (4, 4)),
    ("iji->j", (3, 2, 3)),
    ("iii->i", (2, 2, 2)),
    ("ij,ij->ij", (3, 4), (3, 4)),
    ("ij,ij", (3, 4), (3, 4)),
    ("ij,ij->i", (3, 4), (3, 4)),
    ("ij,kj->ik", (3, 4), (5, 4)),
    ("bhqd,bhkd->bhqk", (2, 3, 4, 5), (2, 3, 2, 5)),
    ("bqhd,bkhd->bhqk", (2, 4, 3, 5), (2, 2, 3, 5)),
    ("bn,anm,bm->ba", (2, 3), (4, 3, 5), (2, 5)),
    ("ij,jk,kl,lm->im", (2, 3), (3, 4), (4, 2), (2, 3)),
    ("a,ab,abc->abc", (2,), (2, 3), (2, 3, 4)),
    ("...ij,...jk->...ik", (2, 3, 4), (2, 4, 5)),
    ("...ij,...jk->...ik", (6, 1, 3, 4), (2, 4, 5)),
    ("...i,i->...", (2, 3, 4), (4,)),
    ("i...,i...->...", (3, 2, 4), (3, 4)),
    ("...ij->...ji", (2, 3, 4)),
    ("...", (2, 3)),
    ("...,...", (2, 3), (3,)),
    (" i j , j -> i ", (3, 4), (4,)),
    ("->", ()),
    (",->", (), ()),
    ("i,->i", (3,), ()),
    ("ij,jk->ik", (3, 0), (0, 2)),
    ("ij,jk->ik", (0, 3), (3, 2)),
    ("ab,bc->a", (3, 4), (4, 5)),
    ("ab,bc->", (3, 4), (4, 5)),
    ("ab,ac,ad->", (2, 3), (2, 4), (2, 5)),
    ("ij,jk->ik", (30, 400), (400, 20)),
]


def einsum_samples(rng):
    return [S(equation, *(A(rng.randn(*shape)) for shape in shapes)) for equation, *shapes in EQUATIONS]


def einsum_integers(rng):
    ones = [S("ij,jk->ik", *(rng.randint(0, 9, s).astype(d) for s in ((3, 4), (4, 2)))) for d in INTS]
    outer = [S("i,j->ij", *(rng.randint(0, 2, 3).astype(d) for _ in range(2))) for d in (*INTS, "bool")]
    return ones + outer


def sublist_samples(rng):
    return [
        S(rng.randn(3, 4), [0, 1], rng.randn(4, 5), [1, 2]),
        S(rng.randn(3, 4), [0, 1], rng.randn(4, 5), [1, 51], [51, 0]),
        S(rng.randn(3, 4), (1, 0)),
        S(rng.randn(3, 3), [7, 7], []),
        S(rng.randn(2, 3, 4), [..., 0, 1], rng.randn(4, 5), [1, 30], [..., 0, 30]),
    ]


def einsum_of_sublists(*args):
    """NumPy orders the labels of a result that is not said by number, as PyTorch does."""
    return np.einsum(*(list(a) if isinstance(a, tuple) else a for a in args))


def tensordot_samples(rng):
    return [
        S(rng.randn(3, 4), rng.randn(4, 5), dims=1),
        S(rng.randn(2, 3, 4), rng.randn(3, 4, 5)),
        S(rng.randn(3, 4), rng.randn(5, 2), dims=0),
        S(rng.randn(2, 3, 4), rng.randn(4, 5, 2), dims=([0, 2], [2, 0])),
        S(rng.randn(2, 3, 4), rng.randn(4, 3), dims=[[-1], [0]]),
        S(rng.randn(2, 3), rng.randn(2, 3), dims=2),
        S(A(rng.randn()), rng.randn(2, 3), dims=0),
        S(rng.randn(2, 0), rng.randn(0, 3), dims=1),
        S(rng.randn(2, 3), rng.randn(4), dims=([], [])),
        S(rng.randn(20, 400), rng.randn(400, 3), dims=((1,), (0,))),
    ]


def inner(a, b):
    return np.inner(a, b) if a.ndim and b.ndim else a * b


def outer_sum(a, b):
    return np.einsum("bij,bjk->ik", a, b)


OUTER = {
    "samples": drawn(((4,), (3,)), ((1,), (1,)), ((0,), (2,)), ((300,), (5,))),
    "ref": np.outer,
    "integers": integers((4,), (3,), dtypes=(*INTS, "bool")),
    "ulp": 0.5,
    "why": "one product each",
}

MATRICES = [((2, 3), (3, 4)), ((1, 1), (1, 1)), ((0, 3), (3, 2)), ((2, 0), (0, 3)), ((15, 400), (400, 9))]
BATCHES = [((5, 2, 3), (5, 3, 4)), ((1, 2, 2), (1, 2, 1)), ((0, 2, 3), (0, 3, 4)), ((2, 2, 0), (2, 0, 3))]
VECTORS = [((4,), (4,)), ((1,), (1,)), ((0,), (0,)), ((400,), (400,))]

GIVEN_RANKS = [
    product(
        "mm",
        np.matmul,
        *MATRICES,
        errors=(
            Bad(lambda T: T.mm(T.ones(2, 3), T.ones(2, 3)), ("(2, 3)",)),
            Bad(lambda T: T.mm(T.ones(2, 3), T.ones(3)), ("(2, 3)", "(3)", "matmul()")),
            Bad(lambda T: T.mm(T.ones(2, 2).bool(), T.ones(2, 2).bool()), ("bool",)),
        ),
    ),
    product(
        "bmm",
        np.matmul,
        *BATCHES,
        ((40, 7, 33), (40, 33, 9)),
        errors=(
            Bad(lambda T: T.bmm(T.ones(1, 2, 3), T.ones(5, 3, 4)), ("(1, 2, 3)", "(5, 3, 4)")),
            Bad(lambda T: T.bmm(T.ones(5, 2, 3), T.ones(5, 2, 4)), ("(5, 2, 3)", "(5, 2, 4)")),
        ),
    ),
    product(
        "mv",
        np.matmul,
        ((2, 3), (3,)),
        ((1, 1), (1,)),
        ((0, 3), (3,)),
        ((2, 0), (0,)),
        ((15, 400), (400,)),
        errors=(Bad(lambda T: T.mv(T.ones(2, 3), T.ones(2)), ("(2, 3)", "(2)")),),
    ),
    product("dot", np.dot, *VECTORS, errors=(Bad(lambda T: T.dot(T.ones(3), T.ones(4)), ("(3)", "(4)")),)),
    product("vdot", np.dot, *VECTORS, errors=(Bad(lambda T: T.vdot(T.ones(3), T.ones(4)), ("(3)", "(4)")),)),
    Case(
        "inner",
        drawn(
            ((2, 3), (4, 3)),
            ((3,), (3,)),
            ((2, 3, 4), (5, 4)),
            ((), (2, 3)),
            ((2,), ()),
            ((0,), (0,)),
            ((2, 0), (3, 0)),
        ),
        inner,
        integers=integers((2, 3), (4, 3)),
        errors=(
            Bad(lambda T: T.inner(T.ones(2, 3), T.ones(2, 4)), ("(2, 3)", "(2, 4)")),
            Bad(lambda T: T.inner(T.ones(3), T.ones(3).double()), ("float32", "float64")),
        ),
        **SUMS,
    ),
    Case(
        "outer",
        errors=(
            Bad(lambda T: T.outer(T.ones(2, 3), T.ones(3)), ("(2, 3)",)),
            Bad(lambda T: T.outer(T.ones(3), T.tensor(1.0)), ("()",)),
            Bad(lambda T: T.outer(T.ones(3), "text"), ("str",)),
        ),
        **OUTER,
    ),
    Case("ger", row=False, **OUTER),
]

# Of one product, with inputs that broadcast.
ADDMM = [(x, (2, 3), (3, 4)) for x in ((2, 4), (4,), (2, 1), (), (1,))]
ADDMV = [(x, (2, 3), (3,)) for x in ((2,), (1,), ())]
BADDBMM = [(x, (5, 2, 3), (5, 3, 4)) for x in ((5, 2, 4), (2, 4), (4,))]
ADDBMM = [(x, (5, 2, 3), (5, 3, 4)) for x in ((2, 4), (4,), (2, 1))]
ADDR = [(x, (2,), (4,)) for x in ((2, 4), (4,), (2, 1))]
ADDED = [
    added("addmm", np.matmul, *ADDMM, ((3,), (2, 0), (0, 3)), ((40,), (33, 100), (100, 40))),
    added("addmv", np.matmul, *ADDMV, ((2,), (2, 0), (0,))),
    added("baddbmm", np.matmul, *BADDBMM, ((2, 4), (0, 2, 3), (0, 3, 4))),
    added(
        "addbmm",
        outer_sum,
        *ADDBMM,
        ((2, 4), (0, 2, 3), (0, 3, 4)),
        errors=(Bad(lambda T: T.addbmm(T.ones(2, 4), T.ones(5, 2, 3), T.ones(4, 3, 4)), ("(5, 2, 3)", "(4, 3, 4)")),),
    ),
    added("addr", np.outer, *ADDR, ((), (0,), (4,))),
]

CASES = [
    *GIVEN_RANKS,
    *ADDED,
    Case(
        "einsum",
        einsum_samples,
        lambda equation, *operands: np.einsum(equation.replace(" ", ""), *operands),
        integers=einsum_integers,
        errors=(
            Bad(lambda T: T.einsum("ij,jk->ik", T.ones(2, 3), T.ones(4, 2)), ("'j'", "3", "4", "ij,jk->ik")),
            Bad(lambda T: T.einsum("ij,jk->ik", T.ones(2, 3)), ("1", "2")),
            Bad(lambda T: T.einsum("ij->ij", T.ones(2, 3), T.ones(2, 3)), ("2", "1")),
            Bad(lambda T: T.einsum("ij->ik", T.ones(2, 3)), ("'k'",)),
            Bad(lambda T: T.einsum("ij->ii", T.ones(2, 3)), ("'i'",)),
            Bad(lambda T: T.einsum("ii->i", T.ones(2, 3)), ("'i'", "2", "3")),
            Bad(lambda T: T.einsum("ijk->i", T.ones(2, 3)), ("(2, 3)", "3")),
            Bad(lambda T: T.einsum("i->i", T.ones(2, 3)), ("(2, 3)", "1")),
            Bad(lambda T: T.einsum("i.j->i", T.ones(2, 3))),
            Bad(lambda T: T.einsum("...i...->i", T.ones(2, 3))),
            Bad(lambda T: T.einsum("i1->i", T.ones(2, 3)), ("'1'",)),
            Bad(lambda T: T.einsum("i-j", T.ones(2, 3)), ("'-'",)),
            Bad(lambda T: T.einsum("ij->i>", T.ones(2, 3)), ("'>'",)),
            Bad(lambda T: T.einsum("...i,...i->...i", T.ones(2, 3), T.ones(4, 3)), ("2", "4")),
            Bad(lambda T: T.einsum("i,i->", T.ones(2), T.ones(2).double()), ("float32", "float64")),
            Bad(lambda T: T.einsum("i,i->", T.ones(2), 3.0), ("float",)),
            Bad(lambda T: T.einsum("i->")),
        ),
        **SUMS,
    ),
    Case(
        "einsum of lists of labels",
        sublist_samples,
        einsum_of_sublists,
        fn=lambda T, *args: T.einsum(*args),
        row=False,
        **SUMS,
    ),
    Case(
        "tensordot",
        tensordot_samples,
        lambda a, b, dims=2: np.tensordot(a, b, dims),
        integers=integers((2, 3, 4), (3, 4, 2)),
        errors=(
            Bad(lambda T: T.tensordot(T.ones(2, 3), T.ones(4, 2), dims=1), ("(2, 3)", "(4, 2)", "3", "4")),
            Bad(lambda T: T.tensordot(T.ones(2, 3), T.ones(3, 2), dims=-1), ("-1",)),
            Bad(lambda T: T.tensordot(T.ones(2, 3), T.ones(3, 2), dims=3), ("3",)),
            Bad(lambda T: T.tensordot(T.ones(2, 3), T.ones(3, 2), dims=([0, 1], [0]))),
            Bad(lambda T: T.tensordot(T.ones(2, 3), T.ones(3, 2), dims=([1, 1], [0, 0])), ("1",)),
            Bad(lambda T: T.tensordot(T.ones(2, 3), T.ones(3, 2), dims=([2], [0])), ("2",)),
            Bad(lambda T: T.tensordot(T.ones(2, 3), T.ones(3, 2), dims="ab")),
            Bad(lambda T: T.tensordot(T.ones(1), T.ones(3), dims=1), ("(1)", "(3)"), ours_only=True),
            Bad(lambda T: T.tensordot(T.ones(2, 3), T.ones(3, 2).double(), dims=1), ("float32", "float64")),
        ),
        **SUMS,
    ),
]
