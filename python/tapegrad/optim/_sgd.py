"""SGD: gradient descent with momentum."""

from .. import _core
from ._fused import FusedOptimizer


def check_not_negative(what, value):
    """ValueError unless value >= 0 (nan fails too)."""
    if not value >= 0.0:
        raise ValueError(f"Invalid {what}: {value}")


class SGD(FusedOptimizer):
    """Stochastic gradient descent.

    With g = grad + weight_decay * p (grad negated to maximize):
    p -= lr * g; with momentum, b = momentum * b + (1 - dampening) * g (b = g at first) and p -= lr * b, or, with
    nesterov, p -= lr * (g + momentum * b).
    lr, momentum, weight_decay: >= 0; nesterov needs a momentum and no dampening; else ValueError.
    Source: Sutskever et al., ICML 2013, in the form of torch.optim.SGD.
    """

    _step_ = _core.sgd_step_
    _options = ("lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize")

    def __init__(
        self,
        params,
        lr=1e-3,
        momentum=0,
        dampening=0,
        weight_decay=0,
        nesterov=False,
        *,
        maximize=False,
    ):
        check_not_negative("learning rate", lr)
        check_not_negative("momentum value", momentum)
        check_not_negative("weight_decay value", weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _state_names(self, group):
        return ("momentum_buffer",) if group["momentum"] != 0 else ()

    def _prepare(self, state, param):
        if state.get("momentum_buffer") is not None:
            return 1
        state["momentum_buffer"] = _core.zeros_like(param.detach())
        return 0
