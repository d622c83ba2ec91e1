"""What MLPClassifier and MLPRegressor share: fitting, predicting, copying."""

from __future__ import annotations

import math
import warnings
from abc import ABCMeta, abstractmethod

import numpy as np
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from .. import _core
from .._tree import tree_map
from ..callbacks._weights import put_back
from ..fit import fit, predict
from ._net import Architecture, random_numbers
from ._parameters import DECOUPLED, architecture, check_parameters
from ._training import StoppingRule, make_optimizer


class BaseMLP(BaseEstimator, metaclass=ABCMeta):
    """An estimator around an nn.Sequential and fit()."""

    def __init__(
        self,
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        solver_options=None,
        alpha=1e-4,
        batch_size="auto",
        learning_rate_init=1e-3,
        max_iter=200,
        loss=None,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        dropout=0.0,
        callbacks=(),
        dtype=None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.solver_options = solver_options
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.loss = loss
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.dropout = dropout
        self.callbacks = callbacks
        self.dtype = dtype

    @abstractmethod
    def _target(self, y: np.ndarray, learn: bool) -> np.ndarray:
        """The targets as the loss takes them. learn: y tells what classes there are."""

    @abstractmethod
    def _outputs(self, target: np.ndarray) -> int:
        """How many outputs the net has."""

    @abstractmethod
    def _weights(self, weight: np.ndarray | None, target: np.ndarray) -> np.ndarray | None:
        """The weights that the loss gets, of sample weights of mean 1 and what else the estimator weighs by."""

    @abstractmethod
    def _loss_and_activation(self) -> tuple:
        """What fit() takes as the loss, and the name of the function that turns the net's outputs into predictions."""

    @abstractmethod
    def _score_outputs(self, output: np.ndarray, target: np.ndarray, weight: np.ndarray | None) -> float:
        """The score that early stopping maximizes."""

    def fit(self, X, y, sample_weight=None):
        """Trains on X (n_samples, n_features) and y; returns self.

        sample_weight: (n_samples,), >= 0. The loss of a batch of b samples is sum(w_i * loss_i) / b, with the weights
        scaled to mean 1; samples of weight 0 are left out. Only the penalty (see alpha) knows their scale: a sample of
        weight 2 counts as two.
        Raises ValueError for bad values or parameters, TypeError for sparse X, FloatingPointError when the loss becomes
        nan or infinite.
        """
        return self._fit(X, y, sample_weight, first=not (self.warm_start and self.__sklearn_is_fitted__()))

    def _partial_fit(self, X, y, sample_weight, first: bool):
        if self.early_stopping:
            raise ValueError("partial_fit cannot set samples aside: early_stopping must be False")
        return self._fit(X, y, sample_weight, first, partial=True)

    def _fit(self, X, y, sample_weight, first: bool, partial: bool = False):
        check_parameters(self)
        X, target, weight = self._validated(X, y, sample_weight, first, learn=first and not partial)
        net = architecture(self, X.shape[1], self._outputs(target), X.dtype.name)
        if first:
            self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        else:
            self._check_same(net)
        training, validation = self._split(X, target, weight)
        if first:  # so that, should training fail, the estimator is not a mixture of two
            for name in ("model_", "_solver_state"):
                vars(self).pop(name, None)
        with random_numbers(self._seed if first else self._random_state) as generator:
            model = net.build().eval() if first else self.model_
            loss, out_activation = self._loss_and_activation()
            history, rule, optimizer = self._run(
                model, loss, training, validation, first, 1 if partial else self.max_iter
            )
            random_state = generator.get_state()
        self.model_, self._architecture, self._random_state = model, net, random_state
        self._solver, self._solver_state = self.solver, optimizer.state_dict()["state"]
        self.out_activation_, self.n_layers_, self.n_outputs_ = out_activation, len(net.units), net.units[-1]
        self._record(history, rule, first)
        if not partial:
            self._warn(history, rule)
        return self

    def _validated(self, X, y, sample_weight, first: bool, learn: bool):
        """X, targets and weights of the samples that count, as arrays."""
        dtype = self.dtype or ((np.float64, np.float32) if first else self._architecture.dtype)
        numeric = is_regressor(self)
        X, y = validate_data(self, X, y, reset=first, dtype=dtype, order="C", multi_output=True, y_numeric=numeric)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        target = self._target(y, learn)
        target = target.astype(X.dtype if target.dtype.kind == "f" else np.int64)
        if sample_weight is None:
            return X, target, None
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        used = weight > 0
        if not used.any():
            raise ValueError("sample_weight is 0 for all samples: there is nothing to learn from")
        return (X, target, weight) if used.all() else (X[used], target[used], weight[used])

    def _check_same(self, net: Architecture) -> None:
        for name, before, now in zip(net._fields, self._architecture, net, strict=True):
            if before != now:
                raise ValueError(
                    f"going on with the net trained before (warm_start=True or partial_fit) needs the same {name}: "
                    f"it was {before}, is {now}; fit with warm_start=False starts anew"
                )

    def _split(self, *data):
        """((X, target, weight) to train on, the same to validate on or None)."""
        if not self.early_stopping:
            return data, None
        _, target, _ = data
        train, held_out = train_test_split(
            np.arange(len(target)),
            test_size=self.validation_fraction,
            random_state=self._seed,  # with warm_start the same samples are set aside each time
            stratify=target if is_classifier(self) and target.ndim == 1 else None,
        )
        if len(held_out) < 2:
            raise ValueError(
                f"validation_fraction={self.validation_fraction} of {len(target)} samples sets aside {len(held_out)}; "
                "early stopping needs at least 2"
            )
        return tuple(tuple(None if values is None else values[rows] for values in data) for rows in (train, held_out))

    def _run(self, model, loss, training, validation, first: bool, epochs: int):
        """Trains; returns history, stopping rule and optimizer."""
        X, target, weight = training
        batch_size = min(200 if self.batch_size == "auto" else int(self.batch_size), len(X))
        if self.solver == "lbfgs":
            batch_size = len(X)
        mean = 1.0 if weight is None else weight.mean()
        weight = self._weights(None if weight is None else weight / mean, target)
        optimizer = make_optimizer(self, model, batch_size * mean)
        if not first and self._solver == self.solver:
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": self._solver_state, "param_groups": groups})
        score = None
        if validation is not None:
            X_held_out, *held_out = validation

            def score(model):
                return self._score_outputs(predict(model, X_held_out), *held_out)

        bar = self.verbose == "bar"
        rule = StoppingRule(
            score,
            self.tol,
            self.n_iter_no_change,
            decay=0.0 if self.solver in DECOUPLED else self.alpha / (batch_size * mean),
            verbose=bool(self.verbose) and not bar,
        )
        steps = epochs * -(-len(X) // batch_size)
        history = fit(
            model,
            _present(X, target, weight),
            loss=loss,
            optimizer=optimizer,
            epochs=epochs,
            validation=None if validation is None else _present(*validation),
            callbacks=[rule, *self.callbacks],
            batch_size=batch_size,
            shuffle=bool(self.shuffle),
            progress=bar,
            compile="auto" if steps > 2 else False,  # capturing a step takes longer than the step
        )
        if rule.weights is not None:
            put_back(model, rule.weights)
        return history, rule, optimizer

    def _record(self, history, rule: StoppingRule, first: bool) -> None:
        if first:
            self.loss_curve_ = []
            self.validation_scores_ = None
        self.history_ = history
        self.n_iter_ = len(rule.losses)
        self.loss_curve_ = self.loss_curve_ + rule.losses
        self.loss_ = self.loss_curve_[-1] if self.loss_curve_ else math.nan
        self.best_validation_score_ = None
        if self.early_stopping:
            self.validation_scores_ = (self.validation_scores_ or []) + rule.scores
            self.best_validation_score_ = rule.best

    def _warn(self, history, rule: StoppingRule) -> None:
        if history.interrupted:
            warnings.warn("training was interrupted; the weights are those it had reached", stacklevel=4)
        elif history.stopped is None:
            warnings.warn(
                f"training has not converged in max_iter={self.max_iter} epochs (tol={self.tol:g}): raise max_iter, "
                "scale the features, or try another learning_rate_init",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _forward(self, X) -> np.ndarray:
        """The net's outputs (n_samples, n_outputs_)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=self._architecture.dtype, order="C")
        return predict(self.model_, X)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __getstate__(self):
        """Copies and pickles hold plain arrays: tensors are not pickled."""
        state = dict(super().__getstate__())
        if self.__sklearn_is_fitted__():
            state["model_"] = tree_map(_array, dict(self.model_.state_dict()))
            state["_solver_state"] = tree_map(_array, self._solver_state)
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        if self.__sklearn_is_fitted__():
            with random_numbers(0):
                model = self._architecture.build().eval()
            model.load_state_dict({name: _core.tensor(array) for name, array in state["model_"].items()})
            self.model_ = model


def _present(X, target, weight):
    """The data as fit() takes it, without weights where there are none."""
    return (X, target) if weight is None else (X, target, weight)


def _array(value):
    """A tensor as an array that shares nothing with it; other values as they are."""
    return value.detach().numpy().copy() if isinstance(value, _core.Tensor) else value
