"""The parameters that both estimators have: what they mean, and which values are valid."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable
from numbers import Integral, Real

import numpy as np

from .. import optim
from ._net import ACTIVATIONS, Architecture

SOLVERS = {
    name.lower(): getattr(optim, name)
    for name in optim.__all__
    if isinstance(getattr(optim, name), type) and name not in ("Muon", "Optimizer")  # Muon takes no biases
}
_DTYPES = ("float32", "float64")
SOLVER_OPTIONS = {  # where they are other than those of tapegrad.optim: scikit-learn's
    "lbfgs": {"line_search_fn": "strong_wolfe"},
    "sgd": {"momentum": 0.9, "nesterov": True},
}
DECOUPLED = {"adamw", "lion"}  # their weight decay is no part of the gradient


def _names(table: dict) -> str:
    return textwrap.fill(", ".join(f'"{name}"' for name in table), 112, subsequent_indent=" " * 8)


DOC = f"""
    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(100,)
        Units per hidden layer; () gives a linear model.
    activation : str, callable or sequence of these, one per hidden layer, default="relu"
        {_names(ACTIVATIONS)};
        a class of tapegrad.nn (or a functools.partial of one), which is called once per layer; or a function from
        tensor to tensor.
    solver : str, default="adam"
        {_names(SOLVERS)}:
        an optimizer of tapegrad.optim. "lbfgs", good for small data, takes all samples at once and finds the length of
        its steps by itself: batch_size and learning_rate_init do not count, an epoch is up to 20 of its iterations,
        and the loss recorded for it the one it began with.
    solver_options : dict, default=None
        Further options of the optimizer, e.g. {{"betas": (0.9, 0.99)}}. "sgd" has momentum=0.9 and nesterov=True
        unless they say otherwise.
    alpha : float, default=1e-4
        L2 penalty, as scikit-learn's: alpha / (2 b) * sum(W^2) is added to the mean loss of a batch, with b the batch
        size (times the mean of sample_weight) and W the weights of all layers without the biases. It is the
        optimizer's weight_decay = alpha / b. For adamw and lion alpha is their decoupled weight_decay itself, and
        no penalty; rprop has none and needs alpha=0.
    batch_size : int or "auto", default="auto"
        "auto" is min(200, n_samples).
    learning_rate_init : float, default=0.001
        The optimizer's learning rate. Callbacks may change it as training goes on.
    max_iter : int, default=200
        The most epochs of a call of fit. Where they do not suffice there is a ConvergenceWarning.
    shuffle : bool, default=True
        Whether each epoch takes the samples in another order.
    random_state : int, RandomState instance or None, default=None
        Fixes initial weights, order of the samples, dropout and validation split. tapegrad's default generator is as
        it was before after each call; until then other threads that fit wait.
    tol : float, default=1e-4
        Training stops when the loss of the training data (or with early_stopping the validation score) has not
        improved by tol for more than `n_iter_no_change` epochs in a row.
    verbose : bool or "bar", default=False
        True prints a line per epoch, "bar" shows a progress bar.
    warm_start : bool, default=False
        Whether fit goes on with the weights, the optimizer's state (moments, step counts) and the random numbers of
        the call before: twice 5 epochs are the same as 10. Changed parameters take effect, except for those that
        shape the net, which raise ValueError. The patience of the stopping rule starts afresh.
    early_stopping : bool, default=False
        Whether `validation_fraction` of the samples is set aside and the weights with the best score on it are kept.
    validation_fraction : float, default=0.1
        Only with early_stopping.
    n_iter_no_change : int, default=10
        See tol; may be infinite.
    dropout : float or sequence of float, one per hidden layer, default=0.0
        Probability with which a hidden unit is zeroed while training.
    callbacks : sequence of tapegrad.callbacks.Callback, default=()
        Take part in training. clone, and so a grid search, copies them.
    dtype : "float32", "float64" or None, default=None
        In which the net computes and predicts; float32 is about twice as fast. None: that of X, and float64 where X is
        of neither.
"""

ATTRIBUTES = """
    model_ : nn.Sequential
        The trained net.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Where X has names.
    n_iter_ : int
        Epochs of the last call.
    loss_ : float
        Mean loss of the last epoch's training batches, and the L2 penalty at its end.
    loss_curve_ : list of float
        loss_ by epoch over all calls since training began.
    validation_scores_ : list of float or None
        With early_stopping by epoch, as loss_curve_.
    best_validation_score_ : float or None
        With early_stopping: that of the weights kept.
    history_ : tapegrad.History
        What tapegrad.fit has recorded in the last call: losses without the penalty.
    out_activation_ : str
        What is applied to the net's outputs to predict.
    n_layers_ : int
        Layers of units: input, hidden ones and output.
    n_outputs_ : int
"""


def _number(kind: type, least: float, most: float = math.inf, *, above: bool = False):
    def valid(value):
        if not isinstance(value, kind) or isinstance(value, bool):
            return False
        return (least < value if above else least <= value) and value <= most

    return valid


def _flag(value):
    return isinstance(value, (bool, np.bool_))


# Parameter: (is it valid, what it must be).
_RULES = {
    "solver": (lambda v: isinstance(v, str) and v in SOLVERS, f"one of {', '.join(SOLVERS)}"),
    "solver_options": (lambda v: v is None or isinstance(v, dict), "None or a dict of options of the optimizer"),
    "alpha": (_number(Real, 0.0), "a number >= 0"),
    "batch_size": (
        lambda v: v == "auto" if isinstance(v, str) else _number(Integral, 1)(v),
        'an integer >= 1 or "auto"',
    ),
    "learning_rate_init": (_number(Real, 0.0, above=True), "a number > 0"),
    "max_iter": (_number(Integral, 1), "an integer >= 1"),
    "shuffle": (_flag, "True or False"),
    "tol": (_number(Real, 0.0), "a number >= 0"),
    "verbose": (lambda v: v == "bar" if isinstance(v, str) else isinstance(v, Integral), 'True, False or "bar"'),
    "warm_start": (_flag, "True or False"),
    "early_stopping": (_flag, "True or False"),
    "validation_fraction": (lambda v: _number(Real, 0.0, above=True)(v) and v < 1, "a number between 0 and 1"),
    "n_iter_no_change": (
        lambda v: v == math.inf or _number(Integral, 1)(v),
        "an integer >= 1 or infinity",
    ),
    "callbacks": (lambda v: isinstance(v, (tuple, list)), "a sequence of callbacks"),
    "dtype": (lambda v: v is None or (isinstance(v, str) and v in _DTYPES), '"float32", "float64" or None'),
}


def check_parameters(estimator) -> None:
    """Raises ValueError for a parameter out of range; those of the net are checked by architecture()."""
    for name, (valid, expected) in _RULES.items():
        value = getattr(estimator, name)
        if not valid(value):
            raise ValueError(f"{type(estimator).__name__}: {name} must be {expected}, got {value!r}")


def architecture(estimator, features: int, outputs: int, dtype: str) -> Architecture:
    """The net that the parameters ask for. Raises ValueError where they are out of range or their lengths differ."""
    hidden = estimator.hidden_layer_sizes
    hidden = tuple(hidden) if isinstance(hidden, Iterable) else (hidden,)
    if not all(map(_number(Integral, 1), hidden)):
        raise ValueError(f"hidden_layer_sizes must be integers > 0, got {estimator.hidden_layer_sizes!r}")
    hidden = tuple(map(int, hidden))
    activation = _per_layer("activation", estimator.activation, len(hidden))
    for value in activation:
        if not callable(value) and not (isinstance(value, str) and value in ACTIVATIONS):
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, or a callable; got {value!r}")
    dropout = _per_layer("dropout", estimator.dropout, len(hidden))
    if not all(map(_number(Real, 0.0, 1.0), dropout)):
        raise ValueError(f"dropout must be between 0 and 1, got {estimator.dropout!r}")
    return Architecture((features, *hidden, outputs), activation, dropout, dtype)


def _per_layer(name: str, value, layers: int) -> tuple:
    if isinstance(value, (str, Real, Callable)):
        return (value,) * layers
    if not isinstance(value, Iterable) or len(value := tuple(value)) != layers:
        raise ValueError(f"{name} must be one value, or one for each of the {layers} hidden layers; got {value!r}")
    return value
