"""The table of ops: a case per row of csrc/ops/ops.def. Elementwise ops here, structured ones in op_cases_*.py."""

from __future__ import annotations

import functools
import math

import numpy as np

import op_cases_activations
import op_cases_class_losses
import op_cases_elementwise
import op_cases_index
import op_cases_index_write
import op_cases_joins
import op_cases_layers
import op_cases_losses
import op_cases_masked
import op_cases_matmul
import op_cases_matrices
import op_cases_nn
import op_cases_order
import op_cases_products
import op_cases_reduce
import op_cases_scan
import op_cases_shape
import op_cases_statistics
import op_cases_views
from op_case import Case
from op_cases_make import (
    ALL_INTS,
    EXACT,
    INF,
    INTS,
    NAN,
    NO_LIMIT,
    ONE,
    SMALL,
    TRIG,
    binary,
    compare,
    unary,
)


def sigmoid(x):
    x = np.asarray(x, dtype=np.float64)
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def silu(x):
    return np.where(x == -INF, -0.0, x * sigmoid(x))


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


erf = np.vectorize(math.erf, otypes=[float])


@functools.partial(np.vectorize, otypes=[float])
def normal_cdf(x):
    """erfc(z) / 2 at z = -x / sqrt(2), with what the rounding of z leaves out."""
    exact = -np.longdouble(x) / np.sqrt(np.longdouble(2))
    z = float(exact)
    slope = math.exp(-z * z) if abs(z) < 1e3 else 0.0
    return math.erfc(z) / 2 - slope * float(exact - z) / math.sqrt(math.pi) if math.isfinite(z) else math.erfc(z) / 2


def gelu(x):
    return np.where(x == -INF, -0.0, x * normal_cdf(x))


def gelu_tanh(x):
    wide = np.asarray(x, np.longdouble)
    y = wide / (
        1 + np.exp(-np.sqrt(8 / (4 * np.arctan(np.longdouble(1)))) * (wide + np.longdouble("0.044715") * wide**3))
    )
    return np.where(np.isneginf(x), -0.0, y).astype(np.float64)


def relu(x):
    return np.where(np.isnan(x), x, np.maximum(x, 0)).astype(x.dtype)


ELEMENTWISE = [
    unary("neg", np.negative, (-3, 3), takes=INTS, int_result="same", **EXACT),
    unary(
        "abs",
        np.abs,
        (-3, 3),
        kink=0,
        takes=INTS,
        int_result="same",
        gradient_at=(([0.0, -0.0, -2.0], [0, 0, -1]),),
        **EXACT,
    ),
    unary("square", np.square, (-3, 3), takes=INTS, int_result="same", **ONE),
    unary("exp", np.exp, (-4, 4), gradient_at=(([-INF, 0.0], [0, 1]),)),
    unary("expm1", np.expm1, (-4, 4), gradient_at=(([-INF, 0.0], [0, 1]),)),
    unary("log", np.log, (0.2, 9), gradient_at=(([0.0, 2.0], [INF, 0.5]),), absolute=0.5),
    unary("log1p", np.log1p, (-0.8, 9), gradient_at=(([-1.0, 0.0], [INF, 1]),)),
    unary("sqrt", np.sqrt, (0.2, 9), gradient_at=(([0.0, 4.0], [INF, 0.25]),), **ONE),
    unary("reciprocal", np.reciprocal, (0.3, 3), gradient_at=(([0.0, 2.0], [-INF, -0.25]),), **ONE),
    unary("sin", np.sin, (-7, 7), specials=SMALL, **TRIG),
    unary("cos", np.cos, (-7, 7), specials=SMALL, **TRIG),
    unary("tanh", np.tanh, (-4, 4), gradient_at=(([0.0, 50.0, -50.0], [1, 0, 0]),)),
    unary("sigmoid", sigmoid, (-6, 6), gradient_at=(([0.0, 200.0, -200.0], [0.25, 0, 0]),)),
    unary("erf", erf, (-4, 4), gradient_at=(([0.0, 30.0], [2 / math.sqrt(math.pi), 0]),)),
    unary("gelu", gelu, (-5, 5), specials=NO_LIMIT, gradient_at=(([0.0, 50.0, -50.0], [0.5, 1, 0]),)),
    unary(
        "gelu_tanh",
        gelu_tanh,
        (-5, 5),
        specials=NO_LIMIT,
        gradient_at=(([0.0, 50.0, -50.0], [0.5, 1, 0]),),
        parity=False,
    ),
    unary("silu", silu, (-6, 6), specials=NO_LIMIT, gradient_at=(([0.0, 200.0, -200.0], [0.5, 1, 0]),)),
    unary("softplus", softplus, (-6, 6), gradient_at=(([0.0, 200.0, -200.0], [0.5, 1, 0]),)),
    unary(
        "relu",
        relu,
        (-3, 3),
        kink=0,
        takes=INTS,
        int_result="same",
        gradient_at=(([0.0, -0.0, 2.0, -2.0, NAN], [0, 0, 1, 0, 1]),),
        **EXACT,
    ),
    binary("add", np.add, (-3, 3), takes=ALL_INTS, **ONE),
    binary("sub", np.subtract, (-3, 3), **ONE),
    binary(
        "mul", np.multiply, (-3, 3), takes=ALL_INTS, gradient_at=(([0.0, INF], [2.0, 3.0], [2, 3], [0, INF]),), **ONE
    ),
    binary("div", np.true_divide, (-3, 3), (0.4, 3), takes=ALL_INTS, int_result="float", **ONE),
    binary(
        "pow",
        np.power,
        (0.3, 3),
        (-2, 3),
        int_low=0,
        ulp=4,
        why="exp(b log a) with log kept to twice the precision",
        gradient_at=(
            ([0.0, 0.0, 2.0], [2.0, 0.0, 3.0], [0, 0, 12], [0, 0, 8 * np.log(2)]),
            ([-2.0, -3.0], [2.0, 3.0], [-4, 27], [NAN, NAN]),
        ),
    ),
    binary(
        "maximum",
        np.maximum,
        (-3, 3),
        takes=ALL_INTS,
        **EXACT,
        gradient_at=(([1.0, 2.0, 0.0, INF], [1.0, 1.0, 3.0, INF], [0.5, 1, 0, 0.5], [0.5, 0, 1, 0.5]),),
    ),
    binary(
        "minimum",
        np.minimum,
        (-3, 3),
        takes=ALL_INTS,
        **EXACT,
        gradient_at=(([1.0, 2.0, 0.0, INF], [1.0, 1.0, 3.0, INF], [0.5, 0, 1, 0.5], [0.5, 1, 0, 0.5]),),
    ),
    *(
        binary(name, getattr(np, name), (0, 1), takes=ALL_INTS, floats=False, differentiable=False, **EXACT)
        for name in ("bitwise_and", "bitwise_or", "bitwise_xor")
    ),
    unary(
        "logical_not",
        np.logical_not,
        (-3, 3),
        int_result="bool",
        result="bool",
        differentiable=False,
        **EXACT,
    ),
    compare("eq", np.equal),
    compare("ne", np.not_equal),
    compare("lt", np.less),
    compare("le", np.less_equal),
    compare("gt", np.greater),
    compare("ge", np.greater_equal),
]

CASES: list[Case] = [
    *ELEMENTWISE,
    *op_cases_activations.CASES,
    *op_cases_elementwise.CASES,
    *op_cases_matmul.CASES,
    *op_cases_products.CASES,
    *op_cases_reduce.CASES,
    *op_cases_statistics.CASES,
    *op_cases_scan.CASES,
    *op_cases_order.CASES,
    *op_cases_shape.CASES,
    *op_cases_views.CASES,
    *op_cases_joins.CASES,
    *op_cases_matrices.CASES,
    *op_cases_index.CASES,
    *op_cases_index_write.CASES,
    *op_cases_masked.CASES,
    *op_cases_nn.CASES,
    *op_cases_layers.CASES,
    *op_cases_losses.CASES,
    *op_cases_class_losses.CASES,
]
BY_NAME = {case.name: case for case in CASES}
assert len(BY_NAME) == len(CASES), "two cases of one name"
