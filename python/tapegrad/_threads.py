"""threads(n), and the controller through which threadpoolctl limits the threads of tapegrad."""

import sys
from contextlib import ContextDecorator
from importlib.machinery import PathFinder

from . import _core


class threads(ContextDecorator):
    """`with threads(n):`, or `@threads(n)` on a function: kernels use n threads, and afterwards as many as before.

    n counts the calling thread and lies in 1 .. 1024 (ValueError otherwise). The number belongs to the process:
    other Python threads see the change too. The same as set_num_threads(n), which has no end.
    """

    def __init__(self, n: int):
        self._n = n
        self._before: list[int] = []

    def __enter__(self):
        before = _core.get_num_threads()
        _core.set_num_threads(self._n)
        self._before.append(before)
        return self

    def __exit__(self, *exc):
        _core.set_num_threads(self._before.pop())


def _register(threadpoolctl):
    """Adds tapegrad to the libraries that threadpool_info() lists and threadpool_limits() limits."""

    class TapegradController(threadpoolctl.LibController):
        user_api = "tapegrad"
        internal_api = "tapegrad"
        filename_prefixes = ("_core",)
        check_symbols = ("tapegrad_get_num_threads", "tapegrad_set_num_threads")  # other packages have a _core too

        def get_num_threads(self):
            return self.dynlib.tapegrad_get_num_threads()

        def set_num_threads(self, num_threads):
            self.dynlib.tapegrad_set_num_threads(num_threads)

        def get_version(self):
            return _core.__version__

    threadpoolctl.register(TapegradController)


class _WhenImported:
    """An entry of sys.meta_path that waits for threadpoolctl: importing it here would cost every user 5 ms."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != "threadpoolctl":
            return None
        sys.meta_path.remove(cls)
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            if hasattr(module, "register"):  # since 3.1
                _register(module)

        spec.loader.exec_module = exec_module
        return spec


if (_loaded := sys.modules.get("threadpoolctl")) is None:
    sys.meta_path.insert(0, _WhenImported)
elif hasattr(_loaded, "register"):
    _register(_loaded)
