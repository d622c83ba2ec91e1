"""Functions of functions: gradients, Jacobians, products with them, and maps over a batch, as in torch.func.

They nest: `vmap(grad(f), in_dims=(None, 0))` gives the gradient for every sample, `jacrev(jacrev(f))` the Hessian.
"""

from ._grad import grad, grad_and_value, hessian, jacfwd, jacrev, jvp, value_and_grad, vjp
from ._module import functional_call, stack_module_state
from ._vmap import vmap

__all__ = [
    "functional_call",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "stack_module_state",
    "value_and_grad",
    "vjp",
    "vmap",
]
