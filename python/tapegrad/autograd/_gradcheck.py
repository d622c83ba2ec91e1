"""gradcheck: gradients against central differences."""

import warnings

from .. import _core
from .._core import Tensor


class GradcheckError(RuntimeError):
    """A gradient differs from the central difference."""


def gradcheck(
    func,
    inputs,
    *,
    eps=1e-6,
    atol=1e-5,
    rtol=1e-3,
    raise_exception=True,
    nondet_tol=0.0,
    fast_mode=False,
):
    """Whether the gradients of func agree with central differences.

    func: takes the inputs, returns a tensor or a tuple of tensors. inputs: a tensor or a tuple; those that require
    grad are checked, and should be float64. eps: step of the differences. atol, rtol: |have - want| is at most
    atol + rtol |want| for every element of the Jacobian. nondet_tol: how much two backward passes may differ.
    fast_mode: one random direction in place of every element. Returns True; raises GradcheckError, or returns False
    unless raise_exception.
    """
    check = _Check(func, inputs, eps, nondet_tol)
    try:
        (check.direction if fast_mode else check.jacobian)(atol, rtol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func,
    inputs,
    grad_outputs=None,
    *,
    eps=1e-6,
    atol=1e-5,
    rtol=1e-3,
    raise_exception=True,
    nondet_tol=0.0,
    fast_mode=False,
):
    """The same for the gradient of func, as a function of the inputs and of the gradients of the outputs.

    grad_outputs: where to check; random ones if not given.
    """
    inputs = _as_tuple(inputs)
    outputs = [y for y in _as_tuple(func(*inputs)) if isinstance(y, Tensor) and y.requires_grad]
    if grad_outputs is None:
        generator = _core.Generator().manual_seed(1)
        given = [_core.rand(*y.shape, dtype=y.dtype, generator=generator) + 0.5 for y in outputs]
    else:
        given = [g.detach() for g in _as_tuple(grad_outputs)]
    count = len(inputs)

    def gradient(*args):
        ys = [y for y in _as_tuple(func(*args[:count])) if isinstance(y, Tensor) and y.requires_grad]
        xs = [x for x in args[:count] if isinstance(x, Tensor) and x.requires_grad]
        found = _core.grad(ys, xs, list(args[count:]), create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    return gradcheck(
        gradient,
        (*inputs, *(g.requires_grad_() for g in given)),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        fast_mode=fast_mode,
    )


def _as_tuple(value):
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


class _Check:
    """One function at one point."""

    def __init__(self, func, inputs, eps, nondet_tol):
        self.func, self.inputs, self.eps, self.nondet_tol = func, _as_tuple(inputs), eps, nondet_tol
        self.checked = [i for i, x in enumerate(self.inputs) if isinstance(x, Tensor) and x.requires_grad]
        if not self.checked:
            raise ValueError("gradcheck: no input requires grad")
        for i in self.checked:
            if self.inputs[i].dtype is not _core.float64:
                warnings.warn(f"gradcheck: input {i} is {self.inputs[i].dtype}; differences need float64", stacklevel=4)
        results = _as_tuple(func(*self.inputs))
        self.kept = [k for k, y in enumerate(results) if isinstance(y, Tensor) and y.requires_grad]
        self.outputs = [results[k] for k in self.kept]
        if not self.outputs:
            raise ValueError("gradcheck: no output requires grad")
        self.generator = _core.Generator().manual_seed(0)

    def values(self, i, moved):
        """The outputs, one after another, with the input i replaced."""
        inputs = list(self.inputs)
        inputs[i] = moved.requires_grad_()
        results = _as_tuple(self.func(*inputs))
        return _core.cat([results[k].detach().reshape(-1) for k in self.kept])

    def difference(self, i, step):
        """The change of the outputs along a step of the input i, by central differences."""
        x = self.inputs[i].detach()
        ends = [self.values(i, x + sign * self.eps * step) for sign in (1.0, -1.0)]
        return (ends[0] - ends[1]) / (2 * self.eps)

    def gradients(self, seeds):
        """The gradients of sum(seed * output), one row for each checked input."""
        xs = [self.inputs[i] for i in self.checked]
        found = [_core.grad(self.outputs, xs, seeds, retain_graph=True, materialize_grads=True) for _ in range(2)]
        for i, x, a, b in zip(self.checked, xs, *found, strict=True):
            if tuple(a.shape) != tuple(x.shape) or a.dtype is not x.dtype:
                raise GradcheckError(f"gradcheck: the gradient of input {i} is {a.dtype} {tuple(a.shape)}")
            change = _worst((a - b).detach().abs())
            if change > self.nondet_tol:
                raise GradcheckError(f"gradcheck: two backward passes for input {i} differ by {change}")
        return [g.detach().reshape(-1) for g in found[0]]

    def jacobian(self, atol, rtol):
        """Compares every element of every Jacobian."""
        rows = []
        for k, y in enumerate(self.outputs):
            for e in range(y.numel()):
                seeds = [_core.zeros_like(o).detach() for o in self.outputs]
                seeds[k].view(-1)[e] = 1.0
                rows.append(self.gradients(seeds))
        for j, i in enumerate(self.checked):
            x = self.inputs[i]
            if not rows or x.numel() == 0:
                continue
            have, columns = _core.stack([row[j] for row in rows]), []
            for e in range(x.numel()):
                step = _core.zeros(*x.shape, dtype=x.dtype)
                step.view(-1)[e] = 1.0
                columns.append(self.difference(i, step))
            self.compare(i, have, _core.stack(columns, 1), atol, rtol)

    def direction(self, atol, rtol):
        """Compares one random combination of the elements, for each input."""
        seeds = [self.random(o) for o in self.outputs]
        weights = _core.cat([s.reshape(-1) for s in seeds])
        for i, g in zip(self.checked, self.gradients(seeds), strict=True):
            step = self.random(self.inputs[i])
            step = step / (step.norm() if step.numel() else 1.0)  # the error of a difference grows with its length
            want = (self.difference(i, step) * weights).sum()
            self.compare(i, (g * step.reshape(-1)).sum(), want, atol, rtol)

    def random(self, like):
        """Numbers from 0.5 to 1.5, of a size at which nothing is lost."""
        return _core.rand(*like.shape, dtype=like.dtype, generator=self.generator) + 0.5

    def compare(self, i, have, want, atol, rtol):
        excess = (have - want).abs() - (atol + rtol * want.abs())
        if not _worst(excess) <= 0:
            raise GradcheckError(
                f"gradcheck: the gradient of input {i} differs from the central difference by "
                f"{_worst((have - want).abs())} (atol={atol}, rtol={rtol})\nbackward:\n{have}\ndifferences:\n{want}"
            )


def _worst(t):
    """The largest element; nan wins."""
    return t.max().item() if t.numel() else 0.0
