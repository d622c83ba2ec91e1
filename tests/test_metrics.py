"""Metrics: values against scikit-learn and by hand, batches and state, bad arguments."""

import math
import warnings
from functools import partial

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import metrics


def class_scores(n=200, classes=4, seed=0, ties=True):
    """Scores with ties, float32, and classes that they tell something about."""
    random = np.random.RandomState(seed)
    labels = random.randint(0, classes, n)
    scores = random.randn(n, classes) + 1.5 * np.eye(classes)[labels]
    return (np.round(scores, 1) if ties else scores).astype(np.float32), labels


def binary_logits(n=200, seed=0):
    random = np.random.RandomState(seed)
    labels = random.randint(0, 2, n)
    return np.round(random.randn(n) + labels - 0.3, 1).astype(np.float32), labels


def value_of(metric, output, target, size=None):
    """The metric over batches of `size` samples, the last one smaller."""
    size = size or max(len(output), 1)
    for start in range(0, max(len(output), 1), size):
        metric.update(output[start : start + size], target[start : start + size])
    return metric.value()


def _softmax(scores):
    parts = np.exp(scores.astype(np.float64) - scores.max(1, keepdims=True))
    return parts / parts.sum(1, keepdims=True)


def _reference():
    return pytest.importorskip("sklearn.metrics", reason="the reference is scikit-learn's")


AVERAGES = ["macro", "micro", "weighted"]
OF_CLASSES = {
    "precision": (metrics.Precision, "precision_score"),
    "recall": (metrics.Recall, "recall_score"),
    "f1": (metrics.F1, "f1_score"),
}


# ---- Classification


@pytest.mark.parametrize("name", OF_CLASSES)
@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("seed", range(4))
def test_precision_recall_f1_of_classes_are_scikit_learns(name, average, seed):
    kind, function = OF_CLASSES[name]
    # Few samples of many classes: some are never predicted, some never the target, some neither.
    scores, labels = class_scores(12, 9, seed)
    want = getattr(_reference(), function)(labels, scores.argmax(1), average=average, zero_division=0)
    assert value_of(kind(average), scores, labels, 5) == pytest.approx(want, abs=1e-12)


@pytest.mark.parametrize("name", OF_CLASSES)
@pytest.mark.parametrize("average", [*AVERAGES, "binary"])
@pytest.mark.parametrize("pos_label", [0, 1])
def test_precision_recall_f1_of_logits_are_scikit_learns(name, average, pos_label):
    kind, function = OF_CLASSES[name]
    logits, labels = binary_logits()
    options = {"average": average, "pos_label": pos_label}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns that pos_label counts with "binary" only
        want = getattr(_reference(), function)(labels, logits > 0, **options)
    assert value_of(kind(**options), logits, labels, 64) == pytest.approx(want, abs=1e-12)
    two = np.stack([-logits, logits], 1)
    assert value_of(kind(**options), two, labels) == pytest.approx(want, abs=1e-12)


def test_precision_recall_f1_by_hand():
    scores = np.eye(4, dtype=np.float32)[[0, 0, 1, 1, 1, 2]]
    labels = np.array([0, 1, 1, 1, 0, 0])
    # Hits 1, 2, 0; predicted 2, 3, 1; targets 3, 3, 0; class 3 occurs nowhere and does not count.
    assert value_of(metrics.Precision(), scores, labels) == pytest.approx((1 / 2 + 2 / 3 + 0) / 3)
    assert value_of(metrics.Recall(), scores, labels) == pytest.approx((1 / 3 + 2 / 3 + 0) / 3)
    assert value_of(metrics.F1(), scores, labels) == pytest.approx((2 / 5 + 4 / 6 + 0) / 3)
    assert value_of(metrics.Recall("weighted"), scores, labels) == pytest.approx(1 / 2)
    assert value_of(metrics.F1("micro"), scores, labels) == pytest.approx(3 / 6)


@pytest.mark.parametrize("k", [1, 2, 3, 7])
def test_top_k_accuracy(k):
    scores, labels = class_scores(150, 7, ties=False)
    ranks = (scores > scores[np.arange(150), labels][:, None]).sum(1)
    metric = metrics.TopKAccuracy(k)
    assert metric.name == f"top{k}_accuracy"
    assert value_of(metric, scores, labels, 40) == (ranks < k).sum() / 150
    if k < 7:
        assert metric.value() == pytest.approx(_reference().top_k_accuracy_score(labels, scores, k=k))


def test_equal_scores_count_for_the_lower_class():
    scores, labels = class_scores(300, 5)
    scores = np.round(scores)
    order = np.argsort(-scores, axis=1, kind="stable")
    for k in (1, 2, 3):
        want = (order[:, :k] == labels[:, None]).any(1).sum() / 300
        assert value_of(metrics.TopKAccuracy(k), scores, labels) == want
    assert value_of(metrics.Accuracy(), scores, labels) == (order[:, 0] == labels).sum() / 300


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.bool_, np.float32, np.float64])
@pytest.mark.parametrize("shapes", [((8,), (8,)), ((8, 1), (8,)), ((8,), (8, 1)), ((8, 1), (8, 1))])
def test_accuracy_of_binary_logits(dtype, shapes):
    logits = np.array([-2, -0.5, 0, 0, 0.5, 3, -1, 2], np.float32)  # 0 is not above the threshold
    targets = np.array([0, 1, 0, 1, 1, 1, 0, 0])
    output, target = logits.reshape(shapes[0]), targets.astype(dtype).reshape(shapes[1])
    assert value_of(metrics.Accuracy(), output, target, 3) == 5 / 8
    assert value_of(metrics.Recall("binary"), output, target, 3) == 2 / 4


def test_accuracy_of_maps_and_probabilities():
    random = np.random.RandomState(0)
    scores, labels = random.randn(6, 3, 4, 2).astype(np.float32), random.randint(0, 3, (6, 4, 2))
    want = (scores.argmax(1) == labels).mean()
    assert value_of(metrics.Accuracy(), scores, labels, 4) == want
    assert value_of(metrics.Recall("micro"), scores, labels, 4) == pytest.approx(want)
    logits, mask = scores[:, :1], labels[:, None] > 0
    assert value_of(metrics.Accuracy(), logits, mask) == ((logits > 0) == mask).mean()
    probabilities = np.eye(3, dtype=np.float32)[labels[:, 0, 0]] * 0.8 + 0.1
    assert (
        value_of(metrics.Accuracy(), scores[:, :, 0, 0], probabilities)
        == (scores[:, :, 0, 0].argmax(1) == labels[:, 0, 0]).mean()
    )


def test_batches_whose_later_axes_differ():
    metric = metrics.Accuracy()
    metric.update(np.zeros((2, 3, 5), np.float32), np.zeros((2, 5), np.int64))
    metric.update(np.zeros((2, 3, 1), np.float32), np.ones((2, 1), np.int64))
    assert metric.value() == 10 / 12


@pytest.mark.parametrize("shape", [(200,), (200, 1), (200, 2)])
def test_auc_of_two_classes(shape):
    logits, labels = binary_logits()
    output = np.stack([logits / 4, logits * 5 / 4], 1) if shape[-1] == 2 else logits.reshape(shape)
    got = value_of(metrics.AUC(), output, labels, 60)
    above = logits[labels == 1][:, None] - logits[labels == 0]
    assert got == pytest.approx(np.mean(np.sign(above) + 1) / 2, abs=1e-12)  # pair by pair
    assert got == pytest.approx(_reference().roc_auc_score(labels, logits), abs=1e-12)


@pytest.mark.parametrize("classes", [3, 6])
def test_auc_of_more_classes(classes):
    scores, labels = class_scores(300, classes)
    want = _reference().roc_auc_score(labels, _softmax(scores), multi_class="ovr")
    assert value_of(metrics.AUC(), scores, labels, 70) == pytest.approx(want, abs=1e-12)
    logarithms = np.log(_softmax(scores))
    assert value_of(metrics.AUC(), logarithms, labels) == pytest.approx(want, abs=1e-3)  # rounding parts ties


def test_auc_of_probabilities_that_round_to_one():
    logits = np.array([50.0, 60, 70, 80, 40], np.float32)
    labels = np.array([0, 0, 1, 1, 0])
    assert value_of(metrics.AUC(), logits, labels) == 1.0
    assert value_of(metrics.AUC(), np.stack([0 * logits, logits], 1), labels) == 1.0


def test_auc_where_it_is_not_defined():
    logits, labels = binary_logits(10)
    assert math.isnan(value_of(metrics.AUC(), logits, np.ones(10)))
    assert math.isnan(value_of(metrics.AUC(), *(a % 3 for a in class_scores(20, 4))))  # class 3 has no sample
    assert math.isnan(value_of(metrics.AUC(), np.where(logits > 1, np.nan, logits), labels))
    assert value_of(metrics.AUC(), np.zeros(10, np.float32), labels) == 0.5


# ---- Regression


def test_errors_are_scikit_learns():
    reference = _reference()
    random = np.random.RandomState(0)
    output, target = (1e3 + random.randn(50, 2).astype(np.float32) for _ in range(2))
    for kind, function in [
        (metrics.MAE, reference.mean_absolute_error),
        (metrics.MSE, reference.mean_squared_error),
        (metrics.RMSE, lambda t, y: math.sqrt(reference.mean_squared_error(t.ravel(), y.ravel()))),
        (metrics.R2, reference.r2_score),
    ]:
        want = function(target.astype(np.float64), output.astype(np.float64))
        assert value_of(kind(), output, target, 13) == pytest.approx(want, rel=1e-9), kind.name


# ---- What all have in common


def _largest(output, target):
    return (output - target).abs().amax()


CLASSES, BINARY = class_scores(61), binary_logits(61)
REAL = CLASSES[0].astype(np.float64), CLASSES[0][::-1].astype(np.float64)
# How to make the metric, and its output and target.
CASES = [
    *((kind, CLASSES) for kind in (metrics.Accuracy, metrics.AUC, lambda: metrics.TopKAccuracy(2))),
    *((partial(kind, a), CLASSES) for kind, _ in OF_CLASSES.values() for a in AVERAGES),
    *((partial(kind, "binary"), BINARY) for kind, _ in OF_CLASSES.values()),
    *((kind, REAL) for kind in (metrics.MAE, metrics.MSE, metrics.RMSE, metrics.R2)),
]
every = pytest.mark.parametrize(("make", "data"), CASES, ids=lambda x: "" if isinstance(x, tuple) else x().name)


@pytest.mark.parametrize(("make", "data"), [*CASES, (partial(metrics.Mean, _largest), REAL)])
def test_half_the_batches_then_the_rest_from_the_state(make, data):
    output, target = data
    whole = value_of(make(), output, target, 10)
    first, second = make(), make()
    second.load_state_dict(first.state_dict())
    assert math.isnan(second.value())
    half = value_of(first, output[:30], target[:30], 10)
    state = first.state_dict()
    second.load_state_dict(state)
    assert second.value() == half
    assert value_of(second, output[30:], target[30:], 10) == whole != half
    assert first.value() == half
    first.load_state_dict(state)  # a copy: what was added elsewhere is not in it
    assert first.value() == half
    first.reset()
    assert math.isnan(first.value())
    with pytest.raises(ValueError, match="state_dict"):
        first.load_state_dict({"total": 1.0})


@every
@pytest.mark.parametrize("size", [1, 7, 60])
def test_the_size_of_the_batches_does_not_matter(make, data, size):
    assert value_of(make(), *data, size) == pytest.approx(value_of(make(), *data), rel=1e-12)


@every
def test_no_samples(make, data):
    metric = make()
    assert math.isnan(value_of(metric, *(a[:0] for a in data)))
    assert value_of(metric, *data) == value_of(make(), *data)


@pytest.mark.parametrize("kind", [metrics.Accuracy, metrics.TopKAccuracy, metrics.Precision, metrics.F1, metrics.AUC])
@pytest.mark.parametrize("bad", [-1, 6, 0.5, math.nan])
def test_targets_that_are_no_class(kind, bad):
    scores, labels = class_scores(20, 6)
    labels = labels.astype(np.float32)
    labels[3] = bad
    with pytest.raises(IndexError, match=rf"{kind().name}: targets must be classes, 0 to 5"):
        kind().update(scores, labels)
    labels = np.full(20, bad, np.float32)
    if kind is not metrics.TopKAccuracy:
        with pytest.raises(IndexError, match="0 to 1"):
            kind().update(scores[:, 0], labels)


@pytest.mark.parametrize("shapes", [((4, 3), (4, 1)), ((4, 3), (3,)), ((4,), (4, 2)), ((4, 1), (1, 4)), ((), ())])
def test_shapes_that_do_not_fit(shapes):
    output, target = (np.zeros(s, np.float32) for s in shapes)
    with pytest.raises(ValueError, match=r"accuracy: expected class scores .* got \("):
        metrics.Accuracy().measure(tg.tensor(output), tg.tensor(target))
    if shapes[0] != shapes[1]:
        with pytest.raises(ValueError, match=r"rmse: output .* must have one shape"):
            metrics.RMSE().update(output, target)


def test_indices_of_the_shape_of_scores_are_not_taken_for_probabilities():
    with pytest.raises(ValueError, match="expected class scores"):
        metrics.F1().update(np.zeros((4, 3), np.float32), np.zeros((4, 3), np.int64))


def test_bad_options():
    with pytest.raises(ValueError, match="average must be"):
        metrics.F1(average="mean")
    with pytest.raises(ValueError, match="pos_label must be 0 or 1"):
        metrics.Recall("binary", pos_label=2)
    with pytest.raises(ValueError, match="k must be an integer"):
        metrics.TopKAccuracy(0)
    scores, labels = class_scores(8, 3)
    with pytest.raises(ValueError, match='"binary" is for two classes'):
        metrics.Precision("binary").update(scores, labels)
    with pytest.raises(ValueError, match=r"top5_accuracy: expected scores .* at least 5 classes, got 3"):
        metrics.TopKAccuracy().update(scores, labels)
    with pytest.raises(ValueError, match="got 1"):
        metrics.TopKAccuracy(1).update(scores[:, :1], labels > 1)
