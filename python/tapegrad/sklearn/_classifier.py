"""MLPClassifier: a multi-layer perceptron for classes and for sets of labels."""

from __future__ import annotations

import numpy as np
from scipy.sparse import issparse
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from ._base import BaseMLP
from ._parameters import ATTRIBUTES, DOC

_KINDS = ("binary", "multiclass", "multilabel-indicator")
_LOSSES = (None, "log_loss", "cross_entropy")


class MLPClassifier(ClassifierMixin, BaseMLP):
    __doc__ = f"""Multi-layer perceptron classifier with scikit-learn's interface, trained by tapegrad.

    The net has one output per class, of which the softmax gives the probabilities; for multilabel targets (an array of
    0 and 1 per sample and label) one per label with a sigmoid.
{DOC}
    loss : "log_loss" or callable, default=None
        None and "log_loss" ("cross_entropy"): cross entropy. A callable loss(output, target) gets the outputs before
        softmax or sigmoid (b, n_outputs) and int64 class numbers (b,), or for multilabel targets floats of the
        outputs' shape, and returns a scalar; with sample_weight or class_weight one loss per sample.
    class_weight : dict, "balanced" or None, default=None
        Factor of the samples' weights by class label; classes that the dict lacks count 1. "balanced":
        n_samples / (n_classes * samples of the class). Not for multilabel targets.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted; for multilabel targets the numbers of the columns.
{ATTRIBUTES}
    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from tapegrad.sklearn import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> make_pipeline(StandardScaler(), MLPClassifier(max_iter=500, random_state=0)).fit(X, y).score(X, y) > 0.95
    True
    """

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
        class_weight=None,
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
        super().__init__(
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            solver=solver,
            solver_options=solver_options,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate_init=learning_rate_init,
            max_iter=max_iter,
            loss=loss,
            shuffle=shuffle,
            random_state=random_state,
            tol=tol,
            verbose=verbose,
            warm_start=warm_start,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            dropout=dropout,
            callbacks=callbacks,
            dtype=dtype,
        )
        self.class_weight = class_weight

    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """One epoch over the given samples, which goes on with weights, optimizer and random numbers; returns self.

        classes: all labels that may ever occur; needed in the first call (for multilabel targets y tells). k calls with
        the same samples are the same as fit with max_iter=k.
        """
        first = not self.__sklearn_is_fitted__()
        if self.class_weight == "balanced":
            raise ValueError(
                'class_weight="balanced" needs all samples at once; for partial_fit give a dict, e.g. made with '
                "sklearn.utils.compute_class_weight"
            )
        if first:
            multilabel = type_of_target(y).startswith("multilabel")
            if classes is None and not multilabel:
                raise ValueError("the first call of partial_fit needs classes=, all labels that may ever occur")
            self._learn(y, multilabel, classes)
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"classes must be those of the first call, {self.classes_}; got {classes}")
        return self._partial_fit(X, y, sample_weight, first)

    def predict(self, X):
        """Labels of the most probable classes (n_samples,); multilabel 0 or 1 by sample and label, int64."""
        return self._decided(self._forward(X))

    def predict_proba(self, X):
        """Probabilities (n_samples, n_classes) in the order of classes_; rows sum to 1, except for multilabel."""
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X):
        """Logarithms of predict_proba, computed without it: finite where a probability underflows."""
        output = self._forward(X)
        wide = output.astype(np.float64)
        if self._multilabel:
            logarithms = -np.logaddexp(0.0, -wide)
        else:
            logarithms = wide - np.logaddexp.reduce(wide, axis=1, keepdims=True)
        return logarithms.astype(output.dtype)

    def decision_function(self, X):
        """The net's outputs before the softmax or sigmoid (n_samples, n_classes).

        For two classes the second minus the first, the log-odds of classes_[1], (n_samples,).
        """
        output = self._forward(X)
        two = len(self.classes_) == 2 and not self._multilabel
        return output[:, 1] - output[:, 0] if two else output

    def _decided(self, output: np.ndarray) -> np.ndarray:
        if self._multilabel:
            return (output > 0).astype(np.int64)
        return self.classes_[output.argmax(axis=1)]

    def _learn(self, y, multilabel: bool, labels) -> None:
        self._multilabel = multilabel
        self.classes_ = np.arange(np.shape(y)[1]) if multilabel else np.unique(labels)

    def _target(self, y, learn: bool):
        kind = type_of_target(y)
        if kind not in _KINDS:
            check_classification_targets(y)  # refuses numbers and what is no target at all
            raise ValueError(f"y must be one label per sample, or 0 and 1 by sample and label; got {kind} targets")
        if issparse(y):
            y = y.toarray()
        multilabel = kind == "multilabel-indicator"
        if learn:
            self._learn(y, multilabel, y)
        if multilabel != self._multilabel or (multilabel and y.shape[1] != len(self.classes_)):
            raise ValueError(
                f"y must be of the kind and the classes fitted before, {self.classes_}; got {kind} targets"
            )
        if multilabel:
            return y.astype(np.float64)
        places = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
        strange = self.classes_[places] != y
        if strange.any():
            raise ValueError(
                f"y has classes that were not there before: {np.unique(y[strange])}, not in {self.classes_}"
            )
        return places.astype(np.int64)

    def _outputs(self, target) -> int:
        return len(self.classes_)

    def _weights(self, weight, target):
        if self.class_weight is None:
            return weight
        if self._multilabel:
            raise ValueError("class_weight must be None for multilabel targets")
        if isinstance(self.class_weight, str):
            if self.class_weight != "balanced":
                raise ValueError(f'class_weight must be a dict, "balanced" or None, got {self.class_weight!r}')
            counts = np.bincount(target, weight, minlength=len(self.classes_))
            factors = len(target) / (len(self.classes_) * np.maximum(counts, np.finfo(float).tiny))
        else:
            factors = self._factors()
        return factors[target] if weight is None else weight * factors[target]

    def _factors(self) -> np.ndarray:
        labels = self.classes_.tolist()
        unknown = [label for label in self.class_weight if label not in labels]
        factors = np.array([self.class_weight.get(label, 1.0) for label in labels], dtype=np.float64)
        if unknown:
            raise ValueError(f"class_weight names {unknown}, but the classes are {labels}")
        if not (np.isfinite(factors) & (factors >= 0)).all():
            raise ValueError(f"class_weight must be finite and >= 0, got {self.class_weight}")
        return factors

    def _loss_and_activation(self):
        activation = "logistic" if self._multilabel else "softmax"
        if callable(self.loss):
            return self.loss, activation
        if self.loss not in _LOSSES:
            raise ValueError(f'loss must be "log_loss" or a callable loss(output, target), got {self.loss!r}')
        return "bce_with_logits" if self._multilabel else "cross_entropy", activation

    def _score_outputs(self, output, target, weight):
        truth = target.astype(np.int64) if self._multilabel else self.classes_[target]
        return accuracy_score(truth, self._decided(output), sample_weight=weight)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
