"""NumPy's functions on tensors: np.add(array, tensor) or np.float32(2) * tensor is a tensor with its graph."""

from . import _core
from ._core import Tensor

_OPS = frozenset(_core.op_names())
# Where NumPy's name is not ours.
_NAMES = {
    "absolute": "abs",
    "arccos": "acos",
    "arccosh": "acosh",
    "arcsin": "asin",
    "arcsinh": "asinh",
    "arctan": "atan",
    "arctan2": "atan2",
    "arctanh": "atanh",
    "divide": "div",
    "equal": "eq",
    "greater": "gt",
    "greater_equal": "ge",
    "less": "lt",
    "less_equal": "le",
    "multiply": "mul",
    "negative": "neg",
    "not_equal": "ne",
    "power": "pow",
    "rint": "round",
    "subtract": "sub",
}


def array_ufunc(tensor, ufunc, method, *inputs, **options):
    """What NumPy calls for a ufunc with a tensor among its inputs.

    An op of the same meaning is recorded as ever. Without one, or with options such as out=, NumPy computes: TypeError
    where that would cut a graph.
    """
    name = _NAMES.get(ufunc.__name__, ufunc.__name__)
    if method == "__call__" and not options and name in _OPS:
        return getattr(_core, name)(*map(_core._operand, inputs))
    return _by_numpy(getattr(ufunc, method), inputs, **options)


def _by_numpy(function, inputs, out=(), **options):
    import numpy

    if any(isinstance(x, Tensor) and x.requires_grad for x in (*inputs, *out)):
        raise TypeError(f"NumPy's {function.__name__} cannot be recorded for the gradient; use tensor.detach()")
    plain = [numpy.asarray(x) if isinstance(x, Tensor) else x for x in inputs]
    if out:
        function(*plain, out=tuple(numpy.asarray(x) if isinstance(x, Tensor) else x for x in out), **options)
        return out if len(out) > 1 else out[0]
    results = function(*plain, **options)
    if isinstance(results, tuple):
        return tuple(_core.tensor(r) for r in results)
    return results if results is None else _core.tensor(results)


Tensor.__array_ufunc__ = array_ufunc
Tensor.__array_priority__ = 1000  # before numpy.matrix and others without __array_ufunc__
