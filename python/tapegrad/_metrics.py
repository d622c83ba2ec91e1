"""Metrics that fit() and evaluate() accumulate over the batches of an epoch."""

from __future__ import annotations

import math

import numpy as np

from . import _core


class Metric:
    """One number over the batches of an epoch.

    `measure(output, target)` computes with tensors what `add(values, n)` needs of a batch: lists of it, as Python's
    numbers, for batches of n samples. `capturable`: whether measure() can be captured; None: not known yet.
    """

    capturable = True

    def reset(self) -> None:
        self.total = 0.0
        self.count = 0

    def value(self) -> float:
        return self.total / self.count if self.count else math.nan


class Mean(Metric):
    """Mean of `function(output, target)` over batches, weighted by the number of samples in each."""

    capturable = None

    def __init__(self, function):
        self.function = function

    def measure(self, output, target):
        value = self.function(output, target)
        return value.reshape(()) if isinstance(value, _core.Tensor) and value.numel() == 1 else float(value)

    def add(self, values, n) -> None:
        for value in values:
            self.total += float(value) * n
            self.count += n


class Accuracy(Metric):
    """Share of samples whose highest score is the target class.

    output: (N, C) scores or (N, C, ...); target: int64 class indices (N,) or (N, ...), or float class probabilities of
    the output's shape. Raises ValueError for other shapes.
    """

    def measure(self, output, target):
        shape = tuple(output.shape)
        if len(shape) >= 2 and shape == tuple(target.shape) and shape[1] > 1 and target.is_floating_point():
            target = target.argmax(1)
        elif len(shape) < 2 or shape[:1] + shape[2:] != tuple(target.shape):
            raise ValueError(
                f"accuracy: expected class scores (N, C) and class indices (N,), got {shape} and {tuple(target.shape)}"
            )
        self.per_sample = math.prod(shape[2:])
        return (output.argmax(1) == target).sum()

    def add(self, values, n) -> None:
        self.total += sum(values)
        self.count += n * self.per_sample * len(values)


class _Errors(Metric):
    """Sums of errors between output and target, which must have one shape; computed in float64."""

    def measure(self, output, target):
        if output.shape != target.shape:
            shapes = f"output {tuple(output.shape)} and target {tuple(target.shape)}"
            raise ValueError(f"{self.name}: {shapes} must have one shape")
        self.per_sample = math.prod(output.shape[1:])
        return self.of(output.double(), target.double())

    def add(self, values, n) -> None:
        for value in values:
            self.total += value
        self.count += n * self.per_sample * len(values)


class MeanAbsoluteError(_Errors):
    """Mean of |output - target|, in the target's unit."""

    name = "mae"

    def of(self, output, target):
        return (output - target).abs().sum()


class MeanSquaredError(_Errors):
    """Mean of (output - target)^2."""

    name = "mse"

    def of(self, output, target):
        return (output - target).square().sum()


class RootMeanSquaredError(MeanSquaredError):
    """Square root of the mean of (output - target)^2, in the target's unit."""

    name = "rmse"

    def value(self) -> float:
        return math.sqrt(super().value())


class R2(_Errors):
    """Coefficient of determination, 1 - sum (t - y)^2 / sum (t - mean t)^2, averaged over the columns of the target.

    A column whose target is constant has no R^2: the value is nan.
    """

    name = "r2"

    def reset(self) -> None:
        self.count = 0
        self.mean = self.spread = self.residual = 0.0  # per column once a batch has been seen

    def of(self, output, target):
        output, target = (t.reshape(len(t), -1) for t in (output, target))
        mean = target.mean(0)
        return _core.stack([mean, (target - mean).square().sum(0), (target - output).square().sum(0)])

    def add(self, values, n) -> None:
        # Means and spreads of batches are merged as in Chan, Golub & LeVeque (1979): no cancellation far from zero.
        for mean, spread, residual in map(np.array, values if n else ()):
            shift = mean - self.mean
            self.spread = self.spread + spread + shift**2 * (n * self.count / (n + self.count))
            self.mean = self.mean + shift * (n / (n + self.count))
            self.residual = self.residual + residual
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
