"""Metrics that fit() and evaluate() accumulate over batches: classification (accuracy to AUC) and regression errors."""

from __future__ import annotations

import copy
import functools
import math
import re
from collections.abc import Mapping

import numpy as np

from . import _core
from ._metric import Mean, Metric, sum_and_count

__all__ = ["AUC", "F1", "MAE", "MSE", "R2", "RMSE", "Accuracy", "Mean", "Metric", "Precision", "Recall", "TopKAccuracy"]


# ---- Classification


def _by_sample(name: str, output, target):
    """Scores (M, C), C = 1 for logits of a binary classifier, and class indices (M,): of all that Accuracy takes."""
    shape, wanted = tuple(output.shape), tuple(target.shape)
    axes = len(shape)
    classes = shape[1] if axes > 1 else 1
    reduced = shape[:1] + shape[2:] if axes > 1 else (*shape, 1)  # without the axis of classes, or with it
    if axes and classes == 1 and wanted in (shape, reduced):
        scores = output.reshape(-1, 1)
    elif classes > 1 and (wanted == reduced or (wanted == shape and target.is_floating_point())):
        target = target.argmax(1) if wanted == shape else target
        scores = output if axes == 2 else output.movedim(1, -1).reshape(-1, classes)
    else:
        raise ValueError(
            f"{name}: expected class scores (N, C) and class indices (N,), or logits (N,) or (N, 1) of a binary "
            f"classifier and targets 0 and 1 of either shape, got {shape} and {wanted}"
        )
    if target.is_floating_point():
        target = target.where(target == target.round(), -1)  # between two classes is as wrong as beyond the last
    try:
        labels = _core.arange(max(classes, 2)).index_select(0, target.long().reshape(-1))  # checks their range
    except IndexError as error:
        raise IndexError(f"{name}: targets must be classes, 0 to {max(classes, 2) - 1}; {error}") from None
    return scores, labels


def _predicted(scores):
    """The class of each row of scores: the highest, the first of equals; of a logit, whether it is above 0."""
    return scores.argmax(1) if scores.shape[1] > 1 else (scores.reshape(-1) > 0).long()


class Accuracy(Metric):
    """Share of samples whose predicted class is the target.

    output: scores (N, C) or (N, C, ...) with C > 1, where the highest is the prediction; or the logits of a binary
        classifier, (N,), (N, 1) or (N, 1, ...), where above 0 is class 1.
    target: class indices (N,) or (N, ...), or class probabilities of the shape of scores, floats of which the highest
        counts; for logits 0 and 1, of any dtype, with or without the axis of length 1.

    Raises ValueError for other shapes, IndexError for a target that is no class.
    """

    name = "accuracy"
    capturable = True

    def measure(self, output, target):
        return sum_and_count(self._hits(*_by_sample(self.name, output, target)))

    def _hits(self, scores, labels):
        return _predicted(scores) == labels


class TopKAccuracy(Accuracy):
    """Share of samples whose target is among the k highest scores, of equal scores those of lower classes.

    Output and target as for Accuracy, but binary logits; its name is "top5_accuracy" for k = 5. Raises ValueError for
    less than k classes.
    """

    def __init__(self, k: int = 5):
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
            raise ValueError(f"TopKAccuracy: k must be an integer of at least 1, got {k!r}")
        super().__init__()
        self.k = int(k)
        self.name = f"top{k}_accuracy"

    def _hits(self, scores, labels):
        classes = scores.shape[1]
        if classes < max(self.k, 2):
            raise ValueError(f"{self.name}: expected scores (N, C) of at least {max(self.k, 2)} classes, got {classes}")
        return (scores.topk(self.k, 1)[1] == labels.unsqueeze(1)).any(1)


class _OfClasses(Metric):
    """A ratio of counts for each class, averaged."""

    capturable = True

    def __init__(self, average: str = "macro", pos_label: int = 1):
        if average not in ("macro", "micro", "weighted", "binary"):
            raise ValueError(f'{self.name}: average must be "macro", "micro", "weighted" or "binary", got {average!r}')
        if pos_label not in (0, 1):
            raise ValueError(f"{self.name}: pos_label must be 0 or 1, got {pos_label!r}")
        super().__init__()
        self.average = average
        self.pos_label = int(pos_label)

    def measure(self, output, target):
        """How often each class is hit, predicted and the target: (3, C)."""
        scores, labels = _by_sample(self.name, output, target)
        classes = max(scores.shape[1], 2)
        if self.average == "binary" and classes != 2:
            raise ValueError(
                f'{self.name}: average="binary" is for two classes, got scores of {classes}; '
                'choose "macro", "micro" or "weighted"'
            )
        predicted = _predicted(scores)
        none, ones = _core.zeros(classes, dtype=_core.float64), _core.ones(len(labels), dtype=_core.float64)
        hits = none.index_add(0, labels, (predicted == labels).double())
        return _core.stack([hits, none.index_add(0, predicted, ones), none.index_add(0, labels, ones)])

    def value(self) -> float:
        if self.state is None or not self.state.any():
            return math.nan
        counts = self.state.sum(1, keepdims=True) if self.average == "micro" else self.state
        hits, predicted, actual = counts
        weights = {"weighted": actual, "binary": np.arange(len(actual)) == self.pos_label}
        above, below = self._ratio(hits, predicted, actual)
        ratios = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
        return float(np.average(ratios, weights=weights.get(self.average, predicted + actual > 0)))


_OF_CLASSES = """

    average: "macro", the mean over the classes that occur among targets or predictions; "weighted", over classes by
        their number of targets; "micro", from the counts of all classes together; "binary", that of class `pos_label`
        (0 or 1) of two.

    Output and target as for Accuracy; what would be divided by zero is 0. The values are those of scikit-learn.
    """


class Precision(_OfClasses):
    __doc__ = "Of the samples predicted to be of a class, the share that is." + _OF_CLASSES
    name = "precision"

    def _ratio(self, hits, predicted, actual):
        return hits, predicted


class Recall(_OfClasses):
    __doc__ = "Of the samples of a class, the share that is predicted to be." + _OF_CLASSES
    name = "recall"

    def _ratio(self, hits, predicted, actual):
        return hits, actual


class F1(_OfClasses):
    __doc__ = "Harmonic mean of precision and recall of a class." + _OF_CLASSES
    name = "f1"

    def _ratio(self, hits, predicted, actual):
        return 2 * hits, predicted + actual


class AUC(Metric):
    """Area under the ROC curve: the chance that a sample of a class scores higher than one of another, ties half.

    Of two classes, logits (N,), (N, 1) or scores (N, 2), one area; of more, the mean over the classes of the area of
    each against the rest, by its softmax probability. Output and target as for Accuracy, scores being logits or
    log-probabilities. Computed exactly, by ranks (Hanley & McNeil, 1982), from the scores of all samples, which it
    keeps: C + 1 numbers per sample. nan where a class has no sample or no other has, or a score is nan.
    """

    name = "auc"
    capturable = True

    def reset(self) -> None:
        self._batches = []

    def measure(self, output, target):
        """Rows of scores, the label behind them."""
        scores, labels = _by_sample(self.name, output, target)
        return _core.cat([scores, labels.unsqueeze(1).to(scores.dtype)], 1)

    def add(self, values, n: int) -> None:
        self._batches += [np.array(rows, np.float64) for rows in values if n]

    @property
    def state(self):
        self._batches = [np.concatenate(self._batches)] if self._batches else []
        return self._batches[0] if self._batches else None

    @state.setter
    def state(self, rows):
        self._batches = [] if rows is None else [rows]

    def value(self) -> float:
        rows = self.state
        if rows is None or not len(rows) or np.isnan(rows).any():
            return math.nan
        scores, labels = rows[:, :-1], rows[:, -1]
        if scores.shape[1] > 1:
            scores = _log_softmax(scores)
        if scores.shape[1] <= 2:
            return _area(scores[:, -1], labels == 1)
        return float(np.mean([_area(scores[:, c], labels == c) for c in range(scores.shape[1])]))


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    """By log1p of what all but the highest add to the sum, so that probabilities near 1 remain apart."""
    highest = scores.argmax(1)[:, None]
    scores = scores - np.take_along_axis(scores, highest, 1)
    parts = np.exp(scores)
    np.put_along_axis(parts, highest, 0.0, 1)
    return scores - np.log1p(parts.sum(1, keepdims=True))


def _area(scores: np.ndarray, positive: np.ndarray) -> float:
    """The area from the sum of the positives' ranks; equal scores share their mean rank."""
    of, against = int(positive.sum()), int((~positive).sum())
    if not of or not against:
        return math.nan
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    twice_ranks = 2 * np.cumsum(counts) - counts + 1  # integers
    return (int(twice_ranks[place.reshape(-1)[positive]].sum()) - of * (of + 1)) / (2 * of * against)


# ---- Regression


class _Errors(Metric):
    """What depends on errors between output and target, which must have one shape; computed in float64."""

    capturable = True

    def measure(self, output, target):
        if output.shape != target.shape:
            shapes = f"output {tuple(output.shape)} and target {tuple(target.shape)}"
            raise ValueError(f"{self.name}: {shapes} must have one shape")
        return self._of(output.double(), target.double())


class MAE(_Errors):
    """Mean absolute error, of |output - target|, in the target's unit. Raises ValueError for different shapes."""

    name = "mae"

    def _of(self, output, target):
        return sum_and_count((output - target).abs())


class MSE(_Errors):
    """Mean squared error, of (output - target)^2. Raises ValueError for different shapes."""

    name = "mse"

    def _of(self, output, target):
        return sum_and_count((output - target).square())


class RMSE(MSE):
    """Square root of the mean of (output - target)^2, in the target's unit. Raises ValueError for different shapes."""

    name = "rmse"

    def value(self) -> float:
        return math.sqrt(super().value())


class R2(_Errors):
    """Coefficient of determination, 1 - sum (t - y)^2 / sum (t - mean t)^2, averaged over the columns of the target.

    A column whose target is constant has no R^2: the value is nan. Raises ValueError for different shapes.
    """

    name = "r2"

    def _of(self, output, target):
        columns = math.prod(target.shape[1:])
        output, target = output.reshape(-1, columns), target.reshape(-1, columns)
        mean = target.mean(0)
        return _core.stack([mean, (target - mean).square().sum(0), (target - output).square().sum(0)])

    def add(self, values, n: int) -> None:
        # Means and spreads of batches are merged as in Chan, Golub & LeVeque (1979): no cancellation far from zero.
        for mean, spread, residual in map(np.array, values if n else ()):
            before = np.zeros((4, len(mean))) if self.state is None else self.state
            count = before[0] + n
            shift = mean - before[1]
            spread += shift**2 * (n * before[0] / count)
            self.state = before + np.stack([np.full(len(mean), n), shift * (n / count), spread, residual])

    def value(self) -> float:
        if self.state is None or np.any(self.state[2] == 0):
            return math.nan
        return float(np.mean(1.0 - self.state[3] / self.state[2]))


# ---- By name

METRICS = {metric.name: metric for metric in (Accuracy, Precision, Recall, F1, AUC, MAE, MSE, RMSE, R2)}


def metric_makers(metrics) -> dict:
    """Maps each metric's name to a function that makes a fresh accumulator for it.

    metrics: a name of METRICS or "topK_accuracy" for a number K, a Metric, a callable `f(output, target)` returning a
    number (averaged over samples, named by its `__name__`), a sequence of these, or a dictionary of these by name.
    Raises ValueError for an unknown or repeated name, TypeError for anything else.
    """
    if isinstance(metrics, (str, Metric)) or callable(metrics):
        metrics = (metrics,)
    makers = {}
    for given in metrics or ():
        metric = _metric(metrics[given] if isinstance(metrics, Mapping) else given)
        name = given if isinstance(metrics, Mapping) else metric.name
        if not isinstance(name, str):
            raise TypeError(f"the name of a metric must be a string, got {name!r}")
        if name in makers or name in ("loss", "seconds", "steps", "epoch") or name.startswith("val_"):
            raise ValueError(f"metric name {name!r} is taken; pass a dictionary of metrics by other names")
        makers[name] = functools.partial(copy.copy, metric)
    return makers


def _metric(given) -> Metric:
    if isinstance(given, Metric):
        return given
    if isinstance(given, str):
        top = re.fullmatch(r"top([1-9][0-9]*)_accuracy", given)
        if top:
            return TopKAccuracy(int(top[1]))
        if given not in METRICS:
            known = ", ".join(METRICS)
            raise ValueError(
                f"unknown metric {given!r}; known metrics: {known}, top5_accuracy for any number, or pass a callable"
            )
        return METRICS[given]()
    if isinstance(given, type) and issubclass(given, Metric):
        raise TypeError(f"a metric is an instance, not a class: {given.__name__}()")
    if not callable(given):
        raise TypeError(f"a metric is a name or a callable f(output, target), got {type(given).__name__}")
    return Mean(given)
