"""Anomaly mode: the first nan of a program, by the line whose operation made it."""

import os

from .. import _core

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class set_detect_anomaly:
    """Switches the search for nan on or off at once; as a context manager, until the block ends.

    While it is on, an operation that makes a nan out of operands without one raises RuntimeError, which names it, its
    line and its shapes; so does a gradient in backward(), with the line of the operation in the forward pass. Every
    operation is looked at, so that a program runs several times slower.

    mode: on or off. check_nan: False looks for nothing, as in PyTorch.
    """

    def __init__(self, mode, check_nan=True):
        self._before = _core.is_anomaly_enabled()
        _core._set_anomaly(bool(mode) and check_nan, _PACKAGE)

    def __enter__(self):
        pass

    def __exit__(self, *exc):
        _core._set_anomaly(self._before, _PACKAGE)


class detect_anomaly:
    """`with detect_anomaly():` looks for the first nan, as set_detect_anomaly(True) does, until the block ends."""

    def __init__(self, check_nan=True):
        self._check_nan = check_nan

    def __enter__(self):
        self._scope = set_detect_anomaly(True, self._check_nan)

    def __exit__(self, *exc):
        self._scope.__exit__()
