"""Function: an operation written in Python with a gradient of its own."""

import functools

from .. import _core
from .._core import Tensor, _set_grad_enabled


class FunctionCtx:
    """What forward() leaves for backward(). Attributes of your own are kept, too.

    needs_input_grad: for each argument of apply(), whether its gradient is wanted.
    """

    _to_save = _dirty = _constant = ()
    _materialize = True
    _saved = None

    def save_for_backward(self, *tensors):
        """Keeps tensors (or None) for backward(), which finds them in saved_tensors; once, in forward()."""
        for t in tensors:
            if t is not None and not isinstance(t, Tensor):
                raise TypeError(f"save_for_backward: expected tensors or None, got {type(t).__name__}")
        self._to_save = tensors

    @property
    def saved_tensors(self):
        """The tensors given to save_for_backward(). RuntimeError where one was modified in place since."""
        return self._to_save if self._saved is None else self._saved.unpack()

    def mark_non_differentiable(self, *outputs):
        """These results require no gradient."""
        self._constant = outputs

    def mark_dirty(self, *inputs):
        """These arguments were modified in place; they must be among the results."""
        self._dirty = inputs

    def set_materialize_grads(self, value):
        """Whether backward() gets zeros (the default) or None for results that no gradient reached."""
        self._materialize = bool(value)

    def _run_backward(self, gradients, needed):
        """Called by the sweep: the gradients of the tensors among the arguments."""
        given = iter(gradients)
        incoming = [next(given) if differentiable else None for differentiable in self._differentiable]
        if self._materialize:
            incoming = [
                _core.zeros(shape, dtype=dtype) if g is None else g
                for g, (shape, dtype) in zip(incoming, self._outputs, strict=True)
            ]
        wanted = iter(needed)
        self.needs_input_grad = tuple(arg is not None and next(wanted) for arg in self._inputs)
        results = self._function.backward(self, *incoming)
        return self._checked(results if isinstance(results, (tuple, list)) else (results,))

    def _checked(self, results):
        name, count = self._function.__name__, len(self._inputs)
        if len(results) > count and all(g is None for g in results[count:]):
            results = results[:count]
        if len(results) != count:
            raise RuntimeError(
                f"{name}.backward returned {len(results)} gradients for the {count} arguments of forward(); "
                "return one for each, None where there is none"
            )
        checked = []
        for i, (g, wanted) in enumerate(zip(results, self._inputs, strict=True)):
            if wanted is None:
                if g is not None:
                    raise RuntimeError(f"{name}.backward returned a gradient for argument {i}, which is no tensor")
                continue
            if g is not None and not isinstance(g, Tensor):
                raise TypeError(f"{name}.backward: gradient {i} must be a tensor or None, got {type(g).__name__}")
            shape, dtype = wanted
            if g is not None and not _sums_to(tuple(g.shape), shape):
                raise RuntimeError(
                    f"{name}.backward: gradient {i} has shape {tuple(g.shape)}, but argument {i} has shape {shape}"
                )
            checked.append(g if g is None or g.dtype is dtype else g.to(dtype))
        return checked


def _sums_to(shape, wanted):
    """Whether a gradient of this shape is that of something of the wanted shape, broadcast."""
    tail = shape[len(shape) - len(wanted) :]
    return len(shape) >= len(wanted) and all(w in (1, s) for s, w in zip(tail, wanted, strict=True))


class Function:
    """Base class of operations with a gradient written by hand.

    Define the static methods forward(ctx, *args) and backward(ctx, *gradients), or forward(*args),
    setup_context(ctx, inputs, output) and backward, and call `apply(*args)`. forward runs outside of the graph.
    backward gets one gradient for each result and returns one for each argument, None for those that have none;
    written in tensor operations, it can be differentiated again.

    Not captured by `compile`, whose replay runs no Python: CaptureError.
    """

    @staticmethod
    def forward(*args):
        """Computes the results; every subclass defines its own."""
        raise NotImplementedError("a Function needs a static method forward")

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Fills ctx where forward takes none."""
        raise NotImplementedError("a Function whose forward takes no ctx needs a static method setup_context")

    @staticmethod
    def backward(ctx, *gradients):
        """Computes the gradients of the arguments; every subclass defines its own."""
        raise NotImplementedError("a Function needs a static method backward to be differentiated")

    @classmethod
    def apply(cls, *args):
        """Runs forward() and puts it on the tape where an argument requires a gradient."""
        for a in args:
            if hasattr(type(a), "_each_sample"):  # inside of func.vmap
                return type(a)._each_sample(cls.apply, args)
        ctx = FunctionCtx()
        ctx.needs_input_grad = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
        before = _set_grad_enabled(False)
        try:
            if cls.setup_context is Function.setup_context:
                output = cls.forward(ctx, *args)
            else:
                output = cls.forward(*args)
                cls.setup_context(ctx, args, output)
        finally:
            _set_grad_enabled(before)
        if not (_core.is_grad_enabled() and any(ctx.needs_input_grad)):
            return output
        many = isinstance(output, (tuple, list))
        results = _record(cls, ctx, args, list(output) if many else [output])
        return tuple(results) if many else results[0]


def _record(cls, ctx, args, results):
    name = cls.__name__
    dirty, constant = {id(t) for t in ctx._dirty}, {id(t) for t in ctx._constant}
    inputs = [a for a in args if isinstance(a, Tensor)]
    ids = {id(a) for a in inputs}
    for t in ctx._dirty:
        _core._check_dirty(name, t)
        if not any(t is r for r in results):
            raise RuntimeError(f"{name}: a tensor given to mark_dirty must be among the results")
    seen = set()
    for k, r in enumerate(results):
        if not isinstance(r, Tensor):
            continue
        if id(r) in seen or (id(r) not in dirty and (id(r) in ids or r.requires_grad)):
            results[k] = r.detach()  # an argument or somebody else's tensor keeps its place in the graph
            if id(r) in constant:
                constant.add(id(results[k]))
        seen.add(id(r))
    ctx._function = cls
    ctx._inputs = [(tuple(a.shape), a.dtype) if isinstance(a, Tensor) else None for a in args]
    ctx._outputs = [(tuple(r.shape), r.dtype) if isinstance(r, Tensor) else ((), None) for r in results]
    ctx._differentiable = [isinstance(r, Tensor) and r.is_floating_point() and id(r) not in constant for r in results]
    if getattr(cls.backward, "_once", False):
        ctx._once_inputs = [a for a in inputs if a.requires_grad]
    outputs = [r for r, d in zip(results, ctx._differentiable, strict=True) if d]
    ctx._saved = _core._SavedTensors(name, ctx._to_save, outputs)
    ctx._to_save = ctx._dirty = ctx._constant = ()  # or ctx would refer to the results, which refer to it
    _core._record_function(ctx, name, inputs, outputs, ctx._saved)
    return results


class _Refuse(Function):
    """Passes tensors on; their gradient is an error."""

    @staticmethod
    def forward(ctx, message, count, *tensors):
        ctx.message = message
        return tuple(t.detach() for t in tensors[:count])

    @staticmethod
    def backward(ctx, *gradients):
        raise RuntimeError(ctx.message)


def once_differentiable(backward):
    """For a backward() that is not written in tensor operations: differentiating it again is an error."""

    @functools.wraps(backward)
    def wrapped(ctx, *gradients):
        before = _set_grad_enabled(False)
        try:
            results = backward(ctx, *gradients)
        finally:
            _set_grad_enabled(before)
        if not _core.is_grad_enabled():
            return results
        results = list(results) if isinstance(results, (tuple, list)) else [results]
        found = [g for g in results if isinstance(g, Tensor)]
        incoming = [g for g in gradients if isinstance(g, Tensor) and g.requires_grad]
        message = f"{ctx._function.__name__}: its backward() is once_differentiable and cannot be differentiated again"
        attached = iter(_Refuse.apply(message, len(found), *found, *ctx._once_inputs, *incoming))
        return tuple(next(attached) if isinstance(g, Tensor) else g for g in results)

    wrapped._once = True
    return wrapped
