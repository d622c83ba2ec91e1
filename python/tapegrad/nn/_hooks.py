"""What happens around a module's forward(): its hooks, and the place of an error."""

import itertools
from collections import OrderedDict, namedtuple

from .. import _core
from .._tree import flatten
from ..autograd import Function

_Hook = namedtuple("_Hook", ["kind", "function", "with_kwargs", "always_call"])
_numbers = itertools.count()


class HookHandle:
    """Takes a hook away: remove(), or the end of a with block."""

    def __init__(self, hooks):
        self._hooks = hooks
        self.id = next(_numbers)

    def remove(self):
        """Take the hook away; once more does nothing."""
        if self._hooks.pop(self.id, None):
            _core._structure_changed()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.remove()


class Hooked(_core._ModuleBase):
    """The part of Module that registers hooks. `compile` captures no module that has one: its replay runs no Python."""

    def register_forward_pre_hook(self, hook, *, prepend=False, with_kwargs=False):
        """Call hook(module, args) before every forward(); what it returns, if not None, are the arguments instead.

        with_kwargs: hook(module, args, kwargs), which returns None or (args, kwargs). prepend: before the hooks that
        are there. Returns a handle with remove().
        """
        return self._add_hook("forward_pre", hook, prepend, with_kwargs)

    def register_forward_hook(self, hook, *, prepend=False, with_kwargs=False, always_call=False):
        """Call hook(module, args, output) after every forward(); what it returns, if not None, is the output instead.

        with_kwargs: hook(module, args, kwargs, output). always_call: also where forward() raises, with output None.
        """
        return self._add_hook("forward", hook, prepend, with_kwargs, always_call)

    def register_full_backward_pre_hook(self, hook, prepend=False):
        """Call hook(module, grad_output) when the gradients of the outputs are there; may return others, a tuple."""
        return self._add_hook("backward_pre", hook, prepend)

    def register_full_backward_hook(self, hook, prepend=False):
        """Call hook(module, grad_input, grad_output) when the gradients of the inputs are there; may return others.

        Both are tuples, with None for what is no tensor or needs no gradient. What is returned, if not None, takes the
        place of grad_input.
        """
        return self._add_hook("backward", hook, prepend)

    def _add_hook(self, kind, function, prepend, with_kwargs=False, always_call=False):
        if not callable(function):
            raise TypeError(f"a hook must be a function, got {type(function).__name__}")
        hooks = self.__dict__.setdefault("_hooks", OrderedDict())
        handle = HookHandle(hooks)
        hooks[handle.id] = _Hook(kind, function, with_kwargs, always_call)
        if prepend:
            hooks.move_to_end(handle.id, last=False)
        _core._set_module_hooks(_call_with_hooks)
        _core._structure_changed()
        return handle


def _call_with_hooks(module, args, kwargs):
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


# Errors


def _described(module):
    """A layer as an error names it: Linear(256 -> 10), or what repr shows of one without children."""
    name = type(module).__name__
    if hasattr(module, "in_features") and hasattr(module, "out_features"):
        return f"{name}({module.in_features} -> {module.out_features})"
    text = repr(module)
    return name if "\n" in text else text


def _name_place(module, error):
    """Puts before an error's message the path and the description of the layer it arose in.

    Called for that layer, then for each module around it, so that the path is seen from the outermost one.
    """
    if type(error) not in (ValueError, TypeError, IndexError, RuntimeError):
        return
    if len(error.args) != 1 or not isinstance(error.args[0], str):
        return
    if not hasattr(error, "_place"):
        error._place = module, "", f"({_described(module)}): {error.args[0]}"
        return
    inner, path, text = error._place
    name = next((name for name, child in module.named_modules() if child is inner and name), None)
    if name is not None:
        path = f".{name}{path}"
        error._place = module, path, text
        error.args = (f"model{path} {text}",)


_core._set_module_error(_name_place)
