"""What a call of a module with hooks does; imported with the first hook."""

from collections import namedtuple

from .. import _core
from .._tree import flatten
from ..autograd import Function

Hook = namedtuple("Hook", ["kind", "function", "with_kwargs", "always_call"])


def call_with_hooks(module, args, kwargs):
    """module.forward(*args, **kwargs) with its hooks around it."""
    kwargs = kwargs or {}
    hooks = {"forward_pre": [], "forward": [], "backward_pre": [], "backward": []}
    for hook in module._hooks.values():
        hooks[hook.kind].append(hook)
    called = set()
    try:
        for hook in hooks["forward_pre"]:
            args, kwargs = _call_before(hook, module, args, kwargs)
        backward = _Backward(module, hooks) if hooks["backward_pre"] or hooks["backward"] else None
        output = module.forward(*(backward.enter(args) if backward else args), **kwargs)
        for hook in hooks["forward"]:
            called.add(hook)
            output = _call_after(hook, module, args, kwargs, output)
        return backward.leave(output) if backward else output
    except Exception:
        for hook in hooks["forward"]:
            if hook.always_call and hook not in called:
                _call_after(hook, module, args, kwargs, None)
        raise


def _call_before(hook, module, args, kwargs):
    if not hook.with_kwargs:
        result = hook.function(module, args)
        if result is None:
            return args, kwargs
        return (result if isinstance(result, tuple) else (result,)), kwargs
    result = hook.function(module, args, kwargs)
    if result is None:
        return args, kwargs
    if not isinstance(result, tuple) or len(result) != 2:
        raise RuntimeError(f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {result}.")
    return result


def _call_after(hook, module, args, kwargs, output):
    result = hook.function(module, args, *([kwargs] if hook.with_kwargs else []), output)
    return output if result is None else result


class _Backward:
    """One call of a module with backward hooks: its inputs and outputs pass through Functions that call them."""

    def __init__(self, module, hooks):
        self.module, self.before, self.after = module, hooks["backward_pre"], hooks["backward"]
        self.grad_output = None

    def enter(self, args):
        """The arguments, watched."""
        self.arguments = len(args)
        values, self.inputs = _watched(list(args), self.input_gradients)
        return values

    def leave(self, output):
        """The output, watched."""
        leaves, rebuild = flatten(output)
        self.outputs = len(leaves)
        values, self.watched = _watched(leaves, self.output_gradients)
        return rebuild(values)

    def output_gradients(self, gradients):
        for hook in self.before:
            full = _placed(gradients, self.watched, self.outputs)
            gradients = _replaced(hook.function(self.module, full), gradients, self.watched, self.outputs)
        self.grad_output = _placed(gradients, self.watched, self.outputs)
        if not self.inputs:
            self.input_gradients(())
        return gradients

    def input_gradients(self, gradients):
        grad_output, self.grad_output = self.grad_output, None
        for hook in self.after:
            full = _placed(gradients, self.inputs, self.arguments)
            result = hook.function(self.module, full, grad_output)
            gradients = _replaced(result, gradients, self.inputs, self.arguments)
        return gradients


def _watched(values, function):
    """(the values, the tensors that require a gradient passing through a Function; their places)."""
    places = [i for i, v in enumerate(values) if isinstance(v, _core.Tensor) and v.requires_grad]
    if places and _core.is_grad_enabled():
        for i, value in zip(places, _Watch.apply(function, *[values[i] for i in places]), strict=True):
            values[i] = value
        return values, places
    return values, []


def _placed(gradients, places, count):
    full = [None] * count
    for i, gradient in zip(places, gradients, strict=True):
        full[i] = gradient
    return tuple(full)


def _replaced(result, gradients, places, count):
    """The gradients that a hook returned, or those it was called with."""
    if result is None:
        return gradients
    result = result if isinstance(result, tuple) else (result,)
    if len(result) != count:
        raise RuntimeError(f"Backward hook returned an invalid number of grad, got {len(result)}, but expected {count}")
    return tuple(result[i] for i in places)


class _Watch(Function):
    """Passes tensors on, and their gradients through a function."""

    @staticmethod
    def forward(ctx, function, *tensors):
        ctx.function = function
        ctx.set_materialize_grads(False)
        return tensors

    @staticmethod
    def backward(ctx, *gradients):
        return None, *ctx.function(gradients)
