"""Cases of the activations of nn.functional beyond those of ELEMENTWISE in op_cases.py."""

from __future__ import annotations

import numpy as np

from op_case import SPECIALS, Bad, Case, S
from op_cases_nn import softmax

SHAPES = [(), (0,), (5,), (3, 4), (2, 3, 4), (1027,)]
NAN, INF = np.nan, np.inf
FINITE = SPECIALS[np.isfinite(SPECIALS)]
EXACT = {"ulp": 0.0, "why": "no rounding at all"}


def activation(name, ref, *, fn=None, kinks=(), settings=({},), specials=SPECIALS, ulp=2.0, **kw) -> Case:
    """An activation; samples with each of the settings, nowhere near a kink."""

    def draw(rng, shape):
        a = np.asarray(rng.uniform(-5, 5, shape))
        for kink in kinks:
            a = np.where(np.abs(a - kink) < 0.05, a + 0.1, a)
        return a

    kw.setdefault("why", "a few roundings")
    return Case(
        name,
        samples=lambda rng: [S(draw(rng, shape), **extra) for shape in SHAPES for extra in settings],
        ref=ref,
        fn=fn,
        ulp=ulp,
        domain=(-5, 5),
        specials=lambda rng: [S(specials.copy(), **extra) for extra in settings],
        integers=(lambda rng: [S(rng.randint(-4, 5, (3, 5)))]) if kw.get("row", True) else None,
        **{"int_result": "float", **kw},
    )


def of_functional(name):
    """The function of nn.functional, where the package has one of that name too, without its parameters."""
    return lambda T, *args, **kwargs: getattr(T.nn.functional, name)(*args, **kwargs)


def softplus(x, beta=1.0, threshold=INF):
    z = x * beta
    return np.where(z > threshold, x, (np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))) / beta)


def elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def celu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x / alpha, 0)))


def selu(x):
    return 1.0507009873554805 * elu(x, 1.6732632423543772)


def mish(x):
    w = np.exp(np.minimum(x, 30)) * (np.exp(np.minimum(x, 30)) + 2)
    return x * (w / (w + 2))


def leaky_relu(x, negative_slope=0.01, inplace=False):
    return np.where(x > 0, x, x * negative_slope)


def hardtanh(x, min_val=-1.0, max_val=1.0):
    return np.where(x < min_val, min_val, np.where(x > max_val, max_val, x))


def hardsigmoid(x):
    return hardtanh(x + 3, 0, 6) / 6


def threshold(x, threshold=0.5, value=-3.0):
    return np.where(x <= threshold, value, x)


def sigmoid(x):
    return np.exp(-np.logaddexp(0, -x))


def glu(x, dim=-1):
    a, b = np.split(x, 2, axis=dim)
    return a * sigmoid(b)


def glu_samples(rng):
    return [
        S(rng.randn(4)),
        S(rng.randn(3, 4)),
        S(rng.randn(2, 6, 3), 1),
        S(rng.randn(4, 3), dim=0),
        S(rng.randn(0, 4)),
    ]


def prelu(x, weight):
    w = weight.reshape((1, -1) + (1,) * (x.ndim - 2)) if x.ndim > 1 else weight.reshape(())
    return np.where(x > 0, x, w * x)


def prelu_samples(rng):
    return [
        S(rng.randn(5), rng.randn(1)),
        S(rng.randn(3, 4), rng.randn(4)),
        S(rng.randn(3, 4), rng.randn(1)),
        S(rng.randn(2, 3, 4), rng.randn(3)),
        S(rng.randn(0, 3), rng.randn(3)),
    ]


def softmin_samples(rng):
    return [S(rng.randn(5), dim=0), S(rng.randn(3, 4), dim=1), S(rng.randn(2, 3, 4), dim=-2)]


CASES = [
    activation(
        "leaky_relu",
        leaky_relu,
        kinks=(0,),
        settings=({}, {"negative_slope": 0.3}, {"negative_slope": -0.5, "inplace": False}),
        gradient_at=(([0.0, 2.0, -2.0, NAN], [0.01, 1, 0.01, 0.01]),),
        errors=(
            Bad(lambda T: T.nn.functional.leaky_relu("text"), ("str",)),
            Bad(lambda T: T.nn.functional.leaky_relu(T.ones(2), "text"), ("str",)),
        ),
    ),
    activation(
        "elu",
        elu,
        kinks=(0,),
        settings=({}, {"alpha": 0.7}),
        ulp=4,
        gradient_at=(([0.0, 2.0, -INF, NAN], [1, 1, 0, 1]),),
        errors=(Bad(lambda T: T.nn.functional.elu("text"), ("str",)),),
    ),
    activation(
        "celu",
        celu,
        kinks=(0,),
        settings=({}, {"alpha": 2.0}),
        ulp=8,
        why="x / alpha is rounded before exp",
        gradient_at=(([0.0, 2.0, -INF, NAN], [1, 1, 0, 1]),),
        errors=(Bad(lambda T: T.nn.functional.celu(T.ones(2), 0.0), ("alpha",)),),
    ),
    activation(
        "selu",
        selu,
        kinks=(0,),
        ulp=4,
        fn=of_functional("selu"),
        gradient_at=(([0.0, 2.0, -INF], [1.0507009873554805 * 1.6732632423543772, 1.0507009873554805, 0]),),
    ),
    activation(
        "mish",
        mish,
        ulp=6,
        specials=FINITE,
        fn=of_functional("mish"),
        gradient_at=(([0.0, 50.0, -200.0], [0.6, 1, 0]),),
    ),
    activation("logsigmoid", lambda x: -softplus(-x), ulp=3, gradient_at=(([0.0, 200.0, -200.0], [0.5, 0, 1]),)),
    activation(
        "hardtanh",
        hardtanh,
        kinks=(-1, 1, -2, 3),
        settings=({}, {"min_val": -2.0, "max_val": 3.0}),
        gradient_at=(([-1.0, 1.0, 0.5, 3.0, NAN], [0, 0, 1, 0, 1]),),
        int_result="same",
        errors=(Bad(lambda T: T.nn.functional.hardtanh(T.ones(2), 2.0, 1.0), ("min_val", "max_val")),),
        **EXACT,
    ),
    activation(
        "relu6",
        lambda x: hardtanh(x, 0, 6),
        kinks=(0, 6),
        int_result="same",
        gradient_at=(([0.0, 6.0, 1.0], [0, 0, 1]),),
        **EXACT,
    ),
    activation(
        "hardsigmoid",
        hardsigmoid,
        kinks=(-3, 3),
        absolute=1,
        parity=False,  # whose factor 1 / 6 is that of float32 in float64, too
        fn=of_functional("hardsigmoid"),
        gradient_at=(([-3.0, 3.0, 0.0, 9.0, NAN], [0, 0, 1 / 6, 0, 0]),),
    ),
    activation(
        "hardswish",
        lambda x: x * hardsigmoid(x),
        kinks=(-3, 3),
        absolute=2,
        why="x + 3 cancels near -3",
        specials=FINITE[np.abs(FINITE) < 1e38],
        fn=of_functional("hardswish"),
        gradient_at=(([-3.0, 3.0, 0.0, 9.0, -9.0], [0, 1, 0.5, 1, 0]),),
    ),
    activation(
        "threshold",
        threshold,
        fn=lambda T, x, threshold=0.5, value=-3.0: T.nn.functional.threshold(x, threshold, value),
        kinks=(0.5,),
        int_result="same",
        settings=({"threshold": 0.5, "value": -3.0},),
        gradient_at=(([0.5, 1.0, NAN], [0, 1, 1]),),
        **EXACT,
    ),
    activation("softsign", lambda x: x / (1 + np.abs(x)), ulp=2, row=False, specials=FINITE),
    activation("tanhshrink", lambda x: x - np.tanh(x), absolute=2, row=False, specials=FINITE),
    activation(
        "hardshrink",
        lambda x, lambd=0.5: np.where((x >= -lambd) & (x <= lambd), 0, x),
        kinks=(-0.5, 0.5, 2, -2),
        settings=({}, {"lambd": 2.0}),
        row=False,
        gradient_at=(([0.5, -0.5, 0.1, 1.0], [0, 0, 0, 1]),),
        **EXACT,
    ),
    activation(
        "softshrink",
        lambda x, lambd=0.5: np.where(x > lambd, x - lambd, np.where(x < -lambd, x + lambd, x * 0)),
        kinks=(-0.5, 0.5, 2, -2),
        settings=({}, {"lambd": 2.0}),
        row=False,
        gradient_at=(([0.5, -0.5, 0.1, 1.0], [0, 0, 0, 1]),),
        errors=(Bad(lambda T: T.nn.functional.softshrink(T.ones(2), -1.0), ("-1",)),),
    ),
    Case(
        "prelu",
        prelu_samples,
        prelu,
        row=False,
        ulp=0.5,
        fn=of_functional("prelu"),
        why="one product",
        gradient_at=(([0.0, 2.0, -2.0], [0.25], [0.25, 1, 0.25], [-2.0]),),
        errors=(Bad(lambda T: T.nn.functional.prelu(T.ones(2, 3), T.ones(2)), ("(2, 3)", "(2)")),),
    ),
    Case(
        "glu",
        glu_samples,
        glu,
        row=False,
        ulp=3,
        fn=of_functional("glu"),
        why="sigmoid and a product",
        errors=(
            Bad(lambda T: T.nn.functional.glu(T.ones(2, 3)), ("(2, 3)",)),
            Bad(lambda T: T.nn.functional.glu(T.ones(2, 4), 2), ("2",)),
        ),
    ),
    Case(
        "softmin",
        softmin_samples,
        lambda x, dim: softmax(-x, dim),
        row=False,
        ulp=24,
        fn=of_functional("softmin"),
        why="as softmax",
    ),
    Case(
        "rrelu",
        lambda rng: [S(rng.randn(3, 4)), S(rng.randn(5), 0.1, 0.5)],
        lambda x, lower=1 / 8, upper=1 / 3: leaky_relu(x, (lower + upper) / 2),
        row=False,
        why="one product",
        fn=of_functional("rrelu"),
    ),
    Case(
        "gumbel_softmax",
        lambda rng: [S(rng.randn(3, 1)), S(rng.randn(4, 1), tau=0.5, hard=True)],
        lambda x, tau=1.0, hard=False: np.ones_like(x),
        row=False,
        why="one class: nothing to draw",
        fn=of_functional("gumbel_softmax"),
    ),
]
