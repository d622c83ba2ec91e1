"""Metrics in fit() and evaluate(): whole epochs that stay captured, names, dictionaries, metrics of one's own."""

import math
import warnings

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import metrics, nn
from test_metrics import REAL, binary_logits, class_scores, value_of


def _compact(output, target):
    return (output - target.unsqueeze(1)).square().mean()


MANY = ["accuracy", "top2_accuracy", "precision", "recall", "auc", metrics.F1("weighted"), _compact]
FITS = {
    "classes": (4, class_scores(), "cross_entropy", MANY),
    "binary": (1, binary_logits(), lambda output, target: nn.functional.binary_cross_entropy_with_logits(
        output.squeeze(1), target.to(output.dtype)), ["accuracy", metrics.F1("binary"), "precision", "recall", "auc"]),
    "regression": (4, (class_scores()[0], class_scores(seed=1)[0]), "mse", ["mae", "mse", "rmse", "r2"]),
}  # fmt: skip


@pytest.mark.parametrize("name", FITS)
def test_whole_epochs_stay_captured(name):
    outputs, (inputs, targets), loss, wanted = FITS[name]
    inputs = inputs.reshape(len(inputs), -1)
    at_once = []

    class Spy(metrics.Metric):
        name = "spy"

        def measure(self, output, target):
            return tg.stack([output.sum(), target.sum().to(output.dtype)])

        def add(self, values, n):
            at_once.append(len(values))
            super().add(values, n)

    def run(compile):
        tg.manual_seed(0)
        at_once.clear()
        history = tg.fit(
            nn.Linear(inputs.shape[1], outputs), (inputs, targets), loss=loss, optimizer="adam", lr=0.01, epochs=4,
            batch_size=16, metrics=[*wanted, Spy()], validation=(inputs[:70], targets[:70]), progress=False,
            compile=compile,
        )  # fmt: skip
        columns = {k: v for k, v in history.to_dict().items() if k != "seconds"}
        return columns, max(at_once)

    (plain, one), (captured, many) = run(False), run(True)
    assert plain == captured
    assert len(plain) == 2 * (1 + len(wanted) + 1) + 1 and np.isfinite(list(plain.values())).all()
    assert one == 1 and many > 1  # batches of one call into C++


def test_a_callable_metric_is_captured_with_the_step():
    runs = []

    def spread(output, target):
        runs.append(1)
        return (output.amax(1) - output.amin(1)).mean()

    tg.fit(nn.Linear(4, 4), class_scores(), loss="cross_entropy", optimizer="sgd", epochs=5, batch_size=10,
           metrics=spread, progress=False)  # fmt: skip
    assert len(runs) <= 3


def test_metrics_by_name_and_in_a_dictionary():
    scores, labels = class_scores()
    model, own = nn.Identity(), metrics.F1(average="micro")
    measured = tg.evaluate(
        model, (scores, labels), loss="cross_entropy", batch_size=33,
        metrics={"micro": own, "weighted": metrics.F1("weighted"), "f1": "f1", "best": lambda o, t: o.amax()},
    )  # fmt: skip
    assert list(measured) == ["loss", "micro", "weighted", "f1", "best"]
    assert measured["micro"] == tg.evaluate(model, (scores, labels), loss="cross_entropy", metrics=own)["f1"]
    assert measured["micro"] == (scores.argmax(1) == labels).mean()
    assert measured["f1"] == value_of(metrics.F1(), scores, labels)
    assert math.isnan(own.value())  # what fit and evaluate fill are copies
    assert "top3_accuracy" in tg.evaluate(model, (scores, labels), loss="cross_entropy", metrics="top3_accuracy")


class _Bias(metrics.Metric):
    """Mean of output - target; a metric of a user's own."""

    name = "bias"

    def measure(self, output, target):
        error = output - target
        return tg.stack([error.sum(), tg.ones_like(error).sum()])


def test_a_metric_of_ones_own():
    output, target = (a.astype(np.float32) for a in REAL)
    got = tg.evaluate(nn.Identity(), (output, target), loss="mse", metrics=_Bias(), batch_size=9)
    assert got["bias"] == pytest.approx((output - target).mean(), abs=1e-6)


def _linear():
    tg.manual_seed(0)
    return nn.Linear(4, 4)


class _Worst(metrics.Metric):
    """Reads values, which cannot be captured."""

    name = "worst"

    def reset(self):
        self.state = 0.0

    def measure(self, output, target):
        return max((output - target).abs().max().item(), 0.0)

    def add(self, values, n):
        self.state = max(self.state, *values)

    def value(self):
        return self.state


def test_a_metric_that_cannot_be_captured_leaves_the_step_captured():
    output, target = (a.astype(np.float32) for a in REAL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [
            tg.fit(_linear(), (output, target), loss="mse", optimizer="sgd", epochs=3,
                   batch_size=9, metrics=_Worst(), progress=False, compile=compile)["worst"]
            for compile in (False, "auto", True)
        ]  # fmt: skip
    assert found[0] == found[1] == found[2]


def test_metric_without_measure():
    with pytest.raises(NotImplementedError, match="Metric has no measure"):
        metrics.Metric().update(*REAL)


@pytest.mark.parametrize(
    ("wanted", "error", "message"),
    [
        ("top0_accuracy", ValueError, "unknown metric 'top0_accuracy'; known metrics: accuracy, .*top5_accuracy"),
        ([metrics.F1(), metrics.F1("micro")], ValueError, "'f1' is taken; pass a dictionary"),
        ({"loss": "f1"}, ValueError, "'loss' is taken"),
        ({"val_f1": "f1"}, ValueError, "'val_f1' is taken"),
        ({1: "f1"}, TypeError, "name of a metric must be a string, got 1"),
        ({"f": 1}, TypeError, "a metric is a name"),
        (metrics.F1, TypeError, r"an instance, not a class: F1\(\)"),
    ],
)
def test_bad_metrics(wanted, error, message):
    with pytest.raises(error, match=message):
        tg.evaluate(nn.Identity(), class_scores(), loss="cross_entropy", metrics=wanted)


@pytest.mark.parametrize("compile", [False, True])
def test_a_target_that_is_no_class_is_found_in_a_replay(compile):
    logits, labels = binary_logits()
    labels[150] = -1  # a loss on logits takes it

    def loss(output, target):
        return nn.functional.binary_cross_entropy_with_logits(output, target.to(output.dtype))

    with pytest.raises(IndexError, match="index -1"):
        tg.fit(nn.Linear(1, 1), (logits[:, None], labels[:, None]), loss=loss, optimizer="sgd", epochs=1,
               batch_size=10, shuffle=False, metrics="accuracy", progress=False, compile=compile)  # fmt: skip
