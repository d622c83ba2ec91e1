"""SGD: gradient descent with momentum."""

from .. import _core
from ._fused import FusedOptimizer
from ._options import options_of


class SGD(FusedOptimizer):
    """Stochastic gradient descent.

    With g = grad + weight_decay * p (grad negated to maximize):
    p -= lr * g; with momentum, b = momentum * b + (1 - dampening) * g (b = g at first) and p -= lr * b, or, with
    nesterov, p -= lr * (g + momentum * b).
    lr, momentum, weight_decay: >= 0; nesterov needs a momentum and no dampening; else ValueError.
    Source: Sutskever et al., ICML 2013, in the form of torch.optim.SGD.
    """

    _step_ = _core.sgd_step_
    _options = ("lr", "weight_decay", "maximize", "momentum", "dampening", "nesterov")
    _state = {"momentum_buffer": "momentum"}
    _counts = {}

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
        foreach=None,
        differentiable=False,
        fused=None,
    ):
        options = options_of(locals())
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        super().__init__(params, options)

    def _counted(self, state):
        return (float(state.get("momentum_buffer") is not None),)  # only the first step differs
