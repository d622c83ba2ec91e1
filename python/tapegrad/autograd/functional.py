"""Derivatives of functions at a point and their products with vectors, as in torch.autograd.functional."""

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


def vjp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(*inputs), v times the Jacobian); v has the outputs' shapes, or is left out for one element."""
    from ..func import vjp as transform

    outputs, pull = transform(func, *_point(inputs, create_graph))
    v = _vectors("vjp", v, outputs)
    return _results(outputs, pull(v), isinstance(inputs, tuple), create_graph)


def jvp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(*inputs), the Jacobian times v); v has the inputs' shapes, or is left out for one element."""
    from ..func import jvp as transform

    point = _point(inputs, create_graph)
    v = _vectors("jvp", v, point if len(point) > 1 else point[0])
    return _results(*transform(func, point, v if isinstance(v, tuple) else (v,)), True, create_graph)


def vhp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(*inputs), v times the Hessian) of a function of one element; v has the inputs' shapes."""
    return _hessian_product("vhp", func, inputs, v, create_graph)


def hvp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(*inputs), the Hessian times v) of a function of one element; v has the inputs' shapes."""
    return _hessian_product("hvp", func, inputs, v, create_graph)


def _hessian_product(name, func, inputs, v, create_graph):
    """From either side: a Hessian is symmetric."""
    from ..func import grad_and_value
    from ..func import vjp as transform

    point = _point(inputs, create_graph)
    slope = grad_and_value(lambda *args: func(*args).reshape(()), tuple(range(len(point))))
    (slopes, value), pull = transform(slope, *point)
    v = _vectors(name, v, slopes if len(point) > 1 else slopes[0])
    found = pull((v if isinstance(v, tuple) else (v,), _core.zeros_like(value)))
    return _results(value, found, isinstance(inputs, tuple), create_graph)


def _point(inputs, create_graph):
    point = inputs if isinstance(inputs, tuple) else (inputs,)
    return point if create_graph else tuple(x.detach() for x in point)


def _vectors(name, v, like):
    """v, or ones where it is left out and there is one element."""
    if v is not None:
        return v
    if not isinstance(like, _core.Tensor) or like.numel() != 1:
        raise RuntimeError(f"{name}: v must be given unless there is one tensor of one element")
    return _core.ones_like(like)


def _results(outputs, found, many, create_graph):
    found = found if many else found[0]
    if create_graph:
        return outputs, found
    leaves, rebuild = flatten((outputs, found))
    return rebuild([t.detach() for t in leaves])


def _at(transform, inputs, create_graph):
    many = isinstance(inputs, tuple)
    point = _point(inputs, create_graph)
    found = transform(tuple(range(len(point))) if many else 0)(*point)
    if create_graph:
        return found
    leaves, rebuild = flatten(found)
    return rebuild([t.detach() for t in leaves])
