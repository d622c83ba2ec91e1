"""Parameters as one vector, and back."""

from ... import _core
from ..._grad_mode import no_grad


def parameters_to_vector(parameters):
    """All parameters, flattened, one behind the other."""
    return _core.cat([p.reshape(-1) for p in parameters])


@no_grad
def vector_to_parameters(vec, parameters):
    """Copy consecutive parts of a vector into the parameters. ValueError unless it has as many elements as they."""
    parameters = list(parameters)
    total = sum(p.numel() for p in parameters)
    if tuple(vec.shape) != (total,):
        raise ValueError(f"vector_to_parameters: the parameters have {total} elements, the vector {tuple(vec.shape)}")
    at = 0
    for p in parameters:
        p.copy_(vec[at : at + p.numel()].reshape(p.shape))
        at += p.numel()
