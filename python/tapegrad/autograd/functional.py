"""Jacobians and Hessians of functions at a point, as in torch.autograd.functional; over tapegrad.func."""

from .. import _core
from .._tree import flatten


def jacobian(func, inputs, create_graph=False, strict=False, vectorize=False, strategy="reverse-mode"):
    """The Jacobian of func at the inputs: a tensor, or tuples where func returns or takes several tensors.

    inputs: a tensor or a tuple. create_graph: the result can be differentiated, also with respect to the inputs.
    strategy: "reverse-mode", or "forward-mode" for functions of few inputs and many outputs. vectorize and strict:
    accepted; an output that does not depend on an input has the Jacobian 0.
    """
    from ..func import jacfwd, jacrev

    if strategy not in ("reverse-mode", "forward-mode"):
        raise ValueError(f"jacobian: strategy must be 'reverse-mode' or 'forward-mode', got {strategy!r}")
    transform = jacrev if strategy == "reverse-mode" else jacfwd
    return _at(lambda argnums: transform(func, argnums), inputs, create_graph)


def hessian(func, inputs, create_graph=False, strict=False, vectorize=False, outer_jacobian_strategy="reverse-mode"):
    """The second derivatives of func, which returns one tensor of one element, at the inputs; see jacobian."""
    from ..func import jacrev

    def scalar(*args):
        y = func(*args)
        if not isinstance(y, _core.Tensor) or y.numel() != 1:
            raise RuntimeError("hessian: the function must return one tensor of one element")
        return y.reshape(())

    return _at(lambda argnums: jacrev(jacrev(scalar, argnums), argnums), inputs, create_graph)


def _at(transform, inputs, create_graph):
    many = isinstance(inputs, tuple)
    point = inputs if many else (inputs,)
    if not create_graph:
        point = tuple(x.detach() for x in point)
    found = transform(tuple(range(len(point))) if many else 0)(*point)
    if create_graph:
        return found
    leaves, rebuild = flatten(found)
    return rebuild([t.detach() for t in leaves])
