"""Gradient clipping."""

import math

from ... import _core
from ..._grad_mode import no_grad


def _gradients(parameters):
    parameters = [parameters] if isinstance(parameters, _core.Tensor) else list(parameters)
    return [p.grad for p in parameters if p.grad is not None]


@no_grad
def clip_grad_norm_(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """Scale the gradients so that their norm, taken as one vector, is at most max_norm; returns the norm before.

    parameters: a tensor or an iterable of them; those without gradient do not count. norm_type: the p of the p-norm,
    may be inf. error_if_nonfinite: RuntimeError where the norm is nan or infinite (this reads its value, which a
    compiled function cannot do). foreach has no effect. The gradients change in place.
    """
    grads = _gradients(parameters)
    norm = get_total_norm(grads, norm_type, error_if_nonfinite)
    _scale(grads, max_norm, norm)
    return norm


@no_grad
def get_total_norm(tensors, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """The norm of tensors (often gradients) taken as one vector; the arguments are those of clip_grad_norm_()."""
    tensors = [tensors] if isinstance(tensors, _core.Tensor) else list(tensors)
    if not tensors:
        return _core.tensor(0.0)
    norm_type = float(norm_type)
    if norm_type == math.inf:
        norm = _core.stack([t.abs().max() for t in tensors]).max()
    elif norm_type == 2.0:
        norm = _core.stack([t.square().sum() for t in tensors]).sum().sqrt()
    else:
        norm = _core.stack([t.abs().pow(norm_type).sum() for t in tensors]).sum().pow(1.0 / norm_type)
    if error_if_nonfinite and not math.isfinite(norm.item()):
        raise RuntimeError(
            f"the total norm of order {norm_type:g} of the gradients is {norm.item()}, so they cannot be clipped; "
            "pass error_if_nonfinite=False to scale them by it anyway"
        )
    return norm


@no_grad
def clip_grads_with_norm_(parameters, max_norm, total_norm, foreach=None):
    """Scale the gradients in place so that a total norm, given or of get_total_norm(), is at most max_norm."""
    _scale(_gradients(parameters), max_norm, total_norm)


def _scale(grads, max_norm, norm):
    scale = _core.minimum(max_norm / (norm + 1e-6), 1.0)
    for g in grads:
        g.mul_(scale.to(g.dtype))


@no_grad
def clip_grad_value_(parameters, clip_value, foreach=None):
    """Limit every element of the gradients to [-clip_value, clip_value], in place. foreach has no effect."""
    limit = float(clip_value)
    for g in _gradients(parameters):
        g.copy_(_core.minimum(_core.maximum(g, -limit), limit))
