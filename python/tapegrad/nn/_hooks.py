"""What happens around a module's forward(): the hooks it has, and the place of an error."""

import itertools
from collections import OrderedDict

from .. import _core

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
        from ._hook_calls import Hook, call_with_hooks

        hooks = self.__dict__.setdefault("_hooks", OrderedDict())
        handle = HookHandle(hooks)
        hooks[handle.id] = Hook(kind, function, with_kwargs, always_call)
        if prepend:
            hooks.move_to_end(handle.id, last=False)
        _core._set_module_hooks(call_with_hooks)
        _core._structure_changed()
        return handle


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
