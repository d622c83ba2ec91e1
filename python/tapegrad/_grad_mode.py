"""no_grad, enable_grad, set_grad_enabled and inference_mode: context managers that are decorators too."""

import functools

from ._core import _set_grad_enabled, _set_inference_mode


class _GradMode:
    """Sets whether operations are recorded, for a with block, a decorated function, or from construction on."""

    _mode = True

    def __enter__(self):
        self._before = _set_grad_enabled(self._mode)

    def __exit__(self, *exc):
        _set_grad_enabled(self._before)

    def __call__(self, function):
        """The function, run in this mode whenever it is called."""

        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            before = _set_grad_enabled(self._mode)
            try:
                return function(*args, **kwargs)
            finally:
                _set_grad_enabled(before)

        return wrapped


class no_grad(_GradMode):
    """Nothing is recorded: `with no_grad():` or `@no_grad()` (or `@no_grad`)."""

    _mode = False

    def __new__(cls, function=None):
        self = object.__new__(cls)
        return self if function is None else self(function)


class enable_grad(no_grad):
    """Operations are recorded, also inside no_grad()."""

    _mode = True


class set_grad_enabled(_GradMode):
    """Turns recording on or off at once; as a context manager, until the block ends."""

    def __init__(self, mode):
        self._mode = bool(mode)
        self._before = _set_grad_enabled(self._mode)

    def __enter__(self):
        _set_grad_enabled(self._mode)

    def __call__(self, function):
        """The function in this mode; the mode of the caller is left as it was before construction."""
        _set_grad_enabled(self._before)
        return super().__call__(function)


class inference_mode:
    """Nothing is recorded, and enable_grad() does not change that: `with inference_mode():` or `@inference_mode()`.

    mode: False switches it off inside of another one. The results are ordinary tensors without a graph.
    """

    def __new__(cls, mode=True):
        self = object.__new__(cls)
        if callable(mode):  # @inference_mode
            self._mode = True
            return self(mode)
        self._mode = bool(mode)
        return self

    def __enter__(self):
        self._before = _set_inference_mode(self._mode), _set_grad_enabled(not self._mode)

    def __exit__(self, *exc):
        inference, recording = self._before
        _set_inference_mode(inference)
        _set_grad_enabled(recording)

    def __call__(self, function):
        """The function, run in this mode whenever it is called."""

        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            with inference_mode(self._mode):
                return function(*args, **kwargs)

        return wrapped
