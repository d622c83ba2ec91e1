"""Adam and its relatives: steps scaled by running moments of the gradient."""

from .. import _core
from ._fused import FusedOptimizer
from ._options import options_of


class Adam(FusedOptimizer):
    """Adam.

    With g = grad + weight_decay * p (grad negated to maximize), at the parameter's t-th step:
    m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2,
    p -= lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps).
    amsgrad: with the largest v so far instead of v.
    decoupled_weight_decay: p *= 1 - lr * weight_decay instead of the term in g (AdamW).
    lr, eps, weight_decay: >= 0; betas: in [0, 1); else ValueError.
    Source: Kingma and Ba, arXiv:1412.6980, algorithm 1; Loshchilov and Hutter, arXiv:1711.05101, for AdamW;
    Reddi et al., ICLR 2018, for amsgrad.
    """

    _step_ = _core.adam_step_
    _options = ("lr", "weight_decay", "maximize", "decoupled_weight_decay", "betas", "eps", "amsgrad")
    _state = {"exp_avg": None, "exp_avg_sq": None, "max_exp_avg_sq": "amsgrad"}

    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        amsgrad=False,
        *,
        foreach=None,
        maximize=False,
        capturable=False,
        differentiable=False,
        fused=None,
        decoupled_weight_decay=False,
    ):
        super().__init__(params, options_of(locals()))


class AdamW(Adam):
    """Adam with decoupled weight decay: p *= 1 - lr * weight_decay before each step. See `Adam`."""

    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=1e-2,
        amsgrad=False,
        *,
        maximize=False,
        foreach=None,
        capturable=False,
        differentiable=False,
        fused=None,
    ):
        super().__init__(params, **options_of(locals()), decoupled_weight_decay=True)

    def load_state_dict(self, state_dict):
        super().load_state_dict(state_dict)
        for group in self.param_groups:  # one saved by Adam says otherwise
            group["decoupled_weight_decay"] = True


class NAdam(FusedOptimizer):
    """Adam with Nesterov momentum.

    With g, m, v as in `Adam` and mu(t) = beta1 (1 - 0.96^(t momentum_decay) / 2), M the product of mu(1) to mu(t):
    p -= lr * ((1 - mu(t)) / (1 - M) * g + mu(t+1) / (1 - M mu(t+1)) * m) / (sqrt(v / (1 - beta2^t)) + eps).
    lr, eps, weight_decay, momentum_decay: >= 0; betas: in [0, 1); else ValueError.
    Source: Dozat, "Incorporating Nesterov momentum into Adam", 2016.
    """

    _step_ = _core.nadam_step_
    _options = ("lr", "weight_decay", "maximize", "decoupled_weight_decay", "betas", "eps", "momentum_decay")
    _state = {"exp_avg": None, "exp_avg_sq": None}
    _counts = {"step": 0.0, "mu_product": 1.0}

    def __init__(
        self,
        params,
        lr=2e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        momentum_decay=4e-3,
        decoupled_weight_decay=False,
        *,
        foreach=None,
        maximize=False,
        capturable=False,
        differentiable=False,
    ):
        super().__init__(params, options_of(locals()))


class RAdam(FusedOptimizer):
    """Adam that waits with its division until enough steps tell of the variance.

    With g, m, v as in `Adam`, R = 2 / (1 - beta2) - 1 and r = R - 2 t beta2^t / (1 - beta2^t):
    p -= lr * m / (1 - beta1^t) while r <= 5, then p -= lr * m / (1 - beta1^t) * sqrt(1 - beta2^t) / (sqrt(v) + eps)
    * sqrt((r - 4) (r - 2) R / ((R - 4) (R - 2) r)).
    lr, eps, weight_decay: >= 0; betas: in [0, 1); else ValueError.
    Source: Liu et al., arXiv:1908.03265, algorithm 2.
    """

    _step_ = _core.radam_step_
    _options = ("lr", "weight_decay", "maximize", "decoupled_weight_decay", "betas", "eps")
    _state = {"exp_avg": None, "exp_avg_sq": None}

    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        decoupled_weight_decay=False,
        *,
        foreach=None,
        maximize=False,
        capturable=False,
        differentiable=False,
    ):
        super().__init__(params, options_of(locals()))


class Adamax(FusedOptimizer):
    """Adam with the largest gradient in place of the mean of squares.

    With g and m as in `Adam`: u = max(beta2 u, |g| + eps), p -= lr / (1 - beta1^t) * m / u.
    lr, eps, weight_decay: >= 0; betas: in [0, 1); else ValueError.
    Source: Kingma and Ba, arXiv:1412.6980, algorithm 2.
    """

    _step_ = _core.adamax_step_
    _options = ("lr", "weight_decay", "maximize", "betas", "eps")
    _state = {"exp_avg": None, "exp_inf": None}

    def __init__(
        self,
        params,
        lr=2e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        foreach=None,
        *,
        maximize=False,
        differentiable=False,
        capturable=False,
    ):
        super().__init__(params, options_of(locals()))
