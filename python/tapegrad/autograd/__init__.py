"""Automatic differentiation by function: grad, backward, Functions with a gradient of their own, checks, and modes."""

from .._core import RemovableHandle, grad, is_anomaly_enabled, is_grad_enabled, is_inference_mode_enabled
from .._core import _backward as _core_backward
from .._grad_mode import enable_grad, inference_mode, no_grad, set_grad_enabled
from .._lazy import lazy as _lazy

__all__ = [
    "Function",
    "FunctionCtx",
    "GradcheckError",
    "RemovableHandle",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "is_anomaly_enabled",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
]


__getattr__, __dir__ = _lazy(
    globals(),
    ("function", "functional"),
    {
        "_anomaly": ("detect_anomaly", "set_detect_anomaly"),
        "_function": ("Function", "FunctionCtx"),
        "_gradcheck": ("GradcheckError", "gradcheck", "gradgradcheck"),
    },
)


def backward(tensors, grad_tensors=None, retain_graph=None, create_graph=False, inputs=None):
    """Adds the gradients of several tensors to the .grad of the leaves they were computed from, in one sweep.

    tensors: one tensor or a sequence. grad_tensors: gradients of the same shapes; None for tensors of one element.
    retain_graph: keep what the graph saved, for another call (as create_graph if not given). create_graph: the
    gradients can be differentiated again. inputs: the tensors whose .grad is added to, instead of all leaves.
    RuntimeError where a tensor does not require grad.
    """
    _core_backward(tensors, grad_tensors, retain_graph, create_graph, inputs)
