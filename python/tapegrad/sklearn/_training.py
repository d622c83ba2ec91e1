"""What an estimator does around fit(): the optimizer, the stopping rule, the best weights."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

from .. import nn, optim
from .._grad_mode import no_grad
from ..callbacks import Callback
from ._parameters import DECOUPLED, SOLVER_OPTIONS, SOLVERS

_TAKEN = ("params", "lr", "weight_decay", "decoupled_weight_decay")


def make_optimizer(estimator, model: nn.Module, samples: float) -> optim.Optimizer:
    """The optimizer that the parameters ask for: two groups, of which only the weights of Linear layers decay.

    samples: how many a batch counts for. Raises ValueError where the optimizer has no weight decay but alpha is not 0,
    TypeError for an option it does not have.
    """
    name, alpha = estimator.solver, estimator.alpha
    solver = SOLVERS[name]
    options = {**SOLVER_OPTIONS.get(name, {}), **(estimator.solver_options or {})}
    known = inspect.signature(solver).parameters
    unknown = [option for option in options if option not in known or option in _TAKEN]
    if unknown:
        raise TypeError(
            f"solver_options: {name} takes no {', '.join(unknown)}; the learning rate is learning_rate_init, "
            "the weight decay comes from alpha"
        )
    weights = [module.weight for module in model if isinstance(module, nn.Linear)]
    decaying = {id(weight) for weight in weights}
    others = [parameter for parameter in model.parameters() if id(parameter) not in decaying]
    groups = [{"params": weights}, {"params": others}]
    if "weight_decay" in known:
        groups[0]["weight_decay"] = alpha if name in DECOUPLED else alpha / samples
        groups[1]["weight_decay"] = 0.0
    elif alpha:
        raise ValueError(f"solver {name!r} has no weight decay, so alpha must be 0, got {alpha}")
    return solver(groups, lr=estimator.learning_rate_init, **options)


class StoppingRule(Callback):
    """Ends the run when it no longer improves, by scikit-learn's rule, and prints a line per epoch where wanted.

    score: function of the model to maximize; the weights with the best one are kept. None: minimizes the training loss
    and its L2 penalty. penalized: whether the weight decay of the optimizer's first group stands for such a penalty.
    """

    recapture = False

    def __init__(self, score: Callable | None, tol: float, patience: float, penalized: bool, verbose: bool):
        self.score = score
        self.tol = tol
        self.patience = patience
        self.penalized = penalized
        self.verbose = verbose
        self.losses = []
        self.scores = []
        self.best = -math.inf
        self.waited = 0
        self.weights = None

    def on_epoch_end(self, run):
        self.losses.append(run.history["loss"][-1] + (_penalty(run.optimizer) if self.penalized else 0.0))
        value = self.score(run.model) if self.score else -self.losses[-1]
        self.waited = 0 if value >= self.best + self.tol else self.waited + 1
        if self.score:
            self.scores.append(value)
            if value > self.best or self.weights is None:
                self.weights = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
        self.best = max(self.best, value)
        if self.verbose:
            self._print(run)
        if self.waited > self.patience:
            what = "validation score" if self.score else "training loss"
            run.stop(f"{what} did not improve by {self.tol:g} for more than {self.patience} epochs")

    def _print(self, run):
        if run.epoch == 1:
            print(run.history.header() + ("  validation score" if self.score else ""))
        print(run.history.row(-1) + (f"  {self.scores[-1]:16.4f}" if self.score else ""))


def _penalty(optimizer: optim.Optimizer) -> float:
    group = optimizer.param_groups[0]
    with no_grad():
        return 0.5 * group["weight_decay"] * sum(weight.square().sum().item() for weight in group["params"])
