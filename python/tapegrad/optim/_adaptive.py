"""Adagrad, RMSprop, Adadelta, Rprop: a step size for every element."""

from .. import _core
from ._fused import FusedOptimizer
from ._options import options_of


class Adagrad(FusedOptimizer):
    """Steps divided by the root of the sum of all squared gradients.

    With g = grad + weight_decay * p (grad negated to maximize), at the t-th step:
    s = s + g^2 (at first initial_accumulator_value), p -= lr / (1 + (t - 1) lr_decay) * g / (sqrt(s) + eps).
    lr, lr_decay, weight_decay, initial_accumulator_value, eps: >= 0, else ValueError.
    Source: Duchi, Hazan and Singer, JMLR 12, 2011.
    """

    _step_ = _core.adagrad_step_
    _options = ("lr", "weight_decay", "maximize", "lr_decay", "eps")
    _state = {"sum": None}

    def __init__(
        self,
        params,
        lr=1e-2,
        lr_decay=0,
        weight_decay=0,
        initial_accumulator_value=0,
        eps=1e-10,
        foreach=None,
        *,
        maximize=False,
        differentiable=False,
        fused=None,
    ):
        super().__init__(params, options_of(locals()))

    def _first_value(self, name, param, group):
        return _core.full_like(param.detach(), group["initial_accumulator_value"])


class RMSprop(FusedOptimizer):
    """Steps divided by the root of the running mean of squared gradients.

    With g = grad + weight_decay * p (grad negated to maximize): v = alpha v + (1 - alpha) g^2,
    d = g / (sqrt(v) + eps), p -= lr * d; with momentum, b = momentum * b + d and p -= lr * b.
    centered: a = alpha a + (1 - alpha) g, and v - a^2 in the place of v.
    lr, alpha, eps, weight_decay, momentum: >= 0, else ValueError.
    Source: Tieleman and Hinton, lecture 6.5 of "Neural networks for machine learning", 2012; centered: Graves,
    arXiv:1308.0850.
    """

    _step_ = _core.rmsprop_step_
    _options = ("lr", "weight_decay", "maximize", "momentum", "alpha", "eps", "centered")
    _state = {"square_avg": None, "momentum_buffer": "momentum", "grad_avg": "centered"}

    def __init__(
        self,
        params,
        lr=1e-2,
        alpha=0.99,
        eps=1e-8,
        weight_decay=0,
        momentum=0,
        centered=False,
        capturable=False,
        foreach=None,
        maximize=False,
        differentiable=False,
    ):
        super().__init__(params, options_of(locals()))


class Adadelta(FusedOptimizer):
    """Steps whose size follows from those before.

    With g = grad + weight_decay * p (grad negated to maximize): v = rho v + (1 - rho) g^2,
    d = sqrt(u + eps) / sqrt(v + eps) * g, u = rho u + (1 - rho) d^2, p -= lr * d.
    lr, eps, weight_decay: >= 0; rho: in [0, 1]; else ValueError.
    Source: Zeiler, arXiv:1212.5701.
    """

    _step_ = _core.adadelta_step_
    _options = ("lr", "weight_decay", "maximize", "rho", "eps")
    _state = {"square_avg": None, "acc_delta": None}

    def __init__(
        self,
        params,
        lr=1.0,
        rho=0.9,
        eps=1e-6,
        weight_decay=0,
        foreach=None,
        *,
        capturable=False,
        maximize=False,
        differentiable=False,
    ):
        super().__init__(params, options_of(locals()))


class Rprop(FusedOptimizer):
    """Resilient backpropagation, for full batches: only the signs of the gradient count.

    A step size (lr at first) grows by etas[1] where the gradient has kept its sign and shrinks by etas[0] where not,
    within step_sizes; p -= sign(grad) * step size, and p stays where the sign has changed.
    lr: >= 0; etas: below and above 1; else ValueError.
    Source: Riedmiller and Braun, 1993, in the form iRprop- of Igel and Huesken, 2000.
    """

    _step_ = _core.rprop_step_
    _options = ("maximize", "etas", "step_sizes")
    _state = {"prev": None, "step_size": None}

    def __init__(
        self,
        params,
        lr=1e-2,
        etas=(0.5, 1.2),
        step_sizes=(1e-6, 50),
        *,
        capturable=False,
        foreach=None,
        maximize=False,
        differentiable=False,
    ):
        options = options_of(locals())
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        super().__init__(params, options)

    def _first_value(self, name, param, group):
        return _core.full_like(param.detach(), float(group["lr"]) if name == "step_size" else 0.0)
