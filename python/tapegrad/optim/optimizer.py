"""Optimizer, where programs written for PyTorch also import it from."""

from ._optimizer import Optimizer as Optimizer
