"""Metric: one number over many batches, and how batches are added up."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

import numpy as np

from . import _core
from ._grad_mode import no_grad
from ._queries import as_tensor


class Metric:
    """One number over many batches; the base class of metrics of one's own.

    A subclass has a `name` and a `measure(output, target)` that returns one tensor of what its value needs of a batch,
    of a shape that depends on the shapes of output and target alone; of tensor operations only, it is captured and
    replayed with the step. `state` is the sum of these tensors (a float64 array; None before the first batch), and
    value() turns it into the number: by default the first of two sums divided by the second.

    On its own: `update(output, target)` for each batch, then `value()`; `reset()` starts again.
    """

    name = "metric"
    capturable: bool | None = None  # whether measure() can be captured; None: the first batch will tell

    def __init__(self):
        self.reset()

    def reset(self) -> None:
        """Forgets all batches."""
        self.state = None

    def measure(self, output, target):
        raise NotImplementedError(f"{type(self).__name__} has no measure(output, target)")

    def add(self, values, n: int) -> None:
        """Adds some batches of n samples: what measure() has returned for each, as nested lists or arrays."""
        rows = np.asarray(values, np.float64)
        if self.state is not None:
            rows = np.concatenate([self.state[None], rows])
        # One after another: the sum does not depend on how many batches come at once.
        self.state = np.add.accumulate(rows)[-1]

    def update(self, output, target) -> None:
        """Adds one batch, of tensors or arrays."""
        with no_grad():
            output, target = as_tensor(output), as_tensor(target)
            self.add([as_tensor(self.measure(output, target)).tolist()], len(output))

    def value(self) -> float:
        """The metric over all batches so far; nan where there is none."""
        if self.state is None or self.state[1] == 0:
            return math.nan
        return float(self.state[0] / self.state[1])

    def state_dict(self) -> dict:
        """What has been added so far, to go on from in the middle of an epoch."""
        return {"state": copy.copy(self.state)}

    def load_state_dict(self, state: Mapping) -> None:
        """Goes on from a state_dict(). Raises ValueError for one of another kind."""
        if set(state) != {"state"}:
            raise ValueError(f"{self.name}: expected a metric's state_dict() with key 'state', got {list(state)}")
        self.state = None if state["state"] is None else np.array(state["state"], np.float64)


class Mean(Metric):
    """Mean of `function(output, target)` over batches, weighted by the number of samples in each."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.name = getattr(function, "__name__", type(function).__name__)

    def measure(self, output, target):
        value = self.function(output, target)
        if isinstance(value, _core.Tensor) and value.numel() == 1:
            return value.reshape(())
        try:
            return float(value)
        except (TypeError, ValueError, RuntimeError):
            got = f"shape {tuple(value.shape)}" if hasattr(value, "shape") else repr(value)
            raise TypeError(f"the metric {self.name} must return one number for a batch, got {got}") from None

    def add(self, values, n: int) -> None:
        super().add([(float(value) * n, n) for value in values], n)


def sum_and_count(values):
    count = _core.full((), float(values.numel()), dtype=_core.float64)
    return _core.stack([values.double().sum(), count])
