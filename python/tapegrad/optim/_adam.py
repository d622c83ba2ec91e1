"""Adam and AdamW: steps scaled by running moments of the gradient."""

from .. import _core
from ._fused import FusedOptimizer
from ._sgd import check_not_negative


class Adam(FusedOptimizer):
    """Adam.

    With g = grad + weight_decay * p (grad negated to maximize), at the parameter's t-th step:
    m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2,
    p -= lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps).
    decoupled_weight_decay: p *= 1 - lr * weight_decay instead of the term in g (AdamW).
    lr, eps, weight_decay: >= 0; betas: in [0, 1); amsgrad is not available; else ValueError.
    Source: Kingma and Ba, arXiv:1412.6980, algorithm 1; Loshchilov and Hutter, arXiv:1711.05101, for AdamW.
    """

    _step_ = _core.adam_step_
    _options = ("lr", "betas", "eps", "weight_decay", "decoupled_weight_decay", "maximize")

    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        amsgrad=False,
        *,
        maximize=False,
        decoupled_weight_decay=False,
    ):
        check_not_negative("learning rate", lr)
        check_not_negative("epsilon value", eps)
        if len(betas) != 2:
            raise ValueError(f"betas should be two numbers, got {betas}")
        for i, beta in enumerate(betas):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"Invalid beta parameter at index {i}: {beta}")
        check_not_negative("weight_decay value", weight_decay)
        if amsgrad:
            raise ValueError("amsgrad=True is not supported: tapegrad has Adam and AdamW without it")
        defaults = {
            "lr": lr,
            "betas": tuple(betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def _state_names(self, group):
        return ("exp_avg", "exp_avg_sq")

    def _prepare(self, state, param):
        if not state:
            value = param.detach()
            state.update(step=0.0, exp_avg=_core.zeros_like(value), exp_avg_sq=_core.zeros_like(value))
        return float(state["step"])


class AdamW(Adam):
    """Adam with decoupled weight decay: p *= 1 - lr * weight_decay before each step. See `Adam`."""

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, amsgrad=False, *, maximize=False
    ):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True)
