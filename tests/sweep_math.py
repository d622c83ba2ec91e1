"""Largest errors of the elementwise functions at the active ISA level: every float32 (or every n-th), and float64.

python tests/sweep_math.py [--stride N] [--only exp,log] prints the rows of docs/accuracy.md. The truth is NumPy's
float64 for float32 results, NumPy's long double for float64 ones; erf and gelu, which NumPy lacks, are compared with
the float64 kernels, and those with mpmath.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

import tapegrad as tg


def sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def silu(x):
    # The factor that underflows comes last, with the other one already in it.
    e = np.exp(-np.abs(x) / 2)
    return np.where(x >= 0, x / (1 + e * e), (x * e / (1 + e * e)) * e)


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def gelu_tanh(x):
    x = np.clip(x, -60, None)
    root = np.sqrt(np.asarray(2, x.dtype) / (4 * np.arctan(np.asarray(1, x.dtype))))
    cube = np.asarray(44715, x.dtype) / 1000000
    u = 2 * root * (x + cube * x**3)
    e = np.exp(-np.abs(u) / 2)
    return np.where(x >= 0, x / (1 + e * e), (x * e / (1 + e * e)) * e)


def own(name):
    return lambda x: getattr(tg, name)(tg.tensor(x)).numpy()


# The bounds of gelu and gelu_tanh are those of the level baseline, which has no FMA; the others keep 2.
# name: (the truth for arrays wider than the result, bound in ulp for float32, for float64)
FUNCTIONS = {
    "exp": (np.exp, 1, 1),
    "log": (np.log, 1, 1),
    "expm1": (np.expm1, 2, 2),
    "log1p": (np.log1p, 2, 2),
    "tanh": (np.tanh, 2, 2),
    "sigmoid": (sigmoid, 2, 2),
    "silu": (silu, 2, 2),
    "softplus": (softplus, 2, 2),
    "sin": (np.sin, 2, 2),
    "cos": (np.cos, 2, 2),
    "exp2": (np.exp2, 2, 2),
    "log2": (np.log2, 2.5, 2.5),
    "log10": (np.log10, 2, 2.5),
    "tan": (np.tan, 1, 2.5),
    "asin": (np.arcsin, 1, 3),
    "acos": (np.arccos, 1, 3),
    "atan": (np.arctan, 1, 2),
    "sinh": (np.sinh, 1, 3),
    "cosh": (np.cosh, 1, 3),
    "asinh": (np.arcsinh, 1, 2.5),
    "acosh": (np.arccosh, 1, 2.5),
    "atanh": (np.arctanh, 1, 2.5),
    "erf": (own("erf"), 2, 2),
    "gelu": (own("gelu"), 2.5, 2.5),
    "gelu_tanh": (gelu_tanh, 2.5, 2),
}
LIMITED = ("silu", "gelu", "gelu_tanh")  # at -inf these have their limit, -0

INF, NAN = np.inf, np.nan
# C99 Annex F, and for the others the limits: name: [(input, result)]
SPECIALS = {
    "exp": [(0.0, 1), (-0.0, 1), (INF, INF), (-INF, 0.0), (1e4, INF), (-1e4, 0.0)],
    "log": [(0.0, -INF), (-0.0, -INF), (1.0, 0.0), (INF, INF), (-INF, NAN), (-1.0, NAN), (-1e-40, NAN)],
    "expm1": [
        (0.0, 0.0),
        (-0.0, -0.0),
        (INF, INF),
        (-INF, -1),
        (1e4, INF),
        (-1e4, -1),
        (1e-42, 1e-42),
        (-1e-42, -1e-42),
    ],
    "log1p": [
        (0.0, 0.0),
        (-0.0, -0.0),
        (-1.0, -INF),
        (INF, INF),
        (-INF, NAN),
        (-2.0, NAN),
        (1e-42, 1e-42),
        (-1e-42, -1e-42),
    ],
    "tanh": [(0.0, 0.0), (-0.0, -0.0), (INF, 1), (-INF, -1), (1e4, 1), (-1e4, -1), (1e-42, 1e-42)],
    "sigmoid": [(0.0, 0.5), (-0.0, 0.5), (INF, 1), (-INF, 0.0), (1e4, 1), (-1e4, 0.0)],
    "silu": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -0.0), (1e4, 1e4), (-1e4, -0.0)],
    "softplus": [(INF, INF), (-INF, 0.0), (1e4, 1e4), (-1e4, 0.0)],
    "sin": [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN), (1e-42, 1e-42)],
    "cos": [(0.0, 1), (-0.0, 1), (INF, NAN), (-INF, NAN), (1e-42, 1)],
    "exp2": [(0.0, 1), (-0.0, 1), (INF, INF), (-INF, 0.0), (1e4, INF), (-1e4, 0.0), (10.0, 1024), (-3.0, 0.125)],
    "log2": [(0.0, -INF), (-0.0, -INF), (1.0, 0.0), (INF, INF), (-1.0, NAN), (8.0, 3), (0.25, -2)],
    "log10": [(0.0, -INF), (-0.0, -INF), (1.0, 0.0), (INF, INF), (-1.0, NAN)],
    "tan": [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN), (1e-42, 1e-42)],
    "asin": [(0.0, 0.0), (-0.0, -0.0), (1.0, np.pi / 2), (-1.0, -np.pi / 2), (2.0, NAN), (INF, NAN), (1e-42, 1e-42)],
    "acos": [(1.0, 0.0), (0.0, np.pi / 2), (-0.0, np.pi / 2), (-1.0, np.pi), (-2.0, NAN), (INF, NAN)],
    "atan": [(0.0, 0.0), (-0.0, -0.0), (INF, np.pi / 2), (-INF, -np.pi / 2), (1.0, np.pi / 4), (1e-42, 1e-42)],
    "sinh": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -INF), (1e4, INF), (-1e4, -INF), (1e-42, 1e-42)],
    "cosh": [(0.0, 1), (-0.0, 1), (INF, INF), (-INF, INF), (1e4, INF)],
    "asinh": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -INF), (1e-42, 1e-42)],
    "acosh": [(1.0, 0.0), (INF, INF), (0.5, NAN), (-INF, NAN), (-3.0, NAN)],
    "atanh": [(0.0, 0.0), (-0.0, -0.0), (1.0, INF), (-1.0, -INF), (2.0, NAN), (INF, NAN), (1e-42, 1e-42)],
    "erf": [(0.0, 0.0), (-0.0, -0.0), (INF, 1), (-INF, -1), (1e4, 1), (-1e4, -1)],
    "gelu": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -0.0), (1e4, 1e4), (-1e4, -0.0)],
    "gelu_tanh": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -0.0), (1e4, 1e4), (-1e4, -0.0)],
}


def ulps(got, truth):
    """Errors in units in the last place of the truth; inf where one is nan, infinite or zero of another sign alone."""
    kind = got.dtype.type
    with np.errstate(all="ignore"):
        rounded = truth.astype(kind)
        unit = np.spacing(np.abs(rounded)).astype(truth.dtype)
        error = np.abs(got.astype(truth.dtype) - truth) / unit
    same = ((got == rounded) & (np.signbit(got) == np.signbit(rounded))) | (np.isnan(got) & np.isnan(rounded))
    # One of the two rounds to infinity: half an ulp lies between the largest number and infinity.
    edge = np.isinf(got) & (np.abs(truth) > np.finfo(kind).max * (1 - 2 * np.finfo(kind).eps)) & np.isfinite(truth)
    error = np.where(np.isfinite(error), error, np.where(edge, 1.0, np.inf))
    return np.where(same, 0.0, error).astype(np.float64)


def check_specials(name):
    """Problems of a function at its special values, in both dtypes, alone and among ordinary numbers."""
    problems = []
    for dtype in ("float32", "float64"):
        for x, want in [*SPECIALS[name], (NAN, NAN)]:
            for fill in (x, 0.5):
                a = np.full(67, fill, dtype)
                a[::3] = x
                got = getattr(tg, name)(tg.tensor(a)).numpy()[::3]
                w = np.full(got.shape, want, dtype)
                same = np.isnan(got) if np.isnan(want) else (got == w) & (np.signbit(got) == np.signbit(w))
                if not same.all():
                    problems.append(f"{name}({x}) in {dtype}: {got[~same][0]}, not {want}")
    return problems


def sweep_float32(name, stride=1, chunk=1 << 16):
    """(largest error in ulp, its argument) over every stride-th bit pattern."""
    truth = FUNCTIONS[name][0]
    worst, where = 0.0, 0.0
    f = getattr(tg, name)
    for start in range(0, 1 << 32, chunk * stride):
        bits = np.arange(start, min(start + chunk * stride, 1 << 32), stride, dtype=np.uint32)
        x = bits.view(np.float32)
        if name in LIMITED:
            x = x[x != -np.inf]
        with np.errstate(all="ignore"):
            wide = truth(x.astype(np.float64))
            error = ulps(f(tg.from_numpy(x)).numpy(), wide)
        k = int(np.argmax(error))
        if error[k] > worst:
            worst, where = float(error[k]), float(x[k])
    return worst, where


def float64_inputs(count, seed=0):
    """Random numbers of the sizes that matter, and random bit patterns."""
    rng = np.random.RandomState(seed)
    parts = [rng.uniform(-s, s, count) for s in (1, 3, 9, 40, 745)]
    bits = rng.randint(-(2**63), 2**63, count, dtype=np.int64).view(np.float64)
    return np.concatenate([*parts, bits[np.isfinite(bits)]])


def mpmath_truth(name):
    import mpmath

    def gelu(x):
        return x * mpmath.erfc(-x / mpmath.sqrt(2)) / 2

    f = {"erf": mpmath.erf, "gelu": gelu}[name]

    def truth(x):
        with mpmath.workprec(160):
            pairs = [(float(y := f(mpmath.mpf(float(v)))), y) for v in x.astype(np.float64)]
            return np.array([np.longdouble(hi) + np.longdouble(float(y - hi)) for hi, y in pairs])

    return truth


def sample_float64(name, count=200_000):
    """(largest error in ulp, its argument) over random numbers; erf and gelu need mpmath, and take fewer."""
    if FUNCTIONS[name][0].__name__ == "<lambda>":
        x, truth = float64_inputs(count // 100), mpmath_truth(name)
        x = x[np.abs(x) < 1e4]
    else:
        x, truth = float64_inputs(count), FUNCTIONS[name][0]
    if name in ("sin", "cos", "tan"):
        x = x[np.abs(x) < 1e15]
    with np.errstate(all="ignore"):
        error = ulps(getattr(tg, name)(tg.from_numpy(x)).numpy(), truth(x.astype(np.longdouble)))
    k = int(np.argmax(error))
    return float(error[k]), float(x[k])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stride", type=int, default=1, help="take every N-th float32 (a prime number is best)")
    parser.add_argument("--count", type=int, default=200_000, help="random float64 numbers per range")
    parser.add_argument("--only", default=",".join(FUNCTIONS), help="names, with commas between them")
    args = parser.parse_args()
    failed = False
    print(f"ISA level {tg.active_isa()}, every {args.stride}. float32")
    for name in args.only.split(","):
        problems = check_specials(name)
        _, bound32, bound64 = FUNCTIONS[name]
        error32, at32 = sweep_float32(name, args.stride)
        try:
            error64, at64 = sample_float64(name, args.count)
        except ImportError:
            error64, at64 = float("nan"), 0.0
        failed |= bool(problems) or error32 > bound32 + 0.001 or error64 > bound64 + 0.001
        print(f"| {name} | {error32:.3f} at {at32!r} | {error64:.3f} at {at64!r} |", *problems, sep="\n  ", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
