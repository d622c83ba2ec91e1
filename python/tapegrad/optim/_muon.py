"""Muon: steps by a momentum matrix with its singular values brought near 1."""

from .. import _core
from ._fused import FusedOptimizer
from ._options import options_of


class Muon(FusedOptimizer):
    """Momentum orthogonalized by Newton-Schulz iterations, for the weight matrices of hidden layers.

    With g = grad: b = momentum * b + (1 - momentum) g; u = (1 - momentum) g + momentum * b with nesterov, else b;
    x = u / |u|, then ns_steps times x = a x + b (x x^T) x + c (x x^T)^2 x with a, b, c = ns_coefficients;
    p *= 1 - lr * weight_decay, p -= lr * r * x, with r = sqrt(max(1, rows / columns)), or
    0.2 sqrt(max(rows, columns)) for adjust_lr_fn="match_rms_adamw".
    The iteration runs in the parameter's own precision (that of torch.optim.Muon in bfloat16).
    Parameters must be matrices: give biases and such to another optimizer.
    lr, momentum, weight_decay: >= 0; else ValueError.
    Source: Jordan, "Muon: An optimizer for hidden layers in neural networks", 2024; match_rms_adamw: Liu et al.,
    arXiv:2502.16982.
    """

    _step_ = _core.muon_step_
    _options = ("lr", "weight_decay", "momentum", "nesterov", "ns_coefficients", "eps", "ns_steps", "adjust_lr_fn")
    _choices = {"adjust_lr_fn": (None, "original", "match_rms_adamw")}
    _state = {"momentum_buffer": None}
    _counts = {}

    def __init__(
        self,
        params,
        lr=1e-3,
        weight_decay=0.1,
        momentum=0.95,
        nesterov=True,
        ns_coefficients=(3.4445, -4.7750, 2.0315),
        eps=1e-7,
        ns_steps=5,
        adjust_lr_fn=None,
    ):
        options = options_of(locals())
        if adjust_lr_fn not in self._choices["adjust_lr_fn"]:
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        if len(ns_coefficients) != 3:
            raise ValueError("Coefficients must be a tuple of exactly 3 values")
        if not 0 <= ns_steps < 100:
            raise ValueError(f"ns_steps must be at least 0 and less than 100, got {ns_steps}")
        super().__init__(params, options)

    def add_param_group(self, param_group):
        super().add_param_group(param_group)
        for param in self.param_groups[-1]["params"]:
            if param.ndim != 2:
                self.param_groups.pop()
                raise ValueError(
                    f"Muon only supports 2D parameters whereas we found a parameter with size: {param.shape}"
                )
