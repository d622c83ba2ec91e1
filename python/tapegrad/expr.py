"""Deferred expressions: built once, evaluated again and again, with the gradient by any of their variables.

    x, w = V(1), V(3)
    e = (x + w) * 4
    e.compute()                # 16.0
    e.compute_gradient()
    x.gradient                 # 4.0
    x.assign(2)
    e.compute()                # 20.0, replayed

What op() and derivate() of all nodes do at the first evaluation is captured by `tapegrad.compile`, in float64; the next
ones replay it with other inputs.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import chain, islice
from numbers import Real

from . import _core
from ._compile import compile
from ._core import float64
from ._grad_mode import enable_grad
from ._queries import as_tensor


class Expr:
    """A node of an expression. args: expressions, or numbers, which are constants.

    A subclass defines op(), and may define derivate(). Both find numbers in `values` that NumPy's and tapegrad's
    functions take; functions that need Python's floats, as those of `math`, keep the expression from being captured.

    Attributes: children; value, of the last compute(); values, of the children then; gradient, the sum of what
    compute_gradient() has added since zero_gradient().
    """

    __array_ufunc__ = None  # a NumPy number on the left leaves the operator to us

    def __init__(self, *args):
        self.children = tuple(arg if isinstance(arg, Expr) else V(arg) for arg in args)
        self.values = []
        self.value = None
        self.gradient = 0.0

    def op(self):
        """The value, made of `values`."""
        raise NotImplementedError(f"{type(self).__name__} does not define op()")

    def derivate(self):
        """The derivatives of op() by each of `values`: from the tape, unless a subclass writes them out."""
        values = self.values
        self.values = [_number(value).detach().requires_grad_() for value in values]
        try:
            with enable_grad():
                parts = list(_core.grad(self.op(), self.values, allow_unused=True, materialize_grads=True))
        finally:
            self.values = values
        captured = any(isinstance(value, _core.Tensor) for value in values)
        return parts if captured else [part.item() for part in parts]

    def compute(self) -> float:
        """The value, from what the variables are assigned now; sets `value` and `values` of all nodes below, too."""
        self._evaluation.compute()
        return self.value

    def compute_gradient(self, de_loss_over_de_e: float = 1) -> None:
        """Adds to `gradient` of this node and all below the derivative of a loss by them, after compute().

        de_loss_over_de_e: the derivative of the loss by this node.
        """
        self._evaluation.compute_gradient(de_loss_over_de_e)

    def zero_gradient(self) -> None:
        """Sets `gradient` of this node and all below to 0."""
        for node in self._evaluation.nodes:
            node.gradient = 0.0

    @cached_property
    def _evaluation(self):
        return _Evaluation(self)

    def __add__(self, other):
        return Plus(self, other)

    def __radd__(self, other):
        return Plus(other, self)

    def __sub__(self, other):
        return Minus(self, other)

    def __rsub__(self, other):
        return Minus(other, self)

    def __mul__(self, other):
        return Multiply(self, other)

    def __rmul__(self, other):
        return Multiply(other, self)

    def __truediv__(self, other):
        return Divide(self, other)

    def __rtruediv__(self, other):
        return Divide(other, self)

    def __pow__(self, other):
        return Power(self, other)

    def __rpow__(self, other):
        return Power(other, self)

    def __neg__(self):
        return Negative(self)

    def __repr__(self):
        return f"{type(self).__name__}(value={self.value}, gradient={self.gradient})"


class V(Expr):
    """A variable. value: its first number. TypeError for what is no real number."""

    def __init__(self, value):
        super().__init__()
        self.assign(value)
        self.value = self._assigned

    def assign(self, value: float) -> None:
        """Another number, which compute() takes over: until then `value` is the one before."""
        if not isinstance(value, Real):
            raise TypeError(f"V: expected a number, got {type(value).__name__}")
        self._assigned = float(value)


class Plus(Expr):
    def op(self):
        return self.values[0] + self.values[1]


class Minus(Expr):
    def op(self):
        return self.values[0] - self.values[1]


class Multiply(Expr):
    def op(self):
        return self.values[0] * self.values[1]


class Divide(Expr):
    def op(self):
        return self.values[0] / self.values[1]


class Power(Expr):
    def op(self):
        return self.values[0] ** self.values[1]


class Negative(Expr):
    def op(self):
        return -self.values[0]


class _Evaluation:
    """A node and all below: their numbers, and the captured functions that compute them."""

    def __init__(self, root):
        self.nodes = _children_first(root)
        self.leaves = [node for node in self.nodes if isinstance(node, V)]
        self.inner = [node for node in self.nodes if not isinstance(node, V)]
        self._replay_values = compile(self._values, fallback=True)
        self._replay_gradients = compile(self._gradients, fallback=True)

    def compute(self):
        values = self._replay_values(_number([leaf._assigned for leaf in self.leaves])).tolist()
        for node, value in zip(self.nodes, values, strict=True):
            node.value = value
        for node in self.inner:
            node.values = [child.value for child in node.children]

    def compute_gradient(self, seed):
        values, operands = self._numbers()
        if None in values:
            raise RuntimeError("compute_gradient: call compute() first")
        gradients = self._replay_gradients(_number([seed, *values, *chain.from_iterable(operands)])).tolist()
        for node, gradient in zip(self.nodes, gradients, strict=True):
            node.gradient += gradient

    def _numbers(self):
        return [node.value for node in self.nodes], [node.values for node in self.inner]

    def _place(self, values, operands):
        for node, value in zip(self.nodes, values, strict=True):
            node.value = value
        for node, own in zip(self.inner, operands, strict=True):
            node.values = own

    @contextmanager
    def _tensors(self):
        """The nodes hold tensors, which are captured, for the block; afterwards what they held before."""
        numbers = self._numbers()
        try:
            yield
        finally:
            self._place(*numbers)

    def _values(self, assigned):
        """The value of every node from those of the leaves."""
        with self._tensors():
            for leaf, value in zip(self.leaves, assigned.unbind(), strict=True):
                leaf.value = value
            for node in self.inner:
                node.values = [child.value for child in node.children]
                node.value = _number(node.op())
            return _core.stack([node.value for node in self.nodes])

    def _gradients(self, numbers):
        """The derivative by every node, from the one by the last node and all that compute() has set."""
        seed, *numbers = numbers.unbind()
        operands = iter(numbers[len(self.nodes) :])
        sums = {self.nodes[-1]: seed}
        with self._tensors():
            self._place(numbers[: len(self.nodes)], [list(islice(operands, len(node.children))) for node in self.inner])
            for node in reversed(self.inner):
                for child, part in zip(node.children, node.derivate() if node.children else (), strict=True):
                    share = sums[node] * part
                    sums[child] = sums[child] + share if child in sums else share
        return _core.stack([sums[node] for node in self.nodes])


def _number(value):
    return as_tensor(value, dtype=float64)


def _children_first(root):
    """Every node once, the root last."""
    order, seen, stack = [], set(), [(root, iter(root.children))]
    while stack:
        node, children = stack[-1]
        child = next(children, None)
        if child is None:
            order.append(node)
            stack.pop()
        elif child not in seen:
            seen.add(child)
            stack.append((child, iter(child.children)))
    return order


def _print_loss(iteration, loss):
    print(f"iteration {iteration}: loss {loss}")


def fit(
    loss: Expr,
    points: Iterable[Sequence[float]],
    params: Sequence[V],
    delta: float = 0.0001,
    num_iterations: int = 4000,
    *,
    inputs: Sequence[V],
    report: Callable[[int, float], None] = _print_loss,
) -> float:
    """Gradient descent on the sum of a loss over points; the last sum, taken before the last update.

    points: each has a number for every one of `inputs`. params: the variables that are fitted. delta: the learning
    rate. report: called with the number of the iteration, from 1, and its loss, every 100th iteration.
    A RuntimeWarning says when the loss is no longer finite; it then stays so.
    """
    points = list(points)
    total, finite = math.nan, True
    for iteration in range(1, num_iterations + 1):
        loss.zero_gradient()
        total = 0.0
        for point in points:
            for variable, number in zip(inputs, point, strict=True):
                variable.assign(number)
            total += loss.compute()
            loss.compute_gradient()
        if finite and not math.isfinite(total):
            finite = False
            message = f"fit: the loss is {total} after {iteration - 1} updates: it diverges, take a delta below {delta}"
            warnings.warn(message, RuntimeWarning, stacklevel=2)
        if iteration % 100 == 0:
            report(iteration, total)
        for param in params:
            param.assign(param.value - delta * param.gradient)
    return total
