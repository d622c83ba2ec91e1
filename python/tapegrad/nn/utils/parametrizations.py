"""Parametrizations by name, as in torch.nn.utils.parametrizations."""

from ._weight_norm import _WeightNorm
from .parametrize import register_parametrization


def weight_norm(module, name="weight", dim=0):
    """Compute a parameter as g v / |v|; g and v are parametrizations.NAME.original0 and original1. Returns the module.

    dim: the dimension that keeps lengths of its own; None for one length.
    """
    return register_parametrization(module, name, _WeightNorm(dim))
