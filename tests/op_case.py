"""What one row of the op table is (Case), its inputs (Sample, Bad), and how arrays become tensors of a layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

FLOATS = ("float32", "float64")
SPECIALS = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, -2.0, 1e-30, -1e-30, 88.0, -87.0, 3e38, -3e38])


@dataclass(frozen=True)
class Sample:
    """Arguments of one call. Arrays stand for tensors, float ones in the dtype under test; the rest is passed on."""

    args: tuple
    kwargs: dict = field(default_factory=dict)
    grad: bool = True  # False where no derivative exists: ties, kinks, nan


def S(*args, grad: bool = True, **kwargs) -> Sample:
    return Sample(args, kwargs, grad)


@dataclass(frozen=True)
class Bad:
    """A call that must raise, and what its message must mention besides the op's name. Brackets: (2, 3)."""

    call: Callable  # call(T), T the tapegrad module
    mentions: tuple[str, ...] = ()
    ours_only: bool = False  # PyTorch accepts the call


@dataclass(frozen=True)
class Case:
    """One op. `samples(rng)` gives the inputs; `ref(*arrays, **kwargs)` is the truth, in NumPy float64."""

    name: str
    samples: Callable[[np.random.RandomState], list[Sample]]
    ref: Callable
    fn: Callable | None = None  # fn(T, *args, **kwargs); default: the function or method of that name
    ulp: float = 2.0  # error allowed relative to the result, in units of the dtype's eps
    absolute: float = 0.0  # error allowed besides, in units of eps times the largest result (at least 1)
    why: str = "one rounding of the result and one of the kernel"
    differentiable: bool = True
    flat: bool = False  # the gradient is 0 wherever it exists, and a constant
    result: str = "same"  # dtype of the result: "same" as the float inputs, or a dtype's name
    integers: Callable | None = None  # samples(rng) of integer and bool arrays
    int_result: str = "same"  # dtype of their result: "same", "float" (float32) or a dtype's name
    specials: Callable | None = None  # samples(rng) with nan, inf and huge values
    gradient_at: tuple = ()  # (args, one gradient per float argument): conventions at kinks, ties and nan
    errors: tuple[Bad, ...] = ()
    layouts: bool = True  # accepts inputs of any strides
    parity: bool = True  # PyTorch has the same op under the same name and arguments
    domain: tuple[float, float] | None = None  # of an elementwise op: where it is smooth
    reads_values: Callable = lambda sample: False  # whether the result's shape depends on values: cannot be compiled
    row: bool = True  # is a row of ops.def; False for what Python spells otherwise (indexing, to)

    def __call__(self, T, *args, **kwargs):
        if self.fn is not None:
            return self.fn(T, *args, **kwargs)
        return resolve(T, self.name)(*args, **kwargs)

    def tolerance(self, dtype: str) -> tuple[float, float]:
        """(rtol, atol) in float32 or float64."""
        eps = float(np.finfo(dtype).eps)
        return self.ulp * eps, self.absolute * eps + 4 * float(np.finfo(dtype).tiny)


def resolve(T, name: str) -> Callable:
    """The op `name` of module T: its function, or its method where there is no function."""
    if hasattr(T, name):
        return getattr(T, name)
    if hasattr(getattr(T.nn, "functional", None), name):
        return getattr(T.nn.functional, name)
    return getattr(T.Tensor, name)


def map_arrays(f: Callable, tree):
    """Applies f to every array in nested tuples and lists."""
    if isinstance(tree, np.ndarray):
        return f(tree)
    if isinstance(tree, (tuple, list)):
        return type(tree)(map_arrays(f, item) for item in tree)
    return tree


def arrays_in(tree) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    map_arrays(lambda a: found.append(a), tree)
    return found


def is_float(array) -> bool:
    return np.asarray(array).dtype.kind == "f"


def in_dtype(sample: Sample, dtype: str) -> Sample:
    """The sample with its float arrays rounded to dtype."""
    args = map_arrays(lambda a: a.astype(dtype) if is_float(a) else a, sample.args)
    return Sample(args, sample.kwargs, sample.grad)


def tensors(T, tree, requires_grad: bool = False):
    """The tree with a tensor of its own for every array."""

    def make(a):
        t = T.tensor(a)
        return t.requires_grad_() if requires_grad and is_float(a) else t

    return map_arrays(make, tree)


def leaves_in(T, tree) -> list:
    """The tensors in nested tuples and lists."""
    if isinstance(tree, T.Tensor):
        return [tree]
    return [t for item in tree for t in leaves_in(T, item)] if isinstance(tree, (tuple, list)) else []


def flat(result) -> list:
    """The tensors of a result that may be one tensor or a tuple of them."""
    return list(result) if isinstance(result, (tuple, list)) else [result]


def reference(case: Case, sample: Sample) -> list[np.ndarray]:
    """The truth for the sample: its float arrays, as they are rounded now, computed on in float64."""
    wide = map_arrays(lambda a: a.astype(np.float64) if is_float(a) else a, sample.args)
    with np.errstate(all="ignore"):
        return [np.asarray(r) for r in flat(case.ref(*wide, **sample.kwargs))]


def close(case: Case, dtype: str, got, want, what: str = "", factor: float = 1.0) -> None:
    """Asserts that array `got` has the shape and, to the case's tolerance, the values of `want`."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, f"{case.name} {what}: shape {got.shape}, expected {want.shape}"
    if got.dtype.kind != "f":
        assert np.array_equal(got, want), f"{case.name} {what}: {got} != {want}"
        return
    rtol, atol = case.tolerance(dtype)
    with np.errstate(all="ignore"):
        want = want.astype(dtype)
    if case.absolute:
        atol *= max(1.0, float(np.max(np.abs(want), where=np.isfinite(want), initial=0)))
    np.testing.assert_allclose(got, want, rtol=factor * rtol, atol=factor * atol, err_msg=f"{case.name} {what}")


def _reversed(T, a):
    """Strides in reverse order."""
    axes = tuple(reversed(range(a.ndim)))
    return T.tensor(np.ascontiguousarray(a.transpose(axes))).permute(axes), a


def _stepped(T, a):
    """Every second element of a larger tensor, along every axis, starting at 1."""
    big = np.full([2 * n + 1 for n in a.shape], 77, dtype=a.dtype)
    index = (slice(1, None, 2),) * a.ndim
    big[index] = a
    return T.tensor(big)[index], a


def _inner(T, a):
    """A window of a larger tensor: unit stride, rows apart, pointer not aligned."""
    big = np.full([n + 3 for n in a.shape], 77, dtype=a.dtype)
    index = tuple(slice(1, n + 1) for n in a.shape)
    big[index] = a
    return T.tensor(big)[index], a


def _expanded(T, a):
    """One row repeated by stride 0 (other values than `a`)."""
    row = a[:1].copy()
    return T.tensor(row).expand(a.shape), np.broadcast_to(row, a.shape).copy()


def _expanded_last(T, a):
    """One column repeated by stride 0 (other values than `a`)."""
    column = a[..., :1].copy()
    return T.tensor(column).expand(a.shape), np.broadcast_to(column, a.shape).copy()


LAYOUTS = {
    "reversed": _reversed,
    "stepped": _stepped,
    "inner": _inner,
    "expanded": _expanded,
    "expanded_last": _expanded_last,
}


def in_layout(T, array: np.ndarray, layout: str):
    """(tensor of that layout, array of its values); the array's own values where the layout does not fit it."""
    if array.ndim == 0 or (layout.startswith("expanded") and 0 in array.shape):
        return T.tensor(array), array
    return LAYOUTS[layout](T, array)
