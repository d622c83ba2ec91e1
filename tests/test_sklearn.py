"""tapegrad.sklearn: scikit-learn's own checks; parameters, random numbers, going on and stopping."""

from __future__ import annotations

import copy
import functools
import pickle
import threading
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed", minversion="1.6")

from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import tapegrad as tg
from tapegrad import nn
from tapegrad.callbacks import Callback
from tapegrad.sklearn import MLPClassifier, MLPRegressor
from tapegrad.sklearn._parameters import SOLVERS

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
BOTH = pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])


@parametrize_with_checks([MLPClassifier(), MLPRegressor()])
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def weights(estimator) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().copy() for name, tensor in estimator.model_.state_dict().items()}


def assert_same_bits(a, b):
    a, b = weights(a), weights(b)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


# Training and its parameters


def test_attributes(iris):
    estimator = MLPClassifier((8, 6), max_iter=5, random_state=0).fit(*iris)
    assert [type(layer).__name__ for layer in estimator.model_] == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]
    assert (estimator.n_features_in_, estimator.n_outputs_, estimator.n_layers_, estimator.n_iter_) == (4, 3, 4, 5)
    assert estimator.out_activation_ == "softmax"
    assert estimator.classes_.tolist() == [0, 1, 2]
    np.testing.assert_allclose(estimator.loss_curve_, estimator.history_["loss"], rtol=1e-4)  # but for the penalty
    assert estimator.loss_ == estimator.loss_curve_[-1] < estimator.loss_curve_[0]
    assert estimator.validation_scores_ is estimator.best_validation_score_ is None


@pytest.mark.parametrize(
    ("load", "ours", "theirs", "options"),
    [
        (load_digits, MLPClassifier, TheirClassifier, {"hidden_layer_sizes": (50,), "max_iter": 40}),
        (load_diabetes, MLPRegressor, TheirRegressor, {"learning_rate_init": 0.01, "max_iter": 300}),
    ],
)
def test_as_good_as_scikit_learn(load, ours, theirs, options):
    X, y = load(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(StandardScaler().fit_transform(X), y, random_state=0)
    scores = {
        kind: np.mean([kind(**options, random_state=i).fit(X_train, y_train).score(X_test, y_test) for i in range(3)])
        for kind in (ours, theirs)
    }
    assert scores[ours] >= scores[theirs]


def test_one_step_is_that_of_scikit_learn(iris):
    """From the same weights, a full batch with its L2 penalty: alpha / (2 n) sum W^2 added to the mean loss."""
    X, y = iris
    options = {"hidden_layer_sizes": (5,), "solver": "sgd", "alpha": 30.0, "learning_rate_init": 0.1, "batch_size": 150}
    theirs = TheirClassifier(**options, max_iter=1, momentum=0.0, random_state=0).fit(X, y)
    ours = MLPClassifier(**options, solver_options={"momentum": 0.0, "nesterov": False}, warm_start=True, max_iter=1)
    ours.fit(X, y)
    start = TheirClassifier(**options, max_iter=1, momentum=0.0, random_state=0)
    start.set_params(learning_rate_init=1e-300).fit(X, y)  # a step of no length shows where it starts from
    linears = [layer for layer in ours.model_ if isinstance(layer, nn.Linear)]
    with tg.no_grad():
        for layer, W, b in zip(linears, start.coefs_, start.intercepts_, strict=True):
            layer.weight.copy_(tg.tensor(W.T.copy()))
            layer.bias.copy_(tg.tensor(b))
    ours.fit(X, y)
    for layer, W, b in zip(linears, theirs.coefs_, theirs.intercepts_, strict=True):
        np.testing.assert_allclose(layer.weight.detach().numpy(), W.T, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(layer.bias.detach().numpy(), b, rtol=1e-10, atol=1e-12)


def test_lbfgs_finds_the_minimum_with_its_penalty(iris):
    """Of a linear model it is ridge regression's, whose penalty on the sum of squares is alpha / 2."""
    X, y = iris
    exactly = {"tolerance_change": 1e-15, "tolerance_grad": 1e-12}
    estimator = MLPRegressor((), solver="lbfgs", solver_options=exactly, alpha=30.0, max_iter=50).fit(X, y)
    ridge = Ridge(alpha=15.0, tol=1e-10).fit(X, y)
    np.testing.assert_allclose(weights(estimator)["0.weight"][0], ridge.coef_, rtol=1e-5)
    np.testing.assert_allclose(weights(estimator)["0.bias"][0], ridge.intercept_, rtol=1e-5)
    assert estimator.loss_ == pytest.approx(((ridge.predict(X) - y) ** 2).mean() + 0.1 * (ridge.coef_**2).sum())


@pytest.mark.parametrize("solver", SOLVERS)
def test_solvers(iris, solver):
    options = {"learning_rate_init": 0.01, "alpha": 0, "max_iter": 3, "random_state": 0}
    estimator = MLPClassifier((10,), solver=solver, **options).fit(*iris)
    assert estimator.loss_curve_[-1] < estimator.loss_curve_[0]


def test_alpha_shrinks_the_weights_alone(iris):
    plain, strong = (
        weights(MLPClassifier((10,), alpha=alpha, solver="sgd", max_iter=100, random_state=0).fit(*iris))
        for alpha in (0.0, 1000.0)
    )
    assert np.abs(strong["0.weight"]).max() < 0.1 * np.abs(plain["0.weight"]).max()
    assert np.abs(strong["0.bias"]).max() > 0.5 * np.abs(plain["0.bias"]).max()
    with pytest.raises(ValueError, match=r"rprop.*no weight decay.*alpha must be 0"):
        MLPClassifier(solver="rprop").fit(*iris)
    MLPClassifier(solver="rprop", alpha=0, max_iter=1).fit(*iris)


def double_tanh(x):
    return 2 * x.tanh()


def test_activations(iris):
    activation = ("tanh", nn.PReLU, functools.partial(nn.LeakyReLU, 0.2), double_tanh)
    estimator = MLPClassifier((5, 6, 7, 8), activation, max_iter=3, dropout=(0.1, 0, 0, 0), random_state=0).fit(*iris)
    kinds = [type(layer).__name__ for layer in estimator.model_ if not isinstance(layer, nn.Linear)]
    assert kinds == ["Tanh", "Dropout", "PReLU", "LeakyReLU", "_Function"]
    assert estimator.model_[6].negative_slope == 0.2
    copied = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(copied.predict_proba(iris[0]), estimator.predict_proba(iris[0]))
    linear = MLPClassifier((), max_iter=2).fit(*iris)
    assert [type(layer).__name__ for layer in linear.model_] == ["Linear"]


def test_dropout_is_off_in_predictions(iris):
    estimator = MLPClassifier((20,), dropout=0.5, max_iter=5, random_state=0).fit(*iris)
    np.testing.assert_array_equal(estimator.predict_proba(iris[0]), estimator.predict_proba(iris[0]))
    without = MLPClassifier((20,), max_iter=5, random_state=0).fit(*iris)
    assert estimator.loss_ > without.loss_


def test_dtype(iris):
    X, y = iris
    for given, dtype, expected in [
        (X, None, np.float64),
        (X.astype(np.float32), None, np.float32),
        (X.astype(int), None, np.float64),
        (X, "float32", np.float32),
        (X.astype(np.float32), "float64", np.float64),
    ]:
        estimator = MLPClassifier((5,), max_iter=1, dtype=dtype).fit(given, y)
        assert estimator.predict_proba(X).dtype == estimator.decision_function(X).dtype == expected
        assert all(w.dtype == expected for w in weights(estimator).values())


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"hidden_layer_sizes": (10, 0)}, "hidden_layer_sizes must be integers > 0"),
        ({"activation": "rely"}, "activation must be one of .*relu.*'rely'"),
        ({"activation": ("relu", "relu")}, "each of the 1 hidden layers"),
        ({"solver": "muon"}, "solver must be one of .*adam"),
        ({"alpha": -1.0}, "alpha must be a number >= 0"),
        ({"batch_size": 0}, "batch_size must be an integer >= 1"),
        ({"learning_rate_init": 0}, "learning_rate_init must be a number > 0"),
        ({"max_iter": 2.5}, "max_iter must be an integer"),
        ({"dropout": 1.5}, "dropout must be between 0 and 1"),
        ({"dropout": (0.1, 0.2)}, "each of the 1 hidden layers"),
        ({"validation_fraction": 1.0}, "validation_fraction must be a number between 0 and 1"),
        ({"loss": "hinge"}, "loss must be"),
        ({"dtype": "float16"}, "dtype must be"),
        ({"callbacks": print}, "callbacks must be a sequence"),
        ({"verbose": "loud"}, "verbose must be"),
    ],
)
@BOTH
def test_wrong_parameters_are_named(iris, kind, parameters, message):
    with pytest.raises(ValueError, match=message):
        kind(**parameters).fit(*iris)


def test_unknown_option_of_the_solver(iris):
    with pytest.raises(TypeError, match="sgd takes no betas, lr; the learning rate is learning_rate_init"):
        MLPClassifier(solver="sgd", solver_options={"betas": (0.9, 0.9), "lr": 1.0}).fit(*iris)


def test_sparse_input_is_refused(iris):
    sparse = pytest.importorskip("scipy.sparse").csr_array(iris[0])
    with pytest.raises(TypeError, match="dense data is required"):
        MLPClassifier().fit(sparse, iris[1])


def test_divergence_leaves_no_half_trained_estimator(iris):
    estimator = MLPRegressor((5,), max_iter=2).fit(*iris)
    estimator.set_params(learning_rate_init=1e200, solver="sgd", max_iter=20)
    with pytest.raises(FloatingPointError, match="smaller learning rate"):
        estimator.fit(*iris)
    with pytest.raises(NotFittedError):
        estimator.predict(iris[0])


# Random numbers


@BOTH
def test_random_state(iris, kind):
    a, b, c = (kind((5,), max_iter=3, dropout=0.2, random_state=seed).fit(*iris) for seed in (1, 1, 2))
    assert_same_bits(a, b)
    assert not np.array_equal(weights(a)["0.weight"], weights(c)["0.weight"])


def test_the_default_generator_is_left_alone(iris):
    before = tg.default_generator.get_state()
    estimator = MLPClassifier((5,), max_iter=2, dropout=0.2, early_stopping=True).fit(*iris)
    copy.deepcopy(estimator).set_params(early_stopping=False).partial_fit(*iris)
    with pytest.raises(FloatingPointError):
        MLPRegressor((5,), solver="sgd", learning_rate_init=1e200).fit(*iris)
    assert tg.default_generator.get_state() == before


def test_threads_do_not_disturb_each_other(iris):
    estimators = [MLPClassifier((5,), max_iter=20, dropout=0.2, random_state=seed) for seed in range(4)]
    alone = [clone(estimator).fit(*iris) for estimator in estimators]
    threads = [threading.Thread(target=estimator.fit, args=iris) for estimator in estimators]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for a, b in zip(alone, estimators, strict=True):
        assert_same_bits(a, b)


# Going on


@BOTH
@pytest.mark.parametrize(
    "options", [{}, {"dropout": 0.3, "batch_size": 32}, {"solver": "sgd", "dtype": "float32"}, {"solver": "lbfgs"}]
)
def test_warm_start_goes_on_where_it_was(iris, kind, options):
    straight = kind((8,), max_iter=6, random_state=0, **options).fit(*iris)
    pieces = kind((8,), max_iter=2, random_state=0, warm_start=True, **options).fit(*iris)
    pieces = pickle.loads(pickle.dumps(pieces.fit(*iris)))
    pieces.fit(*iris)
    assert_same_bits(straight, pieces)
    assert pieces.loss_curve_ == straight.loss_curve_
    assert (pieces.n_iter_, len(pieces.history_), len(pieces.loss_curve_)) == (2, 2, 6)


@BOTH
def test_partial_fit_is_fit_epoch_by_epoch(iris, kind):
    straight = kind((8,), max_iter=4, batch_size=40, dropout=0.1, random_state=0).fit(*iris)
    pieces = kind((8,), batch_size=40, dropout=0.1, random_state=0)
    classes = {"classes": [0, 1, 2]} if kind is MLPClassifier else {}
    for _ in range(4):
        pieces.partial_fit(*iris, **classes)
    assert_same_bits(straight, pieces)
    assert pieces.loss_curve_ == straight.loss_curve_


def test_warm_start_takes_changed_parameters(iris):
    estimator = MLPClassifier((8,), max_iter=2, solver="sgd", warm_start=True, random_state=0).fit(*iris)
    before = weights(estimator)
    estimator.set_params(learning_rate_init=1e-30).fit(*iris)
    np.testing.assert_array_equal(weights(estimator)["0.weight"], before["0.weight"])
    estimator.set_params(learning_rate_init=0.1, solver="adam", max_iter=20).fit(*iris)
    assert estimator.loss_ < estimator.loss_curve_[0]
    with pytest.raises(ValueError, match=r"same units: it was \(4, 8, 3\), is \(4, 9, 3\)"):
        estimator.set_params(hidden_layer_sizes=(9,)).fit(*iris)
    assert estimator.set_params(warm_start=False).fit(*iris).n_layers_ == 3


def test_partial_fit_of_classes_to_come(iris):
    X, y = iris
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    estimator = MLPClassifier((8,), random_state=0).partial_fit(X[:60], names[:60], classes=np.unique(names))
    assert estimator.partial_fit(X[60:], names[60:]).predict_proba(X).shape == (150, 3)
    with pytest.raises(ValueError, match=r"not there before: \['rose'\]"):
        estimator.partial_fit(X[:2], ["rose", "setosa"])
    with pytest.raises(ValueError, match="classes must be those of the first call"):
        estimator.partial_fit(X, names, classes=["rose"])
    with pytest.raises(ValueError, match="needs classes="):
        MLPClassifier().partial_fit(X, y)
    with pytest.raises(ValueError, match="early_stopping must be False"):
        MLPClassifier(early_stopping=True).partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="balanced"):
        MLPClassifier(class_weight="balanced").partial_fit(X, y, classes=[0, 1, 2])


# When it stops


def test_stops_when_the_loss_no_longer_improves(iris):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator = MLPClassifier((8,), max_iter=500, tol=0.02, n_iter_no_change=4, random_state=0).fit(*iris)
    assert estimator.n_iter_ < 500
    assert "training loss did not improve by 0.02" in estimator.history_.stopped
    best, waited = np.inf, 0
    for epoch, loss in enumerate(estimator.loss_curve_, 1):  # scikit-learn's rule
        waited = waited + 1 if loss > best - 0.02 else 0
        best = min(best, loss)
        assert (waited > 4) == (epoch == estimator.n_iter_)
    with pytest.warns(ConvergenceWarning, match="not converged in max_iter=3 epochs"):
        MLPClassifier(max_iter=3).fit(*iris)


@BOTH
def test_early_stopping_keeps_the_best_weights(iris, kind):
    X, y = iris
    estimator = kind((30,), early_stopping=True, validation_fraction=0.3, learning_rate_init=0.02, random_state=3)
    estimator.fit(X, y)
    scores = estimator.validation_scores_
    assert len(scores) == estimator.n_iter_ == len(estimator.loss_curve_) < 200
    assert estimator.best_validation_score_ == max(scores) > scores[-1] - 1e-12
    assert "val_loss" in estimator.history_
    stratify = y if kind is MLPClassifier else None
    _, rows = train_test_split(np.arange(len(y)), test_size=0.3, random_state=estimator._seed, stratify=stratify)
    assert estimator.score(X[rows], y[rows]) == pytest.approx(max(scores), abs=1e-12)
    if kind is MLPClassifier:
        assert np.bincount(y[rows]).tolist() == [15, 15, 15]


def test_early_stopping_needs_samples(iris):
    X, y = iris
    with pytest.raises(ValueError, match="sets aside 1; early stopping needs at least 2"):
        MLPRegressor(early_stopping=True).fit(X[:5], y[:5])


class Recorder(Callback):
    def __init__(self, stop_at=None):
        self.stop_at = stop_at
        self.epochs = []

    def on_epoch_end(self, run):
        self.epochs.append((run.epoch, run.optimizer.param_groups[0]["lr"]))
        if run.epoch == self.stop_at:
            run.stop("enough")


def test_callbacks(iris):
    recorder = Recorder(stop_at=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # who stops it himself is not told that it has not converged
        estimator = MLPClassifier((5,), callbacks=[recorder], learning_rate_init=0.5).fit(*iris)
    assert recorder.epochs == [(1, 0.5), (2, 0.5), (3, 0.5)]
    assert estimator.history_.stopped == "enough"
    assert clone(estimator).callbacks[0] is not recorder


def test_verbose(iris, capsys):
    MLPClassifier((5,), max_iter=3, verbose=True, early_stopping=True).fit(*iris)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[0].split()[:2] == ["epoch", "loss"]
    assert lines[0].endswith("validation score")
    assert len({len(line) for line in lines}) == 1
    MLPClassifier((5,), max_iter=3).fit(*iris)
    assert capsys.readouterr().out == ""


def test_ctrl_c_keeps_what_there_is(iris):
    class Interrupts(Callback):
        def on_epoch_end(self, run):
            if run.epoch == 2:
                raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="interrupted"):
        estimator = MLPClassifier((5,), callbacks=[Interrupts()]).fit(*iris)
    assert estimator.n_iter_ == 2
    assert estimator.predict(iris[0]).shape == (150,)
