"""What elementwise cases are made with: shapes, random arguments, a case per operator of one or two operands."""

from __future__ import annotations

import numpy as np

from op_case import SPECIALS, Bad, Case, S, resolve

NAN, INF = np.nan, np.inf
SMALL = SPECIALS[np.abs(SPECIALS) < 1e20]  # sin and cos of 3e38 need an argument reduction of their own
NO_LIMIT = SPECIALS[np.isfinite(SPECIALS)]  # at infinity these have their limit, PyTorch nan
EXACT = {"ulp": 0.0, "why": "no rounding at all"}
ONE = {"ulp": 0.5, "why": "correctly rounded, as IEEE 754 has it"}
TRIG = {"ulp": 2.0, "absolute": 1.0, "why": "near a zero the error is that of the reduced argument"}

SHAPES = [(), (1,), (0,), (5,), (3, 4), (2, 3, 4), (0, 3), (2, 0), (33,), (1027,)]
PAIRS = [
    ((), ()),
    ((4,), ()),
    ((), (4,)),
    ((3, 4), (3, 4)),
    ((3, 4), (4,)),
    ((4,), (3, 4)),
    ((3, 1), (1, 4)),
    ((2, 1, 3), (4, 1)),
    ((1, 1), (2, 3)),
    ((0, 3), (3,)),
    ((0,), (1,)),
    ((1027,), (1027,)),
    ((7, 300), (300,)),
    ((7, 300), (7, 1)),
]
INTS = ("int64", "int32", "uint8")
ALL_INTS = (*INTS, "bool")


def draw(rng, domain, shape, kink=None):
    """Uniform in the domain, nowhere near the kink."""
    a = np.asarray(rng.uniform(*domain, shape))
    return a if kink is None else np.where(np.abs(a - kink) < 0.05, a + 0.1, a)


def draw_integers(rng, dtype, shape, low=-4):
    low, high = (0, 2) if dtype == "bool" else (0, 5) if dtype == "uint8" else (low, 5)
    return rng.randint(low, high, shape).astype(dtype)


def ones(T, dtype):
    return T.ones(2).to(getattr(T, dtype))


def unary(
    name, ref, domain, *, kink=None, takes=ALL_INTS, int_result="float", specials=SPECIALS, errors=(), **kw
) -> Case:
    """A row of one operand. `takes`: the integer dtypes it accepts; the others must be refused."""
    refused = [d for d in ALL_INTS if d not in takes]
    return Case(
        name,
        samples=lambda rng: [S(draw(rng, domain, shape, kink)) for shape in SHAPES],
        ref=ref,
        domain=domain,
        integers=lambda rng: [S(draw_integers(rng, d, (3, 5))) for d in takes],
        int_result=int_result,
        specials=lambda rng: [S(specials.copy())],
        errors=(
            Bad(lambda T: resolve(T, name)("text"), ("str",)),
            Bad(lambda T: resolve(T, name)()),
            Bad(lambda T: resolve(T, name)(T.ones(2), sideways=1), ("sideways",)),
            *(Bad(lambda T, d=d: resolve(T, name)(ones(T, d)), (d,), ours_only=name == "square") for d in refused),
            *errors,
        ),
        **kw,
    )


def binary(
    name, ref, a, b=None, *, takes=INTS, floats=True, int_result="same", int_low=-4, specials=SPECIALS, **kw
) -> Case:
    """A row of two operands drawn from the domains a and b. `takes`: the integer dtypes it accepts."""
    refused = [d for d in (*ALL_INTS, *(() if floats else ("float32",))) if d not in takes]
    return Case(
        name,
        samples=lambda rng: [S(draw(rng, a, p), draw(rng, b or a, q)) for p, q in PAIRS] if floats else [],
        ref=ref,
        domain=a,
        integers=lambda rng: [
            S(draw_integers(rng, d, p, int_low), draw_integers(rng, d, q, int_low)) for d in takes for p, q in PAIRS
        ],
        int_result=int_result,
        specials=(lambda rng: [S(specials[:, None].copy(), specials.copy())]) if floats else None,
        errors=(
            Bad(lambda T: getattr(T, name)(T.ones(2, 3), T.ones(4)), ("(2, 3)", "(4)") if floats else ()),
            Bad(lambda T: getattr(T, name)(T.ones(2), "text"), ("str",)),
            Bad(lambda T: getattr(T, name)(T.ones(2), None), ("None",)),
            Bad(lambda T: getattr(T, name)(ones(T, takes[0]))),
            *(Bad(lambda T, d=d: getattr(T, name)(ones(T, d), ones(T, d)), (d,), name == "pow") for d in refused),
        ),
        **kw,
    )


def compare(name, ref) -> Case:
    return binary(
        name, ref, (-2, 2), takes=ALL_INTS, int_result="bool", result="bool", differentiable=False, why="exact", ulp=0
    )
