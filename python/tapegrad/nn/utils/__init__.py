"""Gradient clipping, parameters as one vector, and weight normalisation, under the names of torch.nn.utils."""

from ..._lazy import lazy as _lazy
from ._clip import clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm
from ._vectors import parameters_to_vector, vector_to_parameters

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
    "parameters_to_vector",
    "parametrizations",
    "parametrize",
    "remove_weight_norm",
    "vector_to_parameters",
    "weight_norm",
]

__getattr__, __dir__ = _lazy(
    globals(), ("parametrizations", "parametrize"), {"_weight_norm": ("remove_weight_norm", "weight_norm")}
)
