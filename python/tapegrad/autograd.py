"""Automatic differentiation by function: grad, backward, and the gradient modes."""

from ._core import Tensor, grad, is_grad_enabled
from ._grad_mode import enable_grad, no_grad, set_grad_enabled

__all__ = ["backward", "enable_grad", "grad", "is_grad_enabled", "no_grad", "set_grad_enabled"]


def backward(tensors, grad_tensors=None, retain_graph=None, create_graph=False):
    """Adds the gradients of several tensors to the .grad of the leaves they were computed from.

    tensors: one tensor or a sequence. grad_tensors: gradients of the same shapes; not needed for tensors of one
    element. RuntimeError where a tensor does not require grad.
    """
    tensors = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    if grad_tensors is None or isinstance(grad_tensors, Tensor):
        grad_tensors = [grad_tensors] * len(tensors)
    last = len(tensors) - 1
    for i, (tensor, gradient) in enumerate(zip(tensors, grad_tensors, strict=True)):
        keep = retain_graph if i == last else True
        tensor.backward(gradient, retain_graph=keep, create_graph=create_graph)
