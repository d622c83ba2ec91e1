"""Cases of more elementwise ops: elementary functions, rounding and division, bounds, blends, tests, logic."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from op_case import SPECIALS, Bad, Case, S
from op_cases_make import (
    ALL_INTS,
    EXACT,
    INF,
    INTS,
    NAN,
    ONE,
    PAIRS,
    SMALL,
    TRIG,
    binary,
    draw_integers,
    unary,
)

WIDE = {"ulp": 4.0, "why": "in float64 several roundings; float32 is computed in float64"}
COMPOSED = {"ulp": 4.0, "absolute": 2.0, "why": "several roundings, and sums that cancel"}
THREE = [((3, 4),) * 3, ((3, 4), (4,), ()), ((), (3, 1), (1, 4)), ((0, 3), (3,), (1,)), ((1027,), (1027,), ())]


def extended(case, *more, **fields):
    """The case with other fields, and with the samples more[k](rng) besides its own."""
    own = case.samples
    return replace(case, samples=lambda rng: [*own(rng), *(s for f in more for s in f(rng))], **fields)


def rounding(name, ref):
    return unary(
        name,
        ref,
        (-4, 4),
        takes=INTS,
        int_result="same",
        gradient_at=(([0.3, 1.0, -2.5, NAN], [0, 0, 0, 0]),),
        flat=True,
        specials=np.concatenate([SPECIALS, np.arange(-4.5, 5), [8388607.5, 2.0**52 + 1, -(2.0**60), 0.49999997]]),
        **EXACT,
    )


def sign(x):
    return x if x.dtype == bool else np.where(np.isnan(x), 0, np.sign(x)).astype(x.dtype)


def remainder(a, b):
    if a.dtype.kind != "f":
        return np.remainder(a, b)
    r = np.fmod(a, b)
    return np.where((r != 0) & ((b < 0) != (r < 0)), r + b, r)  # NumPy's own has another opinion at infinity


def floor_divide(a, b):
    if a.dtype.kind != "f":
        return np.where((a == np.iinfo(a.dtype).min) & (b == -1), a, np.floor_divide(a, b)) if b.size else a // b
    r = np.fmod(a, b)
    q = (a - r) / b - ((r != 0) & ((b < 0) != (r < 0)))
    return np.where(b == 0, a / b, np.where(q == 0, np.copysign(0.0, a / b), np.round(q)))


def division(name, ref, **kw):
    """Of numbers and of integers, which may not be divided by zero."""
    case = binary(name, ref, (-9, 9), (0.4, 3), **ONE, **kw)

    def integers(rng):
        pairs = [(draw_integers(rng, d, p), draw_integers(rng, d, q)) for d in INTS for p, q in PAIRS]
        lowest = S(np.array([-(2**31), 2**31 - 1], "int32"), np.array([-1, -1], "int32"))
        return [S(a, np.where(b == 0, 3, b).astype(b.dtype)) for a, b in pairs] + [lowest]

    def of_both_signs(rng):
        return [S(rng.uniform(-9, 9, (40,)), rng.choice([-1, 1], (40,)) * rng.uniform(0.4, 3, (40,)))]

    by_zero = [Bad(lambda T, b=b: getattr(T, name)(T.tensor([1, 2]), b(T)), ("zero",))
               for b in (lambda T: T.tensor([1, 0]), lambda T: 0)]  # fmt: skip
    return extended(case, of_both_signs, integers=integers, errors=(*case.errors, *by_zero))


@np.errstate(all="ignore")
def xlogy(a, b):
    return np.where((a == 0) & ~np.isnan(b), 0, a * np.log(b))


def alphas(rng):
    return [S(rng.randn(3, 4), rng.randn(4), alpha=a) for a in (2, -0.5, 0)]


def bounded(rng, shape, shift=0.0):
    """Numbers that are never equal to bounds of another shift."""
    return np.asarray(np.round(rng.uniform(-3, 3, shape), 2) + 0.005 + shift)


def clamp_samples(rng):
    bounds = [(-1, 1.5), (None, 0.5), (0.25, None), (2, -2)]
    tensors = [[bounded(rng, s, 0.001 * k) for k, s in enumerate(shapes)] for shapes in THREE if shapes[0]]
    return [
        *(S(bounded(rng, s), *b) for s in ((), (3, 4), (0,), (1027,)) for b in bounds),
        S(bounded(rng, (5,)), min=-1),
        *(S(*t) for t in tensors),
        S(bounded(rng, (3, 4)), None, bounded(rng, (4,), 0.001)),
    ]


def clamp(x, min=None, max=None):
    x = x if min is None else np.maximum(x, min)
    x = x if max is None else np.minimum(x, max)
    return x


def clamp_case(name, samples, ref, integers, gradient_at):
    return Case(
        name,
        samples,
        ref,
        specials=lambda rng: [S(SPECIALS.copy(), b) for b in (0.5, -1, INF)],
        integers=integers,
        gradient_at=gradient_at,
        errors=(
            Bad(lambda T: getattr(T, name)(T.ones(2), "a"), ("str",)),
            Bad(lambda T: getattr(T, name)(T.ones(2) > 0, True), ("bool",), ours_only=True),
            Bad(lambda T: getattr(T, name)(T.ones(2), T.ones(3)), ("(2)", "(3)")),
            Bad(lambda T: getattr(T, name)(T.ones(2), None)),
        ),
        **EXACT,
    )


AT = [0.0, 1.0, 1.5, 2.0, 3.0, NAN]
BOUNDS = [
    clamp_case(
        "clamp",
        clamp_samples,
        clamp,
        lambda rng: (
            [S(rng.randint(0, 9, (3, 4)).astype(d), 2, 5) for d in INTS]
            + [S(rng.randint(0, 9, 4), rng.randint(0, 9, 4), rng.randint(0, 9, 4))]
        ),
        (
            (AT, [1.0] * 6, [2.0] * 6, [0, 1, 1, 1, 0, 0], [1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0]),
            (AT, [2.0] * 6, [1.0] * 6, [0] * 6, [0] * 6, [1] * 6),
            (AT, [NAN] * 6, [2.0] * 6, [0] * 6, [0] * 6, [0, 0, 0, 0, 1, 0]),
        ),
    ),
    clamp_case(
        "clamp_min",
        lambda rng: [S(bounded(rng, p), bounded(rng, q, 0.001)) for p, q in PAIRS] + [S(bounded(rng, (4,)), 0.5)],
        np.maximum,
        lambda rng: [S(rng.randint(0, 9, (3, 4)).astype(d), 3) for d in INTS],
        ((AT, [1.5] * 6, [0, 0, 1, 1, 1, 0], [1, 1, 0, 0, 0, 0]),),
    ),
    clamp_case(
        "clamp_max",
        lambda rng: [S(bounded(rng, p), bounded(rng, q, 0.001)) for p, q in PAIRS] + [S(bounded(rng, (4,)), 0.5)],
        np.minimum,
        lambda rng: [S(rng.randint(0, 9, (3, 4)).astype(d), 3) for d in INTS],
        ((AT, [1.5] * 6, [1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 0]),),
    ),
]


def three(rng, low=-2.0):
    return [[np.asarray(rng.uniform(low, 2, s)) for s in shapes] for shapes in THREE]


def lerp(a, b, w):
    return np.where(np.abs(w) < 0.5, a + w * (b - a), b - (b - a) * (1 - np.asarray(w)))


def addcmul(a, b, c, value=1):
    return a + np.asarray(value, a.dtype) * b * c


BLENDS = [
    Case(
        "lerp",
        lambda rng: [S(*t) for t in three(rng)] + [S(rng.randn(3, 4), rng.randn(4), w) for w in (0, 0.3, 0.5, 1, -2.5)],
        lerp,
        **COMPOSED,
        errors=(
            Bad(lambda T: T.lerp(T.ones(2).long(), T.ones(2).long(), 0.5), ("int64",)),
            Bad(lambda T: T.lerp(T.ones(2, 3), T.ones(4), 0.5), ("(2, 3)", "(4)")),
            Bad(lambda T: T.lerp(T.ones(2), T.ones(2))),
            Bad(lambda T: T.lerp(T.ones(2), T.ones(2), "a"), ("str",)),
        ),
    ),
    Case(
        "addcmul",
        lambda rng: [S(*t, **kw) for t in three(rng) for kw in ({}, {"value": -0.5})],
        addcmul,
        **COMPOSED,
        integers=lambda rng: [S(*(draw_integers(rng, d, 5) for _ in range(3)), value=v) for d in INTS for v in (1, 3)],
        errors=(
            Bad(
                lambda T: T.addcmul(T.ones(2).long(), T.ones(2).long(), T.ones(2).long(), value=0.5),
                ("int64",),
                ours_only=True,
            ),
            Bad(lambda T: T.addcmul(T.ones(2, 3), T.ones(4), T.ones(1)), ("(2, 3)", "(4)")),
            Bad(lambda T: T.addcmul(T.ones(2), T.ones(2), T.ones(2), value="a"), ("str",)),
        ),
    ),
    Case(
        "addcdiv",
        lambda rng: [S(*t, **kw) for t in three(rng, low=0.5) for kw in ({}, {"value": -0.5})],
        lambda a, b, c, value=1: a + value * (b / c),
        **COMPOSED,
        errors=(
            Bad(lambda T: T.addcdiv(T.ones(2).long(), T.ones(2).long(), T.ones(2).long()), ("int64",)),
            Bad(lambda T: T.addcdiv(T.ones(2, 3), T.ones(4), T.ones(1)), ("(2, 3)", "(4)")),
        ),
    ),
]


def element_test(name, ref):
    """A test of every element: isnan and the like."""
    return unary(name, ref, (-3, 3), int_result="bool", result="bool", differentiable=False, **EXACT)


def close_samples(rng):
    a = rng.randn(3, 4)
    near = a * (1 + 1e-6)
    return [S(a, near), S(a, near, 1e-9), S(a, near, rtol=0, atol=1e-3), S(a, a[0]), S(np.zeros(0), np.zeros(0))]


TESTS = [
    element_test("isnan", np.isnan),
    element_test("isinf", np.isinf),
    element_test("isfinite", np.isfinite),
    Case(
        "isclose",
        close_samples,
        np.isclose,
        result="bool",
        differentiable=False,
        integers=lambda rng: [S(draw_integers(rng, d, 9), draw_integers(rng, d, 9)) for d in ALL_INTS],
        int_result="bool",
        specials=lambda rng: [S(SPECIALS[:, None].copy(), SPECIALS.copy(), equal_nan=e) for e in (False, True)],
        errors=(
            Bad(lambda T: T.isclose(T.ones(2), T.ones(2), rtol=-1)),
            Bad(lambda T: T.isclose(T.ones(2), T.ones(2).long()), ("float32", "int64")),
            Bad(lambda T: T.isclose(T.ones(2), T.ones(3)), ("(2)", "(3)")),
            Bad(lambda T: T.isclose(T.ones(2), "a"), ("str",)),
        ),
        **EXACT,
    ),
    *(
        binary(
            name,
            getattr(np, name),
            (-2, 2),
            takes=ALL_INTS,
            int_result="bool",
            result="bool",
            differentiable=False,
            **EXACT,
        )
        for name in ("logical_and", "logical_or", "logical_xor")
    ),
    Case(
        "bitwise_not",
        lambda rng: [],
        np.invert,
        result="int64",
        differentiable=False,
        integers=lambda rng: [S(draw_integers(rng, d, (3, 5))) for d in ALL_INTS],
        errors=(Bad(lambda T: T.bitwise_not(T.ones(2)), ("float32",)),),
        **EXACT,
    ),
]

CASES = [
    unary("exp2", np.exp2, (-9, 9), gradient_at=(([-INF, 0.0], [0, math.log(2)]),)),
    unary("log2", np.log2, (0.2, 9), gradient_at=(([0.0, 1.0], [INF, 1 / math.log(2)]),), absolute=0.5),
    unary("log10", np.log10, (0.2, 9), gradient_at=(([0.0, 1.0], [INF, 1 / math.log(10)]),), absolute=0.5),
    unary("rsqrt", lambda x: 1 / np.sqrt(x), (0.2, 9), gradient_at=(([0.0, 4.0], [-INF, -1 / 16]),)),
    unary("tan", np.tan, (-1.4, 1.4), specials=SMALL, **TRIG),
    unary("asin", np.arcsin, (-0.95, 0.95), gradient_at=(([1.0, -1.0, 0.0], [INF, INF, 1]),), **WIDE),
    unary("acos", np.arccos, (-0.95, 0.95), gradient_at=(([1.0, -1.0, 0.0], [-INF, -INF, -1]),), **WIDE),
    unary("atan", np.arctan, (-4, 4), gradient_at=(([0.0, INF], [1, 0]),), **WIDE),
    unary("sinh", np.sinh, (-4, 4), **WIDE),
    unary("cosh", np.cosh, (-4, 4), **WIDE),
    unary("asinh", np.arcsinh, (-4, 4), **WIDE),
    unary("acosh", np.arccosh, (1.1, 9), gradient_at=(([1.0, 2.0], [INF, 1 / math.sqrt(3)]),), **WIDE),
    unary("atanh", np.arctanh, (-0.9, 0.9), gradient_at=(([1.0, 0.0], [INF, 1]),), **WIDE),
    unary("erfc", np.vectorize(math.erfc, otypes=[float]), (-3, 4), **WIDE),
    unary("sign", sign, (-3, 3), int_result="same", gradient_at=(([0.0, -2.0, NAN], [0, 0, 0]),), flat=True, **EXACT),
    rounding("floor", np.floor),
    rounding("ceil", np.ceil),
    rounding("trunc", np.trunc),
    extended(
        rounding("round", np.round),
        lambda rng: [S(rng.uniform(-9, 9, (3, 4)), decimals=d) for d in (1, 2, -1)],
        **ONE,
    ),
    unary("frac", lambda x: x - np.trunc(x), (-4, 4), takes=(), gradient_at=(([0.0, 1.5, -2.0], [1, 1, 1]),), **EXACT),
    unary("logit", lambda x, eps=None: np.log(x / (1 - x)), (0.1, 0.9), **COMPOSED),
    division("remainder", remainder, gradient_at=(([5.0, -5.0, 6.0], [3.0, 3.0, 3.0], [1, 1, 1], [-1, 2, -2]),)),
    division("fmod", np.fmod, gradient_at=(([5.0, -5.0, 6.0], [3.0, 3.0, 3.0], [1, 1, 1], [-1, 1, -2]),)),
    # PyTorch has no derivative of floor_divide, here it is 0, as of div with a rounding.
    division("floor_divide", floor_divide, parity=False, flat=True),
    binary(
        "atan2",
        np.arctan2,
        (-3, 3),
        (0.4, 3),
        takes=ALL_INTS,
        int_result="float",
        gradient_at=(([0.0, 1.0, 0.0], [1.0, 0.0, -1.0], [1, 0, -1], [0, -1, 0]),),
        **WIDE,
    ),
    binary(
        "xlogy",
        xlogy,
        (0.3, 3),
        takes=ALL_INTS,
        int_result="float",
        gradient_at=(([0.0, 0.0, 2.0], [2.0, 0.0, 1.0], [math.log(2), 0, 0], [0, NAN, 2]),),
        **COMPOSED,
    ),
    binary(
        "fmax",
        np.fmax,
        (-3, 3),
        takes=ALL_INTS,
        gradient_at=(([1.0, 2.0, NAN, 1.0, NAN], [1.0, 3.0, 1.0, NAN, NAN], [1, 0, 0, 1, 1], [0, 1, 1, 0, 0]),),
        **EXACT,
    ),
    binary(
        "fmin",
        np.fmin,
        (-3, 3),
        takes=ALL_INTS,
        gradient_at=(([1.0, 2.0, NAN, 1.0, NAN], [1.0, 3.0, 1.0, NAN, NAN], [1, 1, 0, 1, 1], [0, 0, 1, 0, 0]),),
        **EXACT,
    ),
    *BOUNDS,
    *BLENDS,
    *TESTS,
]
