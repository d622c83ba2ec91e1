"""Weight normalisation: w = g v / |v|, direction and length of each row trained apart.

Source: Salimans and Kingma, 2016, https://arxiv.org/abs/1602.07868.
"""

from functools import lru_cache

from .._module import Module
from .._parameter import Parameter
from .parametrize import computed


def length(v, dim):
    """The norm over all dimensions but dim (None: over all), which are kept with size 1."""
    if dim is None or dim == -1:
        return v.square().sum().sqrt()
    dims = [d for d in range(v.dim()) if d != dim % v.dim()]
    return (v.square().sum(dims, keepdim=True) if dims else v.square()).sqrt()


def scaled(v, g, dim):
    """v with the lengths g."""
    return v * (g / length(v, dim))


class _WeightNorm(Module):
    """The parametrization of parametrizations.weight_norm."""

    def __init__(self, dim=0):
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g, weight_v):
        return scaled(weight_v, weight_g, self.dim)

    def right_inverse(self, weight):
        return length(weight, self.dim), weight


@lru_cache
def _read(name):
    def read(module):
        g, v = getattr(module, f"{name}_g"), getattr(module, f"{name}_v")
        return scaled(v, g, module._weight_norms[name])

    return read


def _set_class(module):
    plain = getattr(type(module), "_without_weight_norm", type(module))
    module.__class__ = plain
    if module._weight_norms:
        module.__class__ = computed(plain, plain.__name__, *((name, _read(name)) for name in module._weight_norms))
        type(module)._without_weight_norm = plain


def weight_norm(module, name="weight", dim=0):
    """Compute a parameter as g v / |v|, from the parameters NAME_g, the lengths, and NAME_v; returns the module.

    dim: the dimension that keeps lengths of its own; None for one length. `parametrizations.weight_norm` does the same
    under its own names. RuntimeError where it has been done, ValueError where there is no such parameter.
    """
    norms = module.__dict__.setdefault("_weight_norms", {})
    if name in norms:
        raise RuntimeError(f"Cannot register two weight_norm hooks on the same parameter {name}")
    if not isinstance(module._parameters.get(name), Parameter):
        raise ValueError(f"weight_norm: {type(module).__name__} has no parameter {name!r}")
    weight = getattr(module, name)
    delattr(module, name)
    module.register_parameter(f"{name}_g", Parameter(length(weight.detach(), dim), weight.requires_grad))
    module.register_parameter(f"{name}_v", Parameter(weight.detach(), weight.requires_grad))
    norms[name] = dim
    _set_class(module)
    return module


def remove_weight_norm(module, name="weight"):
    """Make the parameter an ordinary one again, with its present value; returns the module."""
    norms = module.__dict__.get("_weight_norms", {})
    if name not in norms:
        raise ValueError(f"weight_norm of '{name}' not found in {type(module).__name__}")
    weight = Parameter(getattr(module, name).detach().clone(), getattr(module, f"{name}_v").requires_grad)
    del norms[name]
    _set_class(module)
    delattr(module, f"{name}_g")
    delattr(module, f"{name}_v")
    module.register_parameter(name, weight)
    return module
