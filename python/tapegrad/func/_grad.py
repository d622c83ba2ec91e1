"""Gradients of functions and products with their Jacobians, by reverse mode.

Forward products (jvp, jacfwd) use that the gradient is linear in what comes in: differentiated with respect to that,
it gives the product with the Jacobian itself. So every operation that can be differentiated twice has them, without
forward rules of its own, for about three times the work of the gradient.
"""

import functools

from .. import _core
from .._core import Tensor
from .._grad_mode import enable_grad
from .._tree import flatten
from ._batched import Batched, frames, levels_of, logical, physical, stacked


def _fresh(x, name):
    """What to differentiate with respect to: a leaf, or a view where x itself is being differentiated further out."""
    if not isinstance(x, (Tensor, Batched)) or not x.is_floating_point():
        kind = x.dtype if isinstance(x, (Tensor, Batched)) else type(x).__name__
        raise TypeError(f"{name}: expected float tensors to differentiate with respect to, got {kind}")
    t = physical(x, frames.running)
    return logical(t.view(*t.shape) if t.requires_grad else t.detach().requires_grad_(), frames.running)


class _Point:
    """A function that has run at a point, with a graph of its own from the inputs to the outputs.

    `attached`: the outputs depend on other tensors that require grad, so that results must be differentiable, too.
    """

    def __init__(self, name, function, inputs, has_aux):
        self.name, self.running, self.outer = name, list(frames.running), _core.is_grad_enabled()
        leaves, rebuild = flatten(inputs)
        with enable_grad():
            self.inputs = [_fresh(x, name) for x in leaves]
            result = function(rebuild(self.inputs))
        self.aux = None
        if has_aux:
            if not isinstance(result, tuple) or len(result) != 2:
                raise TypeError(f"{name}: with has_aux the function returns a tuple (output, aux)")
            result, self.aux = result
        self.outputs, self.rebuild_outputs = flatten(result)
        for y in self.outputs:
            if not isinstance(y, (Tensor, Batched)):
                raise TypeError(f"{name}: the function must return tensors, got {type(y).__name__}")
        self.xs = [physical(x, self.running) for x in self.inputs]
        self.ys = [physical(y, self.running) for y in self.outputs]
        self.attached = self.outer and (
            any(not x.is_leaf for x in self.xs)
            or _core._reaches_other_leaves([y for y in self.ys if y.requires_grad], self.xs)
        )
        if self.aux is not None and not self.attached:
            leaves, rebuild = flatten(self.aux)
            self.aux = rebuild([t.detach() if isinstance(t, (Tensor, Batched)) else t for t in leaves])

    def value(self):
        """The outputs, outside of the graph unless somebody else differentiates them."""
        return self.rebuild_outputs([y if self.attached else y.detach() for y in self.outputs])

    def pull(self, cotangents, create_graph=None):
        """The gradients of the inputs for gradients of the outputs; zeros where there are none."""
        extra = [f for f in levels_of(cotangents) if f not in self.running]
        if extra:  # a batch of gradients: one after another
            frame = extra[-1]
            rows = [
                self.pull([g._value[b] if isinstance(g, Batched) and g._frame is frame else g for g in cotangents])
                for b in range(frame.size)
            ]
            return [Batched(stacked(column), frame) for column in zip(*rows, strict=True)]
        pairs = [
            (y, physical(g, self.running).expand(*y.shape))
            for y, g in zip(self.ys, cotangents, strict=True)
            if y.requires_grad
        ]
        if create_graph is None:
            create_graph = self.attached or (_core.is_grad_enabled() and any(g.requires_grad for _, g in pairs))
        found = [None] * len(self.xs)
        if pairs:
            ys, gs = map(list, zip(*pairs, strict=True))
            found = _core.grad(ys, self.xs, gs, retain_graph=True, create_graph=create_graph, allow_unused=True)
        zeros = (_core.zeros_like(x.detach()) for x in self.xs)
        return [logical(z if g is None else g, self.running) for g, z in zip(found, zeros, strict=True)]

    def push_with(self):
        """The function from tangents of the inputs to tangents of the outputs."""
        us = [_core.ones_like(y.detach()).requires_grad_() for y in self.ys]
        with enable_grad():
            gs = [physical(g, self.running) for g in self.pull([logical(u, self.running) for u in us], True)]

        def push(tangents):
            pairs = [
                (g, physical(t, self.running).expand(*g.shape))
                for g, t in zip(gs, tangents, strict=True)
                if g.requires_grad
            ]
            create_graph = self.attached or (_core.is_grad_enabled() and any(t.requires_grad for _, t in pairs))
            found = [None] * len(us)
            if pairs:
                some, ts = map(list, zip(*pairs, strict=True))
                found = _core.grad(some, us, ts, retain_graph=True, create_graph=create_graph, allow_unused=True)
            zeros = (_core.zeros_like(u.detach()) for u in us)
            return [logical(z if g is None else g, self.running) for g, z in zip(found, zeros, strict=True)]

        return push


def _at(name, func, argnums, has_aux, args, kwargs):
    """The point given by the arguments, differentiated with respect to those that argnums names."""
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    if not all(-len(args) <= n < len(args) for n in numbers):
        raise ValueError(f"{name}: argnums is {argnums}, but there are {len(args)} positional arguments")
    places = [n % len(args) for n in numbers]

    def function(chosen):
        full = list(args)
        for place, value in zip(places, chosen, strict=True):
            full[place] = value
        return func(*full, **kwargs)

    inputs = tuple(args[place] for place in places)
    rebuild = flatten(inputs)[1]
    point = _Point(name, function, inputs, has_aux)
    return point, (lambda found: rebuild(found)[0]) if isinstance(argnums, int) else rebuild


def _transform(name, make):
    """A function of a function and argnums that returns a function of the same arguments."""

    def transform(func, argnums=0, has_aux=False):
        @functools.wraps(func)
        def transformed(*args, **kwargs):
            return make(*_at(name, func, argnums, has_aux, args, kwargs), has_aux)

        return transformed

    return transform


def _scalar_gradient(point, rebuild):
    if len(point.outputs) != 1 or point.outputs[0].shape != () or not isinstance(point.rebuild_outputs([0]), int):
        shapes = [tuple(y.shape) for y in point.outputs]
        raise RuntimeError(f"{point.name}: the function must return one tensor without dimensions, got shapes {shapes}")
    ones = _core.ones_like(point.ys[0].detach())
    return rebuild(point.pull([logical(ones, point.running)]))


def _make_grad(point, rebuild, has_aux):
    gradient = _scalar_gradient(point, rebuild)
    return (gradient, point.aux) if has_aux else gradient


def _make_grad_and_value(point, rebuild, has_aux):
    value = (point.value(), point.aux) if has_aux else point.value()
    return _scalar_gradient(point, rebuild), value


def _make_value_and_grad(point, rebuild, has_aux):
    return _make_grad_and_value(point, rebuild, has_aux)[::-1]


def grad(func, argnums=0, has_aux=False):
    """The function that computes the gradient of func, which returns one tensor without dimensions.

    argnums: the argument, or a tuple of them; each a tensor or a structure of tensors. has_aux: func returns
    (output, aux), and the gradient function (gradient, aux).
    """
    return _transform("grad", _make_grad)(func, argnums, has_aux)


def grad_and_value(func, argnums=0, has_aux=False):
    """The function that computes (gradient, value) of func; with has_aux (gradient, (value, aux))."""
    return _transform("grad_and_value", _make_grad_and_value)(func, argnums, has_aux)


def value_and_grad(func, argnums=0, has_aux=False):
    """The function that computes (value, gradient) of func, in JAX's order; with has_aux ((value, aux), gradient)."""
    return _transform("value_and_grad", _make_value_and_grad)(func, argnums, has_aux)


def vjp(func, *primals, has_aux=False):
    """(output, vjp_fn): vjp_fn(cotangents), of the output's structure, gives the gradients of the primals as a tuple.

    has_aux: func returns (output, aux), and the result is (output, vjp_fn, aux).
    """
    point = _Point("vjp", lambda args: func(*args), primals, has_aux)
    rebuild = flatten(primals)[1]

    def vjp_fn(cotangents):
        given = flatten(cotangents)[0]
        shapes = [tuple(g.shape) for g in given], [tuple(y.shape) for y in point.outputs]
        if shapes[0] != shapes[1]:
            raise RuntimeError(f"vjp: cotangents of shapes {shapes[0]} for outputs of shapes {shapes[1]}")
        return rebuild(point.pull(given))

    return (point.value(), vjp_fn, point.aux) if has_aux else (point.value(), vjp_fn)


def jvp(func, primals, tangents, *, strict=False, has_aux=False):
    """(output, tangent of the output): the product of the Jacobian at the primals with the tangents.

    primals and tangents: tuples of the same structure and shapes. has_aux: func returns (output, aux), and the result
    is (output, tangent, aux). strict: accepted; an output that does not depend on the primals has the tangent 0.
    """
    if not isinstance(primals, tuple) or not isinstance(tangents, tuple):
        raise TypeError("jvp: primals and tangents must be tuples")
    given, wanted = flatten(tangents)[0], flatten(primals)[0]
    if [tuple(t.shape) for t in given] != [tuple(x.shape) for x in wanted]:
        raise RuntimeError("jvp: the tangents must have the shapes of the primals")
    point = _Point("jvp", lambda args: func(*args), primals, has_aux)
    tangent = point.rebuild_outputs(point.push_with()(given))
    return (point.value(), tangent, point.aux) if has_aux else (point.value(), tangent)


def _basis(like):
    """Tensors of the shape with a single one in them."""
    for e in range(like.numel()):
        t = _core.zeros(like.numel(), dtype=like.dtype)
        t[e] = 1.0
        yield t.reshape(like.shape)


def _make_jacrev(point, rebuild, has_aux):
    rows = []
    for k, y in enumerate(point.outputs):
        zeros = [_core.zeros(*o.shape, dtype=o.dtype) for o in point.outputs]
        found = [point.pull([*zeros[:k], g, *zeros[k + 1 :]]) for g in _basis(y)]
        columns = zip(*found, strict=True) if found else [()] * len(point.inputs)
        rows.append(rebuild([_shaped(c, y.shape, x, 0) for c, x in zip(columns, point.inputs, strict=True)]))
    jacobian = point.rebuild_outputs(rows)
    return (jacobian, point.aux) if has_aux else jacobian


def _make_jacfwd(point, rebuild, has_aux):
    push, columns = point.push_with(), []
    for k, x in enumerate(point.inputs):
        zeros = [_core.zeros(*o.shape, dtype=o.dtype) for o in point.inputs]
        found = [push([*zeros[:k], t, *zeros[k + 1 :]]) for t in _basis(x)]
        columns.append(list(zip(*found, strict=True)) if found else [()] * len(point.outputs))
    rows = [
        rebuild([_shaped(columns[k][j], x.shape, y, -1) for k, x in enumerate(point.inputs)])
        for j, y in enumerate(point.outputs)
    ]
    jacobian = point.rebuild_outputs(rows)
    return (jacobian, point.aux) if has_aux else jacobian


def _shaped(parts, shape, other, dim):
    """Gradients or tangents like `other`, one for each element of a shape, as one tensor."""
    whole = (*shape, *other.shape) if dim == 0 else (*other.shape, *shape)
    if not parts:
        return _core.zeros(*whole, dtype=other.dtype)
    parts = list(parts) if dim == 0 else [p.unsqueeze(-1) for p in parts]
    joined = stacked(parts) if dim == 0 else parts[0] if len(parts) == 1 else _core.cat(parts, -1)
    return joined.reshape(whole)


def jacrev(func, argnums=0, *, has_aux=False, chunk_size=None):
    """The function that computes the Jacobian of func by reverse mode: a pass for every element of the output.

    Its shape is that of the output followed by that of the argument; structures nest in the same order. argnums,
    has_aux: as for grad. chunk_size: accepted; the passes run one after another.
    """
    return _transform("jacrev", _make_jacrev)(func, argnums, has_aux)


def jacfwd(func, argnums=0, has_aux=False, *, randomness="error"):
    """The same Jacobian by forward products, see jvp: a pass for every element of the argument."""
    return _transform("jacfwd", _make_jacfwd)(func, argnums, has_aux)


def hessian(func, argnums=0):
    """The function that computes the matrix of second derivatives: jacrev(jacrev(func))."""
    return jacrev(jacrev(func, argnums), argnums)
