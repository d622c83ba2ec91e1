"""tapegrad.sklearn: targets, losses and weights; copies, pipelines and searches."""

from __future__ import annotations

import copy
import doctest
import pickle
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed", minversion="1.6")

from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_iris, make_multilabel_classification, make_regression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tapegrad import nn
from tapegrad.nn import functional as F
from tapegrad.sklearn import MLPClassifier, MLPRegressor, _classifier, _regressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
BOTH = pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return StandardScaler().fit_transform(X), y


# Targets


def test_probabilities(iris):
    X, y = iris
    estimator = MLPClassifier((10,), max_iter=50, learning_rate_init=0.01, random_state=0).fit(X, y)
    p, logs, scores = estimator.predict_proba(X), estimator.predict_log_proba(X), estimator.decision_function(X)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-14)
    np.testing.assert_allclose(p, np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True), rtol=1e-12)
    np.testing.assert_allclose(np.exp(logs), p, rtol=1e-14)
    np.testing.assert_array_equal(estimator.predict(X), p.argmax(axis=1))
    assert estimator.score(X, y) > 0.9
    assert log_loss(y, p) == pytest.approx(estimator.loss_, rel=0.1)
    far = estimator.predict_log_proba(X * 1e4)
    assert np.isfinite(far).all()
    assert far.min() < -1000  # exp of it is 0


def test_two_classes_of_any_name(iris):
    X, y = iris
    names = np.array(["no", "yes"])[(y == 2).astype(int)]
    estimator = MLPClassifier((10,), max_iter=50, learning_rate_init=0.01, random_state=0).fit(X, names)
    p, odds = estimator.predict_proba(X), estimator.decision_function(X)
    assert p.shape == (150, 2)
    np.testing.assert_allclose(odds, np.log(p[:, 1] / p[:, 0]), rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(estimator.predict(X), np.where(odds > 0, "yes", "no"))
    assert estimator.score(X, names) > 0.9


def test_multilabel():
    X, Y = make_multilabel_classification(200, n_classes=4, random_state=0)
    X = StandardScaler().fit_transform(X)
    estimator = MLPClassifier((50,), max_iter=100, learning_rate_init=0.01, random_state=0).fit(X, Y)
    p = estimator.predict_proba(X)
    assert estimator.out_activation_ == "logistic"
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-estimator.decision_function(X))), rtol=1e-12)
    np.testing.assert_array_equal(estimator.predict(X), p > 0.5)
    assert estimator.score(X, Y) > 0.9
    with pytest.raises(ValueError, match="class_weight must be None for multilabel"):
        estimator.set_params(class_weight="balanced").fit(X, Y)
    pieces = MLPClassifier((50,), random_state=0).partial_fit(X.tolist(), Y.tolist()).partial_fit(X, csr_array(Y))
    straight = MLPClassifier((50,), max_iter=2, random_state=0).fit(X, Y)
    np.testing.assert_array_equal(pieces.predict_proba(X), straight.predict_proba(X))
    early = MLPClassifier((50,), early_stopping=True, learning_rate_init=0.01, random_state=0).fit(X, Y)
    assert early.best_validation_score_ > 0.3  # the share of samples with all labels right


def test_targets_that_are_refused(iris):
    X, y = iris
    with pytest.raises(ValueError, match="continuous"):
        MLPClassifier().fit(X, y + 0.5)
    with pytest.raises(ValueError, match="one label per sample"):
        MLPClassifier().fit(X, np.stack([y, y], axis=1))
    with pytest.raises(ValueError, match="Input y contains NaN"):
        MLPRegressor().fit(X, np.where(y == 0, np.nan, y))


def test_several_outputs():
    X, Y = make_regression(200, 5, n_targets=3, random_state=0)
    Y /= Y.std(axis=0)
    estimator = MLPRegressor((50,), learning_rate_init=0.02, max_iter=200, random_state=0).fit(X, Y)
    assert estimator.predict(X).shape == Y.shape
    assert estimator.n_outputs_ == 3
    assert estimator.score(X, Y) > 0.95


# Losses


@pytest.mark.parametrize(
    ("loss", "target", "out_activation"),
    [
        ("squared_error", lambda x: 2 * x, "identity"),
        ("absolute_error", lambda x: 2 * x, "identity"),
        ("huber", lambda x: 2 * x, "identity"),
        ("poisson", lambda x: np.exp(2 * x), "exp"),
        ("bce_with_logits", lambda x: 1 / (1 + np.exp(-3 * x)), "logistic"),
    ],
)
def test_losses_of_the_regressor(loss, target, out_activation):
    x = np.linspace(-1, 1, 100)[:, None]
    y = target(x[:, 0])
    options = {"learning_rate_init": 0.05, "max_iter": 300, "n_iter_no_change": np.inf, "alpha": 0}
    estimator = MLPRegressor((), loss=loss, **options, random_state=0).fit(x, y)
    assert estimator.out_activation_ == out_activation
    np.testing.assert_allclose(estimator.predict(x), y, atol=0.05 * y.max())


def test_targets_that_a_loss_does_not_take(iris):
    X, y = iris
    with pytest.raises(ValueError, match="loss='poisson' needs y between 0 and inf, got -2 to 0"):
        MLPRegressor(loss="poisson").fit(X, -y)
    with pytest.raises(ValueError, match="needs y between 0 and 1, got 0 to 2"):
        MLPRegressor(loss="bce_with_logits").fit(X, y)


def squared_error(output, target):
    return ((output - target) ** 2).mean()


def squared_errors(output, target):
    return ((output - target) ** 2).mean(1)


def test_callable_losses(iris):
    X, y = iris
    options = {"hidden_layer_sizes": (5,), "max_iter": 5, "random_state": 0}
    expected = MLPRegressor(**options).fit(X, y).predict(X)
    np.testing.assert_allclose(MLPRegressor(**options, loss=squared_error).fit(X, y).predict(X), expected, rtol=1e-12)
    weight = np.linspace(0.5, 1.5, 150)
    expected = MLPRegressor(**options).fit(X, y, weight).predict(X)
    weighted = MLPRegressor(**options, loss=squared_errors).fit(X, y, weight)
    np.testing.assert_allclose(weighted.predict(X), expected, rtol=1e-12)
    with pytest.raises(ValueError, match="loss of each sample"):
        MLPRegressor(**options, loss=squared_error).fit(X, y, weight)
    smoothed = MLPClassifier(**options, loss=nn.CrossEntropyLoss(label_smoothing=0.1)).fit(X, y)
    assert smoothed.loss_ > MLPClassifier(**options).fit(X, y).loss_
    np.testing.assert_array_equal(
        MLPClassifier(**options, loss=F.cross_entropy).fit(X, y).predict_proba(X),
        MLPClassifier(**options).fit(X, y).predict_proba(X),
    )


# Weights


@BOTH
def test_weights_are_repetitions(iris, kind, rng):
    X, y = iris
    weight = rng.randint(0, 4, 150)
    options = {"hidden_layer_sizes": (5,), "batch_size": 600, "max_iter": 20, "alpha": 5.0, "random_state": 0}
    weighted = kind(**options).fit(X, y, weight)
    repeated = kind(**options).fit(X.repeat(weight, axis=0), y.repeat(weight))
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-8)
    np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-8)


@BOTH
def test_only_ratios_of_weights_count(iris, kind, rng):
    X, y = iris
    weight = rng.rand(150)
    a, b, c = (kind((5,), max_iter=5, alpha=0, random_state=0).fit(X, y, w) for w in (weight, 1024 * weight, None))
    assert a.loss_curve_ == b.loss_curve_
    assert a.loss_curve_ != c.loss_curve_
    ones = kind((5,), max_iter=5, random_state=0).fit(X, y, np.full(150, 1.0))
    np.testing.assert_allclose(ones.loss_curve_, kind((5,), max_iter=5, random_state=0).fit(X, y).loss_curve_)


def test_samples_of_weight_zero_are_as_if_absent(iris):
    X, y = iris
    weight = (y != 2).astype(float)
    X_wild = np.where(y[:, None] == 2, 1e9, X)
    a = MLPClassifier((5,), early_stopping=True, max_iter=5, random_state=0).fit(X_wild, y, weight)
    b = MLPClassifier((5,), early_stopping=True, max_iter=5, random_state=0).fit(X, y, weight)
    np.testing.assert_array_equal(a.predict_proba(X), b.predict_proba(X))
    with pytest.raises(ValueError, match=r"0 for all samples|at least one non-zero"):
        MLPClassifier().fit(X, y, np.zeros(150))
    with pytest.raises(ValueError, match=r"[Nn]egative"):
        MLPClassifier().fit(X, y, -weight)


def test_class_weight(iris):
    X, y = iris
    y = np.array(["a", "b", "c"])[y]
    X, y = X[:110], y[:110]  # few of class c

    def fitted(weight=None, **options):
        estimator = MLPClassifier((5,), learning_rate_init=0.02, max_iter=30, random_state=0, **options)
        return estimator.fit(X, y, weight).predict_proba(X)

    by_sample = {"a": 1.0, "b": 2.0, "c": 0.0}
    expected = {label: 110 / (3 * (y == label).sum()) for label in "abc"}
    np.testing.assert_allclose(fitted(class_weight="balanced"), fitted(class_weight=expected), rtol=1e-12)
    weight = np.where(y == "c", 5.0, 1.0)  # with weights that make them 50 as well, balance needs no more
    np.testing.assert_allclose(fitted(weight, class_weight="balanced", alpha=0), fitted(weight, alpha=0), rtol=1e-9)
    assert fitted(class_weight=by_sample)[:, 2].max() < fitted()[:, 2].max()
    np.testing.assert_allclose(fitted(class_weight={}), fitted(), rtol=1e-12)
    with pytest.raises(ValueError, match=r"class_weight names \['d'\], but the classes are \['a', 'b', 'c'\]"):
        fitted(class_weight={"d": 1.0})
    with pytest.raises(ValueError, match="class_weight must be a dict"):
        fitted(class_weight="even")
    with pytest.raises(ValueError, match="finite and >= 0"):
        fitted(class_weight={"a": -1.0})


# Copies and compositions


@BOTH
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda estimator: pickle.loads(pickle.dumps(estimator))])
def test_copies_stand_on_their_own(iris, kind, copied):
    X, y = iris
    estimator = kind((5,), solver="adamw", max_iter=3, dropout=0.1, random_state=0).fit(X, y)
    other = copied(estimator)
    expected = estimator.predict(X)
    np.testing.assert_array_equal(other.predict(X), expected)
    assert other.history_.to_dict() == estimator.history_.to_dict()
    other.partial_fit(X, y)
    np.testing.assert_array_equal(estimator.predict(X), expected)
    estimator.partial_fit(X, y)
    np.testing.assert_array_equal(other.model_[0].weight.detach(), estimator.model_[0].weight.detach())


@BOTH
def test_clone_and_set_params(kind):
    estimator = kind((5, 6), alpha=0.5, dropout=(0.1, 0.2), solver_options={"betas": (0.8, 0.9)})
    cloned = clone(estimator)
    assert cloned.get_params() == estimator.get_params()
    assert cloned.set_params(alpha=1.0).alpha == 1.0
    assert estimator.alpha == 0.5
    assert repr(estimator).startswith(f"{kind.__name__}(alpha=0.5")


def test_pipeline_and_cross_validation():
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(
        StandardScaler(), MLPClassifier((20,), learning_rate_init=0.02, max_iter=50, random_state=0)
    )
    scores = cross_val_score(pipeline, X, y, cv=3)
    assert scores.min() > 0.9
    np.testing.assert_array_equal(scores, cross_val_score(pipeline, X, y, cv=3))


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_grid_search(iris, n_jobs):
    grid = {"hidden_layer_sizes": [(3,), (20,)], "learning_rate_init": [1e-6, 0.02], "activation": ["relu", nn.Tanh]}
    search = GridSearchCV(MLPClassifier(max_iter=30, random_state=0), grid, cv=2, n_jobs=n_jobs).fit(*iris)
    assert search.best_params_["learning_rate_init"] == 0.02
    assert search.best_score_ > 0.9
    assert search.predict(iris[0]).shape == (150,)


@pytest.mark.parametrize("module", [_classifier, _regressor])
def test_examples_of_the_docstrings(module):
    results = doctest.testmod(module)
    assert results.attempted >= 4
    assert results.failed == 0


def test_without_scikit_learn_the_error_says_what_to_install():
    code = "import sys; sys.modules['sklearn'] = None; import tapegrad.sklearn"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ImportError: tapegrad.sklearn needs scikit-learn 1.6 or newer: pip install" in done.stderr


def test_names_of_features(iris):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    X, y = pandas.DataFrame(iris[0], columns=["a", "b", "c", "d"]), iris[1]
    estimator = MLPClassifier((5,), max_iter=1).fit(X, y)
    assert estimator.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    with pytest.raises(ValueError, match="feature names should match"):
        estimator.predict(X.rename(columns={"d": "e"}))
