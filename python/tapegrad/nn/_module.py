"""Module: the base of every layer and model, with PyTorch's names and rules."""

from collections import OrderedDict
from types import MappingProxyType

from .. import _core
from .._device import device as _device
from ._hooks import Hooked
from ._loading import load, type_name
from ._parameter import Parameter

_PARAMETER, _BUFFER, _TRANSIENT, _MODULE = "parameter", "buffer", "non-persistent buffer", "module"
_FLOATS = (_core.float32, _core.float64)


class _Uninitialized:
    """Stands for an attribute that `Module.__init__` sets on the instance, until it has run."""

    def __get__(self, instance, owner):
        raise AttributeError(f"{owner.__name__} is used before Module.__init__() call")


def indented(text):
    """The text of a child in its parent's repr."""
    return text.replace("\n", "\n  ")


class Module(Hooked):
    """Base class of layers and models: assign parameters, buffers and submodules as attributes, define `forward`.

    Subclasses call `super().__init__()` first. Parameters (`nn.Parameter`), submodules and tensors given to
    `register_buffer` are found by `parameters()`, `state_dict()`, `to()`, `train()` and the like.
    """

    training: bool
    _kinds = _Uninitialized()

    def __init__(self):
        # What is registered lives in __dict__ like any attribute, so that reading it is a plain lookup
        # (finding it through __getattr__ takes over ten times as long); _kinds says what each name is.
        self.__dict__["training"] = True
        self.__dict__["_kinds"] = {}

    def forward(self, *args, **kwargs):
        """Compute the output; every subclass defines its own."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    # Attributes

    def _parts(self):
        """What a captured program takes for granted of this module."""
        return [self.training, bool(self.__dict__.get("_hooks")), *(self.__dict__[name] for name in self._kinds)]

    def __setattr__(self, name, value):
        if isinstance(value, (Parameter, Module)):
            kind = _MODULE if isinstance(value, Module) else _PARAMETER
            if "_kinds" not in self.__dict__:
                raise AttributeError(f"cannot assign {kind}s before Module.__init__() call")
            self._register(name, value, kind)
            return
        kind = self.__dict__.get("_kinds", {}).get(name)
        if kind and value is not None and not (kind in (_BUFFER, _TRANSIENT) and isinstance(value, _core.Tensor)):
            wanted = {_PARAMETER: "nn.Parameter", _MODULE: "nn.Module"}.get(kind, "a tensor")
            raise TypeError(f"cannot assign '{type_name(value)}' as {kind} '{name}' ({wanted} or None expected)")
        if kind or (name == "training" and self.__dict__.get(name) is not value):
            _core._structure_changed()
        object.__setattr__(self, name, value)

    def __delattr__(self, name):
        _core._structure_changed()
        object.__delattr__(self, name)
        self.__dict__.get("_kinds", {}).pop(name, None)

    def _register(self, name, value, kind):
        if self._kinds.get(name, kind) != kind:
            del self._kinds[name]  # a name that changes its kind moves to the end of its new one
        self._kinds[name] = kind
        _core._structure_changed()
        object.__setattr__(self, name, value)

    def _check_new_name(self, name, value, kind, cls):
        if "_kinds" not in self.__dict__:
            raise AttributeError(f"cannot assign {kind} before Module.__init__() call")
        if value is not None and not isinstance(value, cls):
            raise TypeError(f"cannot assign '{type_name(value)}' object to {kind} '{name}' ({cls.__name__} expected)")
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {type_name(name)}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain ".", got: {name}')
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if hasattr(self, name) and self._kinds.get(name) != kind:
            raise KeyError(f"attribute '{name}' already exists")

    def register_parameter(self, name, param):
        """Add a Parameter, or None for one that this instance does without (it is then in no `state_dict`)."""
        self._check_new_name(name, param, _PARAMETER, Parameter)
        if param is not None and not param.is_leaf:
            raise ValueError(f"cannot assign non-leaf tensor to parameter '{name}'; compute it in forward() instead")
        self._register(name, param, _PARAMETER)

    def register_buffer(self, name, tensor, persistent=True):
        """Add a tensor that is not trained but follows `to()` and, if persistent, is in the `state_dict`."""
        kind = self.__dict__.get("_kinds", {}).get(name)
        self._check_new_name(name, tensor, kind if kind == _TRANSIENT else _BUFFER, _core.Tensor)
        self._register(name, tensor, _BUFFER if persistent else _TRANSIENT)

    def add_module(self, name, module):
        """Add a child module, reachable as the attribute `name`."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{type_name(module)} is not a Module subclass")
        self._check_new_name(name, module, _MODULE, Module)
        self._register(name, module, _MODULE)

    register_module = add_module

    def _registered(self, *kinds):
        """(name, value) of what this module itself registered as one of `kinds`, in order."""
        attributes = self.__dict__
        return [(name, attributes[name]) for name, kind in self._kinds.items() if kind in kinds]

    # Read-only, so that writing to them fails where it would not reach the attribute.
    _parameters = property(lambda self: MappingProxyType(dict(self._registered(_PARAMETER))))
    _buffers = property(lambda self: MappingProxyType(dict(self._registered(_BUFFER, _TRANSIENT))))
    _modules = property(lambda self: MappingProxyType(dict(self._registered(_MODULE))))

    # Walking the tree

    def named_children(self):
        """Iterate over (name, module) of the direct children, each module once."""
        seen = set()
        for name, module in self._registered(_MODULE):
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self):
        """Iterate over the direct children."""
        return (module for _, module in self.named_children())

    def named_modules(self, memo=None, prefix="", remove_duplicate=True):
        """Iterate over (dotted name, module) of this module (name "") and all below it, each module once."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._registered(_MODULE):
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self):
        """Iterate over this module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def _named_tensors(self, kinds, prefix="", recurse=True, remove_duplicate=True):
        seen = set()
        modules = self.named_modules(None, prefix, remove_duplicate) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, tensor in module._registered(*kinds):
                if tensor is None or id(tensor) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(tensor))
                yield f"{path}.{name}" if path else name, tensor

    def named_parameters(self, prefix="", recurse=True, remove_duplicate=True):
        """Iterate over (dotted name, parameter); a shared parameter comes once, under its first name."""
        return self._named_tensors((_PARAMETER,), prefix, recurse, remove_duplicate)

    def parameters(self, recurse=True):
        """Iterate over the parameters, each once: what an optimizer is given."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix="", recurse=True, remove_duplicate=True):
        """Iterate over (dotted name, buffer)."""
        return self._named_tensors((_BUFFER, _TRANSIENT), prefix, recurse, remove_duplicate)

    def buffers(self, recurse=True):
        """Iterate over the buffers, each once."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def get_submodule(self, target):
        """The module at a dotted path; "" is this module. AttributeError where there is none."""
        module = self
        for name in target.split(".") if target else ():
            if module._kinds.get(name) != _MODULE or getattr(module, name) is None:
                raise AttributeError(f"{type(module).__name__} has no submodule `{name}` (looking for `{target}`)")
            module = getattr(module, name)
        return module

    def _get_tensor(self, target, *kinds):
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if module._kinds.get(name) not in kinds:
            raise AttributeError(f"{type(module).__name__} has no {kinds[0]} `{name}` (looking for `{target}`)")
        return getattr(module, name)

    def get_parameter(self, target):
        """The parameter at a dotted path. AttributeError where there is none."""
        return self._get_tensor(target, _PARAMETER)

    def get_buffer(self, target):
        """The buffer at a dotted path. AttributeError where there is none."""
        return self._get_tensor(target, _BUFFER, _TRANSIENT)

    # Changing the whole tree

    def apply(self, fn):
        """Call fn(module) on every module, children first, then this one; returns self."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def train(self, mode=True):
        """Set training mode (dropout active) on this module and all below it; returns self."""
        if not isinstance(mode, bool):
            raise ValueError(f"training mode is expected to be boolean, got {mode!r}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self):
        """Set evaluation mode (dropout off); returns self."""
        return self.train(False)

    def requires_grad_(self, requires_grad=True):
        """Say whether gradients of all parameters are wanted; returns self."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none=True):
        """Drop the gradients of all parameters, or fill them with zeros."""
        for parameter in self.parameters():
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad = parameter.grad.detach().zero_()

    def to(self, *args, dtype=None, device=None, non_blocking=False, copy=False):
        """Cast parameters and buffers of float type to a float dtype, in place; returns self.

        Accepts a dtype, a device or a tensor that has both, as programs for several devices write them; there is one.
        ValueError for another device than the CPU, TypeError for a dtype that is not a float type.
        """
        for value in args:
            if isinstance(value, _core.Tensor):
                dtype, device = value.dtype, value.device
            elif isinstance(value, (str, _device)):
                device = value
            elif not isinstance(value, bool) and value is not None:
                dtype = value
        _core.empty(0).to(device or "cpu")  # ValueError for a device that is not here
        if dtype is None:
            return self
        if dtype not in _FLOATS:
            raise TypeError(f"Module.to casts to float32 or float64, got {dtype}")
        for _, tensor in self._named_tensors((_PARAMETER, _BUFFER, _TRANSIENT)):
            if tensor.dtype in _FLOATS and tensor.dtype != dtype:
                grad = tensor.grad
                tensor.grad = None
                tensor.data = tensor.detach().to(dtype)
                tensor.grad = None if grad is None else grad.to(dtype)
        return self

    def type(self, dst_type):
        """Cast to a float dtype, in place; returns self."""
        return self.to(dst_type)

    def float(self):
        """Cast to float32, in place; returns self."""
        return self.to(_core.float32)

    def double(self):
        """Cast to float64, in place; returns self."""
        return self.to(_core.float64)

    def cpu(self):
        """Returns self, which is on the CPU."""
        return self

    def cuda(self, device=None):
        """ValueError: there is no GPU, as cuda.is_available() says."""
        return self.to("cuda")

    # Saving and loading

    def state_dict(self, *, destination=None, prefix="", keep_vars=False):
        """OrderedDict of dotted name -> tensor, for every parameter and persistent buffer.

        The tensors share memory with the module; they are detached unless keep_vars. destination: a dict to add to.
        """
        state = OrderedDict() if destination is None else destination
        for path, module in self.named_modules(None, prefix.removesuffix("."), remove_duplicate=False):
            for kind in (_PARAMETER, _BUFFER):
                for name, tensor in module._registered(kind):
                    if tensor is not None:
                        state[f"{path}.{name}" if path else name] = tensor if keep_vars else tensor.detach()
        return state

    def load_state_dict(self, state_dict, strict=True, assign=False):
        """Copy values (tensors or NumPy arrays) from a `state_dict` into the parameters and buffers.

        assign: hold the tensors themselves instead, with their dtypes; optimizers made before do not know them.
        Returns (missing_keys, unexpected_keys). RuntimeError, naming every key at fault, where shapes differ or,
        if strict, where keys are missing or unexpected; nothing has been copied then.
        """
        return load(self, state_dict, strict, assign)

    # Printing

    def extra_repr(self):
        """What `repr` shows between the parentheses, besides the children."""
        return ""

    def __repr__(self):
        extra = self.extra_repr()
        children = [f"({name}): {indented(repr(module))}" for name, module in self._registered(_MODULE)]
        if not children and "\n" not in extra:
            return f"{type(self).__name__}({extra})"
        lines = (extra.split("\n") if extra else []) + children
        return f"{type(self).__name__}(\n  " + "\n  ".join(lines) + "\n)"

    def __dir__(self):
        return [name for name in super().__dir__() if not name[0].isdigit()]
