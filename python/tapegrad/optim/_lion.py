"""Lion: steps by the sign of a momentum."""

from .. import _core
from ._fused import FusedOptimizer
from ._options import options_of


class Lion(FusedOptimizer):
    """Evolved sign momentum.

    With g = grad (negated to maximize): p *= 1 - lr * weight_decay, p -= lr * sign(beta1 m + (1 - beta1) g),
    m = beta2 m + (1 - beta2) g.
    lr, weight_decay: >= 0; betas: in [0, 1); else ValueError. A good lr is 3 to 10 times smaller than AdamW's.
    Source: Chen et al., arXiv:2302.06675, program 1.
    """

    _step_ = _core.lion_step_
    _options = ("lr", "weight_decay", "maximize", "betas")
    _state = {"exp_avg": None}
    _counts = {}

    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0, *, maximize=False):
        super().__init__(params, options_of(locals()))
