"""The net of an estimator: what it is built of, and its random numbers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from threading import RLock
from typing import NamedTuple

from .. import _core, nn

ACTIVATIONS = {
    "celu": nn.CELU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "hardswish": nn.Hardswish,
    "identity": nn.Identity,
    "leaky_relu": nn.LeakyReLU,
    "logistic": nn.Sigmoid,
    "mish": nn.Mish,
    "prelu": nn.PReLU,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "tanh": nn.Tanh,
}


class Architecture(NamedTuple):
    """What a net is built of: enough to build it again, and to tell whether it is still what the parameters ask for."""

    units: tuple[int, ...]  # features, hidden layers, outputs
    activation: tuple[str | Callable, ...]  # per hidden layer
    dropout: tuple[float, ...]  # per hidden layer
    dtype: str

    def build(self) -> nn.Sequential:
        """Linear, activation, Dropout (where it is not 0), ..., Linear, with weights from the default generator."""
        layers = []
        for fan_in, units, activation, dropout in zip(
            self.units, self.units[1:-1], self.activation, self.dropout, strict=False
        ):
            layers += [nn.Linear(fan_in, units), _activation(activation)]
            if dropout:
                layers.append(nn.Dropout(dropout))
        layers.append(nn.Linear(*self.units[-2:]))
        return nn.Sequential(*layers).to(getattr(_core, self.dtype))


class _Function(nn.Module):
    """A function of a tensor as a layer."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, input):
        return self.function(input)

    def extra_repr(self):
        return getattr(self.function, "__name__", repr(self.function))


def _activation(activation: str | Callable) -> nn.Module:
    if isinstance(activation, str):
        return ACTIVATIONS[activation]()
    makes_module = isinstance(activation.func if isinstance(activation, partial) else activation, type)
    return activation() if makes_module else _Function(activation)


_LOCK = RLock()  # the default generator belongs to the process, and callbacks may fit other estimators


@contextmanager
def random_numbers(start: int | bytes):
    """Within it the default generator goes on from a seed, or from a state; afterwards from where it was.

    One thread at a time: others wait. Random numbers that other threads draw without it meanwhile are of this stream.
    """
    generator = _core.default_generator
    with _LOCK:
        before = generator.get_state()
        try:
            if isinstance(start, bytes):
                generator.set_state(start)
            else:
                generator.manual_seed(start)
            yield generator
        finally:
            generator.set_state(before)
