"""Batched: what a function sees inside of vmap. It looks like one sample and stands for all.

A class of its own and no kind of Tensor: operations find it only when a call with plain tensors has failed, so that
plain tensors pay nothing for it.
"""

import functools
import operator
import threading

from .. import _core
from .._core import Tensor
from .._tree import flatten, tree_map


class Frame:
    """One vmap that is running."""

    def __init__(self, level, size, randomness):
        self.level, self.size, self.randomness = level, size, randomness


class _Frames(threading.local):
    def __init__(self):
        self.running = []


frames = _Frames()
RULES = {}  # by name of the operation; _rules.py writes them


class Batched:
    """Samples along dimension 0 of a tensor, which may be batched itself by a vmap further out."""

    __slots__ = ("_frame", "_value")

    def __init__(self, value, frame):
        self._value, self._frame = value, frame

    shape = property(lambda self: _core.Size(self._value.shape[1:]))
    ndim = property(lambda self: self._value.ndim - 1)
    dtype = property(lambda self: self._value.dtype)
    requires_grad = property(lambda self: self._value.requires_grad)
    is_leaf = property(lambda self: self._value.is_leaf)
    T = property(lambda self: dispatch("permute", (self, *reversed(range(self.ndim))), {}))
    mT = property(lambda self: dispatch("transpose", (self, -2, -1), {}))

    def dim(self):
        return self.ndim

    def size(self, dim=None):
        return self.shape if dim is None else self.shape[dim]

    def numel(self):
        return self._value.numel() // self._frame.size if self._frame.size else 0

    def is_floating_point(self):
        return self._value.is_floating_point()

    def __len__(self):
        if self.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __iter__(self):
        return iter([self[i] for i in range(len(self))])

    def __getitem__(self, key):
        return dispatch("__getitem__", (self, key), {})

    def __getattr__(self, name):
        method = getattr(Tensor, name)
        if name in _READS:
            raise RuntimeError(f"vmap: {name}() reads a value, which differs from sample to sample; do it outside")
        if not callable(method):
            raise AttributeError(f"vmap: a batched tensor has no {name!r}")
        if hasattr(method, "__code__"):  # written in Python: in operations that come back here
            return functools.partial(method, self)
        return lambda *args, **kwargs: dispatch(name, (self, *args), kwargs)

    def _read(self, *_):
        raise RuntimeError("vmap: the value of a batched tensor differs from sample to sample; choose with where()")

    __bool__ = __float__ = __int__ = __index__ = _read

    def __repr__(self):
        return f"Batched(size={self._frame.size}, {self._value!r})"

    @staticmethod
    def _each_sample(function, args):
        """function(*args) sample by sample."""
        return each_sample(function, args, {})


_READS = ("item", "tolist", "numpy", "__array__", "backward")


def _operator(name, reflected=False):
    def method(self, *others):
        return dispatch(name, (*others, self) if reflected else (self, *others), {})

    return method


for _name, _op in {"add": "add", "sub": "sub", "mul": "mul", "truediv": "div", "pow": "pow", "matmul": "matmul",
                   "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor"}.items():  # fmt: skip
    setattr(Batched, f"__{_name}__", _operator(_op))
    setattr(Batched, f"__r{_name}__", _operator(_op, reflected=True))
for _name in ("eq", "ne", "lt", "le", "gt", "ge", "neg", "abs"):
    setattr(Batched, f"__{_name}__", _operator(_name))
Batched.__hash__ = object.__hash__


def levels_of(tree):
    """The frames of the batched tensors in a structure, the innermost last."""
    found = {}
    for leaf in flatten(tree)[0]:
        while isinstance(leaf, Batched):
            found[leaf._frame.level] = leaf._frame
            leaf = leaf._value
    return [found[level] for level in sorted(found)]


def dispatch(name, args, kwargs):
    """An operation of which some operand is batched: by its rule, or sample by sample."""
    frame = levels_of((args, kwargs))[-1]
    rule = RULES.get(name)
    if rule is not None:
        result = rule(frame, *args, **kwargs)
        if result is not NotImplemented:
            return result
    return each_sample(functools.partial(call, name), args, kwargs, frame)


_OPERATORS = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv, "pow": operator.pow,
    "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge,
    "__getitem__": operator.getitem,
}  # fmt: skip


def call(name, *args, **kwargs):
    """The operation of this name on plain tensors, or on those of vmaps further out."""
    if name in _OPERATORS and not kwargs:  # with a number on either side
        return _OPERATORS[name](*args)
    function = getattr(_core, name, None)
    return function(*args, **kwargs) if callable(function) else getattr(args[0], name)(*args[1:], **kwargs)


def inside(x, frame):
    """(the tensor with dimension 0 for the samples of this frame, True), or (x, False) where x is not batched there."""
    return (x._value, True) if isinstance(x, Batched) and x._frame is frame else (x, False)


def batched_in(frame, *values):
    return any(isinstance(v, Batched) and v._frame is frame for v in values)


def wrap(result, frame):
    """Every tensor of a result as samples of this frame."""
    return tree_map(lambda t: Batched(t, frame) if isinstance(t, (Tensor, Batched)) else t, result)


def each_sample(function, args, kwargs, frame=None):
    """function of every sample, results stacked."""
    frame = frame or levels_of((args, kwargs))[-1]

    def sample(b):
        def pick(leaf):
            value, batched = inside(leaf, frame)
            return value[b] if batched else leaf

        return tree_map(pick, args), tree_map(pick, kwargs)

    if frame.size == 0:
        raise ValueError("vmap: an operation without a batching rule needs at least one sample")
    results = []
    for b in range(frame.size):
        some, named = sample(b)
        results.append(function(*some, **named))
    first, rebuild = flatten(results[0])
    columns = zip(*(flatten(r)[0] for r in results), strict=True)
    pairs = zip(first, columns, strict=True)
    return rebuild([Batched(stacked(c), frame) if isinstance(f, (Tensor, Batched)) else f for f, c in pairs])


def stacked(tensors):
    return call("stack", list(tensors))


def spread(x, frame):
    """A tensor that is not batched in this frame, repeated for its samples, without a copy."""
    return x.unsqueeze(0).expand(frame.size, *x.shape)


# Between what a function sees and the tensors that the tape knows


def physical(x, running):
    """The plain tensor behind x, with a dimension in front for each of the frames, repeated where x lacks one."""
    if not running:
        return x
    *outer, frame = running
    value, batched = inside(x, frame)
    return physical(value if batched else spread(x, frame), outer)


def logical(t, running):
    """The inverse."""
    for frame in running:
        t = Batched(t, frame)
    return t


_core._set_batched(Batched, dispatch)
