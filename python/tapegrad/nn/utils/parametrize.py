"""Parameters that are computed from others whenever they are read, under the names of torch.nn.utils.parametrize."""

from functools import lru_cache

from ... import _core
from ..._grad_mode import no_grad
from .._containers import ModuleDict, ModuleList
from .._parameter import Parameter


class ParametrizationList(ModuleList):
    """The modules that compute a parameter, in order, and as parameters what the first starts from.

    That is `original`, or `original0`, `original1`, ... where the right_inverse() of a module gives several.
    """

    def __init__(self, modules, original):
        super().__init__(modules)
        self._set(original, add=True)

    def _set(self, value, add=False):
        """Make the originals such that the parameter has this value; without right_inverse() they are the value."""
        requires_grad = value.requires_grad
        with no_grad():
            for module in reversed(self):
                if hasattr(module, "right_inverse"):
                    value = module.right_inverse(value)
            several = not isinstance(value, _core.Tensor)
            names = [f"original{i}" for i in range(len(value))] if several else ["original"]
            for name, part in zip(names, value if several else [value], strict=True):
                if add:
                    part = part if isinstance(part, Parameter) else Parameter(part.detach(), requires_grad)
                    self.register_parameter(name, part)
                else:
                    getattr(self, name).copy_(part)

    def forward(self):
        originals = [value for name, value in self._parameters.items()]
        first, *others = self
        value = first(*originals)
        for module in others:
            value = module(value)
        return value


@lru_cache
def computed(cls, name, *computations):
    """A subclass of that name whose attributes are computed: (attribute, function of the module) pairs."""
    return type(name, (cls,), {attribute: property(function) for attribute, function in computations})


@lru_cache
def _read(name):
    return lambda module: module.parametrizations[name]()


def _set_class(module):
    """Give the module the class that computes what `parametrizations` holds."""
    cls = type(module)
    plain = getattr(cls, "_unparametrized", cls)
    names = list(module.parametrizations) if "parametrizations" in module._kinds else []
    if names:
        cls = computed(plain, f"Parametrized{plain.__name__}", *((name, _read(name)) for name in names))
        cls._unparametrized, cls.__setattr__ = plain, _assign
        module.__class__ = cls
    else:
        module.__class__ = plain


def _assign(module, name, value):
    """Assigning to a computed parameter changes what it is computed from."""
    if "parametrizations" in module._kinds and name in module.parametrizations:
        module.parametrizations[name]._set(value)
    else:
        module._unparametrized.__setattr__(module, name, value)


def is_parametrized(module, tensor_name=None):
    """Whether a module has a computed parameter, or this one."""
    there = module.parametrizations if "parametrizations" in module._kinds else ()
    return bool(len(there)) if tensor_name is None else tensor_name in there


def register_parametrization(module, tensor_name, parametrization, *, unsafe=False):
    """Compute a parameter of the module by another module, `parametrization(original)`, whenever it is read.

    The values it is computed from are the parameters `parametrizations.NAME.original`, or `original0`, ... where
    `parametrization.right_inverse(value)`, which gives the first ones, returns several. Returns the module.
    unsafe: do not check that shape and dtype stay. ValueError where they do not, or there is no such parameter.
    """
    if is_parametrized(module, tensor_name):
        found = module.parametrizations[tensor_name]
        value = getattr(module, tensor_name)
        found.append(parametrization)
        found._set(value)
        return module
    if tensor_name not in module._parameters and tensor_name not in module._buffers:
        raise ValueError(
            f"Module '{type(module).__name__}' does not have a parameter, a buffer, or a parametrized element with "
            f"name '{tensor_name}'"
        )
    original = getattr(module, tensor_name)
    found = ParametrizationList([parametrization], original)
    value = found()
    if not unsafe and (value.shape != original.shape or value.dtype != original.dtype):
        raise ValueError(
            f"register_parametrization: {type(parametrization).__name__} makes {tuple(value.shape)} {value.dtype} of "
            f"'{tensor_name}', {tuple(original.shape)} {original.dtype}; pass unsafe=True where that is wanted"
        )
    delattr(module, tensor_name)
    if "parametrizations" not in module._kinds:
        module.parametrizations = ModuleDict()
    module.parametrizations[tensor_name] = found
    _set_class(module)
    return module


def remove_parametrizations(module, tensor_name, leave_parametrized=True):
    """Make a computed parameter an ordinary one again, with its present value; returns the module.

    leave_parametrized=False: with the value of `original` instead.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {type(module).__name__} does not have a parametrization on {tensor_name}")
    found = module.parametrizations[tensor_name]
    originals = list(found.parameters(recurse=False))
    if not leave_parametrized and len(originals) != 1:
        raise ValueError("remove_parametrizations: several originals cannot be left as one tensor")
    value = getattr(module, tensor_name) if leave_parametrized else originals[0]
    value = Parameter(value.detach().clone(), any(p.requires_grad for p in originals))
    del module.parametrizations[tensor_name]
    if not len(module.parametrizations):
        del module.parametrizations
    _set_class(module)
    setattr(module, tensor_name, value)
    return module
