"""Metrics that fit() and evaluate() accumulate over the batches of an epoch."""

from __future__ import annotations

import math

import numpy as np


class Mean:
    """Mean of `function(output, target)` over batches, weighted by the number of samples in each."""

    def __init__(self, function):
        self.function = function
        self.total = 0.0
        self.count = 0

    def update(self, output, target) -> None:
        n = target.shape[0]
        self.total += float(self.function(output, target)) * n
        self.count += n

    def value(self) -> float:
        return self.total / self.count if self.count else math.nan


class Accuracy:
    """Share of samples whose highest score is the target class.

    output: (N, C) scores or (N, C, ...); target: int64 class indices (N,) or (N, ...), or float class probabilities of
    the output's shape. Raises ValueError for other shapes.
    """

    def __init__(self):
        self.right = 0
        self.count = 0

    def update(self, output, target) -> None:
        output, target = output.detach().numpy(), target.detach().numpy()
        if output.ndim >= 2 and output.shape == target.shape and output.shape[1] > 1 and target.dtype.kind == "f":
            target = target.argmax(axis=1)
        elif output.ndim < 2 or output.shape[:1] + output.shape[2:] != target.shape:
            raise ValueError(
                f"accuracy: expected class scores (N, C) and class indices (N,), got {output.shape} and {target.shape}"
            )
        self.right += int((output.argmax(axis=1) == target).sum())
        self.count += target.size

    def value(self) -> float:
        return self.right / self.count if self.count else math.nan


class _Errors:
    """Sums of errors between output and target, which must have one shape; accumulated in float64."""

    def __init__(self):
        self.absolute = 0.0
        self.squared = 0.0
        self.count = 0

    def update(self, output, target) -> None:
        output, target = output.detach().numpy(), target.detach().numpy()
        if output.shape != target.shape:
            raise ValueError(f"{self.name}: output {output.shape} and target {target.shape} must have one shape")
        self.add(output.astype(np.float64), target.astype(np.float64))

    def add(self, output: np.ndarray, target: np.ndarray) -> None:
        error = output - target
        self.absolute += float(np.abs(error).sum())
        self.squared += float(np.square(error).sum())
        self.count += error.size


class MeanAbsoluteError(_Errors):
    """Mean of |output - target|, in the target's unit."""

    name = "mae"

    def value(self) -> float:
        return self.absolute / self.count if self.count else math.nan


class MeanSquaredError(_Errors):
    """Mean of (output - target)^2."""

    name = "mse"

    def value(self) -> float:
        return self.squared / self.count if self.count else math.nan


class RootMeanSquaredError(_Errors):
    """Square root of the mean of (output - target)^2, in the target's unit."""

    name = "rmse"

    def value(self) -> float:
        return math.sqrt(self.squared / self.count) if self.count else math.nan


class R2(_Errors):
    """Coefficient of determination, 1 - sum (t - y)^2 / sum (t - mean t)^2, averaged over the columns of the target.

    A column whose target is constant has no R^2: the value is nan.
    """

    name = "r2"

    def __init__(self):
        self.count = 0
        self.mean = self.spread = self.residual = 0.0  # per column once a batch has been seen

    def add(self, output, target) -> None:
        output, target = (a.reshape(len(a), -1) for a in (output, target))
        n = len(target)
        if n == 0:
            return
        # Means and spreads of batches are merged as in Chan, Golub & LeVeque (1979): no cancellation far from zero.
        mean = target.mean(axis=0)
        shift = mean - self.mean
        self.spread = (
            self.spread + np.square(target - mean).sum(axis=0) + shift**2 * (n * self.count / (n + self.count))
        )
        self.mean = self.mean + shift * (n / (n + self.count))
        self.residual = self.residual + np.square(target - output).sum(axis=0)
        self.count += n

    def value(self) -> float:
        if not self.count or np.any(self.spread == 0):
            return math.nan
        return float(np.mean(1.0 - self.residual / self.spread))


METRICS = {
    "accuracy": Accuracy,
    "mae": MeanAbsoluteError,
    "mse": MeanSquaredError,
    "r2": R2,
    "rmse": RootMeanSquaredError,
}


def metric_makers(metrics) -> dict:
    """Maps each metric's name to a function that makes a fresh accumulator for it.

    metrics: a name, a callable `f(output, target)` returning a number (averaged over samples, named by its `__name__`),
    or a sequence of these. Raises ValueError for an unknown or repeated name, TypeError for anything else.
    """
    if isinstance(metrics, str) or callable(metrics):
        metrics = (metrics,)
    makers = {}
    for metric in metrics:
        if isinstance(metric, str):
            if metric not in METRICS:
                raise ValueError(f"unknown metric {metric!r}; known metrics: {', '.join(METRICS)}, or pass a callable")
            name, maker = metric, METRICS[metric]
        elif callable(metric):
            name = getattr(metric, "__name__", type(metric).__name__)
            maker = _MeanOf(metric)
        else:
            raise TypeError(f"a metric is a name or a callable f(output, target), got {type(metric).__name__}")
        if name in makers or name in ("loss", "seconds", "steps", "epoch") or name.startswith("val_"):
            raise ValueError(f"metric name {name!r} is taken; give the callable another __name__")
        makers[name] = maker
    return makers


class _MeanOf:
    """Makes Mean accumulators for one callable."""

    def __init__(self, function):
        self.function = function

    def __call__(self) -> Mean:
        return Mean(self.function)
