"""SGD: gradient descent with momentum."""

from .. import _core
from ._optimizer import Optimizer


def check_not_negative(what, value):
    """ValueError unless value >= 0 (nan fails too)."""
    if not value >= 0.0:
        raise ValueError(f"Invalid {what}: {value}")


class SGD(Optimizer):
    """Stochastic gradient descent.

    With g = grad + weight_decay * p (grad negated to maximize):
    p -= lr * g; with momentum, b = momentum * b + (1 - dampening) * g (b = g at first) and p -= lr * b, or, with
    nesterov, p -= lr * (g + momentum * b).
    lr, momentum, weight_decay: >= 0; nesterov needs a momentum and no dampening; else ValueError.
    Source: Sutskever et al., ICML 2013, in the form of torch.optim.SGD.
    """

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

    def _update(self, group, params, grads):
        if group["momentum"] == 0:
            _fused_step(group, params, grads, [], first=False)
            return
        buffers = self._cached(group, params)
        if buffers is not None:
            _fused_step(group, params, grads, buffers, first=False)
            return
        states = [self.state[param] for param in params]
        fresh = [state.get("momentum_buffer") is None for state in states]
        for state, param, is_fresh in zip(states, params, fresh, strict=True):
            if is_fresh:
                state["momentum_buffer"] = _core.empty_like(param.detach())
        buffers = [state["momentum_buffer"] for state in states]
        for first in (False, True):
            chosen = [i for i, is_fresh in enumerate(fresh) if is_fresh is first]
            if chosen:
                _fused_step(group, *([values[i] for i in chosen] for values in (params, grads, buffers)), first=first)
        self._remember(group, params, buffers)


def _fused_step(group, params, grads, buffers, first):
    _core.sgd_step_(
        params,
        grads,
        buffers,
        lr=group["lr"],
        momentum=group["momentum"],
        dampening=group["dampening"],
        weight_decay=group["weight_decay"],
        nesterov=group["nesterov"],
        maximize=group["maximize"],
        first=first,
    )
