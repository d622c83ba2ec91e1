"""What an estimator does around fit(): the optimizer, the stopping rule, the best weights."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

from .. import nn, optim
from .._grad_mode import no_grad
from ..callbacks import Callback
from ..callbacks._weights import copied
from ._parameters import DECOUPLED, SOLVER_OPTIONS, SOLVERS

_TAKEN = ("params", "lr", "weight_decay", "decoupled_weight_decay")


def make_optimizer(estimator, model: nn.Module, samples: float) -> optim.Optimizer:
    """The optimizer that the parameters ask for; only the weights of Linear layers decay.

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
    weights = weights_of(model)
    decaying = {id(weight) for weight in weights}
    others = [parameter for parameter in model.parameters() if id(parameter) not in decaying]
    decay = alpha if name in DECOUPLED else alpha / samples
    if name == "lbfgs":
        return _PenalizedLBFGS(weights, others, decay, **options)
    groups = [{"params": weights}, {"params": others}]
    if "weight_decay" in known:
        groups[0]["weight_decay"] = decay
        groups[1]["weight_decay"] = 0.0
    elif alpha:
        raise ValueError(f"solver {name!r} has no weight decay, so alpha must be 0, got {alpha}")
    return solver(groups, lr=estimator.learning_rate_init, **options)


def weights_of(model: nn.Sequential) -> list:
    """What the L2 penalty sees: the weights of the Linear layers."""
    return [module.weight for module in model if isinstance(module, nn.Linear)]


def penalty(weights: list, decay: float):
    """decay / 2 * sum(W^2) as a tensor, outside of the graph."""
    with no_grad():
        return 0.5 * decay * sum(weight.square().sum() for weight in weights)


class _PenalizedLBFGS(optim.LBFGS):
    """L-BFGS on the loss and the L2 penalty of some weights, both of which its line search has to see."""

    def __init__(self, weights, others, decay, **options):
        super().__init__([*weights, *others], **options)
        self._weights = weights
        self._decay = decay

    def step(self, closure):
        def penalized():
            loss = closure()
            with no_grad():
                for weight in self._weights:
                    weight.grad.add_(weight, alpha=self._decay)
                return loss + penalty(self._weights, self._decay)

        return super().step(penalized)


class StoppingRule(Callback):
    """Ends the run when it no longer improves, by scikit-learn's rule, and prints a line per epoch where wanted.

    score: function of the model to maximize; the weights with the best one are kept. None: minimizes the training loss
    and the L2 penalty of the given decay.
    """

    recapture = False

    def __init__(self, score: Callable | None, tol: float, patience: float, decay: float, verbose: bool):
        self.score = score
        self.tol = tol
        self.patience = patience
        self.decay = decay
        self.verbose = verbose
        self.losses = []
        self.scores = []
        self.best = -math.inf
        self.waited = 0
        self.weights = None

    def on_epoch_end(self, run):
        extra = penalty(weights_of(run.model), self.decay).item() if self.decay else 0.0
        self.losses.append(run.history["loss"][-1] + extra)
        value = self.score(run.model) if self.score else -self.losses[-1]
        self.waited = 0 if value >= self.best + self.tol else self.waited + 1
        if self.score:
            self.scores.append(value)
            if value > self.best or self.weights is None:
                self.weights = copied(run.model)
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
