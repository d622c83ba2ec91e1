"""compile(): captures what a function runs, once per signature of its arguments, and replays it in one C++ call."""

import functools
import os
import types
import warnings

from . import _core
from ._tree import flatten

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_MOST_SIGNATURES = 64  # of one function, before the oldest is dropped
_MOST_STATES = 8  # of modules and gradients, for one signature


def compile(function=None, *, keep_grads=False, fallback=False):
    """The function, captured at its first call and replayed afterwards.

    A call runs the function once as it is while every operation, backward pass and optimizer step is recorded; later
    calls with arguments of the same shapes, dtypes and other values run that record in C++, with the same results, bit
    for bit. Parameters, buffers, optimizer state, learning rates and random streams are those of the program: read
    them, change them, save and load them between calls.

    function: takes and returns tensors, also in tuples, lists and dicts. Other arguments (numbers, strings, modules)
        are part of the signature: each new value is captured anew.
    keep_grads: store the gradients that an optimizer step in the function uses up. Without it, reading `.grad` of such
        a parameter after a call is an error.
    fallback: warn once and run the function uncompiled where it cannot be captured.

    What the function reads from Python while it is captured (numbers, lists, the way its branches went) is frozen.
    Modules that the function calls are watched: another parameter, another mode, and it is captured anew. So are the
    optimizers whose step() it calls. `explain()`, `to_dot()` and `to_svg()` show what was captured.
    Raises CaptureError, which names the line, where the function reads a tensor's value (`.item()`, `bool()`,
    `.numpy()`, a mask as index) or keeps a new tensor for the next call.
    Results of a step that called backward() are outside the graph.
    """
    if function is None:
        return functools.partial(compile, keep_grads=keep_grads, fallback=fallback)
    if not callable(function):
        raise TypeError(f"compile: expected a function, got {type(function).__name__}")
    return Compiled(function, keep_grads, fallback)


class Compiled:
    """A function that `compile` has taken over. Calling it captures or replays."""

    def __init__(self, function, keep_grads, fallback):
        functools.update_wrapper(self, function, updated=())
        self._function = function
        self._keep_grads = keep_grads
        self._fallback = fallback
        self._programs = {}  # signature -> [_Captured]; an empty list: one capture came to nothing; None: uncompiled
        self._warned = False

    def __call__(self, *args, **kwargs):
        signature = _core._sort_arguments(args, kwargs)
        if signature is None:  # part of a larger capture
            return self._function(*args, **kwargs)
        key, tensors = signature
        known = self._programs.get(key, ())
        if known is None:
            return self._function(*args, **kwargs)
        for captured in known:
            if captured.current():
                outputs = captured.program.replay(tensors)
                if outputs is not None:
                    return captured.rebuild(outputs)
        return self._capture(key, tensors, args, kwargs)

    def __get__(self, instance, owner=None):
        return self if instance is None else types.MethodType(self, instance)

    def explain(self):
        """What has been captured, to print: for each program the instructions before and after planning, with operands,
        lines, flops and bytes; how much memory it keeps; names of parameters. `programs` has the same as objects.
        """
        from ._explain.text import Explanation, ProgramView

        programs = [
            ProgramView(captured.program, self._function, captured._held[0], captured._used, bool(key[-1] & 1))
            for key, known in self._programs.items()
            for captured in known or ()
        ]
        return Explanation(programs, getattr(self._function, "__qualname__", str(self._function)))

    def to_dot(self, program=0):
        """The instructions of a program (its number in `explain().programs`) as a graph in Graphviz's language."""
        from ._explain.graph import to_dot

        return to_dot(self._program(program))

    def to_svg(self, program=0):
        """The same graph drawn, as the text of an SVG file. ValueError where it is too large to be read."""
        from ._explain.graph import to_svg

        return to_svg(self._program(program))

    def _program(self, number):
        explanation = self.explain()
        if not explanation.programs:
            raise RuntimeError(str(explanation))
        if not 0 <= number < len(explanation.programs):
            raise IndexError(f"program {number} of {len(explanation.programs)}: they are numbered from 0")
        return explanation.programs[number]

    def program(self, *args):
        """The program that a call with these arguments may replay; None where it would capture one or has none."""
        key, _ = _core._sort_arguments(args, {})
        return next((captured.program for captured in self._programs.get(key) or () if captured.current()), None)

    @property
    def gave_up(self):
        """Whether some call has shown that it has to run uncompiled."""
        return None in self._programs.values()

    def forget(self):
        """Captures anew, because what the function reads from Python has changed."""
        self._programs = {key: known for key, known in self._programs.items() if known is None}

    def _capture(self, key, tensors, args, kwargs):
        capture = _core._Capture(tensors, _PACKAGE, self._fallback)
        try:
            result = self._function(*args, **kwargs)
            outputs, rebuild = flatten(result, _core.Tensor)
            program, problem, final, used = capture.finish(outputs, self._keep_grads)
        finally:
            capture.close()
        if program is None:
            self._give_up(key, problem, final)
            return result
        program.prepare()
        if key not in self._programs and len(self._programs) >= _MOST_SIGNATURES:
            self._warn(f"called with more than {_MOST_SIGNATURES} signatures; numbers that change belong in tensors")
            del self._programs[next(iter(self._programs))]
        known = self._programs.setdefault(key, [])
        known.insert(0, _Captured(program, rebuild, used, (args, kwargs)))
        del known[_MOST_STATES:]
        return result

    def _give_up(self, key, problem, final):
        """A first call may make what later calls find, such as an optimizer's state; a second one may not."""
        if not final and key not in self._programs:
            self._programs[key] = []
            return
        if not self._fallback:
            raise _core.CaptureError(self._message(problem))
        self._programs[key] = None
        self._warn(f"{problem}; it runs uncompiled")

    def _message(self, text):
        return f"{getattr(self._function, '__qualname__', self._function)}: {text}"

    def _warn(self, text):
        if not self._warned:
            self._warned = True
            warnings.warn(self._message(text), RuntimeWarning, stacklevel=5)


def try_capture(function, *args):
    """Runs a function; (its result, whether that is a tensor that a replay could compute)."""
    tensors, _ = flatten(args, _core.Tensor)
    capture = _core._Capture(tensors, _PACKAGE, True)
    try:
        result = function(*args)
        # Not in the return's tuple, whose reference to the result would count as one that outlives the call.
        captured = isinstance(result, _core.Tensor) and capture.finish([result], False)[0] is not None
        return result, captured
    finally:
        capture.close()


class _Captured:
    """A program with what it takes for granted of Python's objects."""

    def __init__(self, program, rebuild, used, held):
        self.program = program
        self.rebuild = rebuild
        self._held = held, used  # alive: no other object gets an id of the signature, and generators stay
        self._used = list({id(o): o for one in used for o in _with_children(one) if hasattr(o, "_parts")}.values())
        self._parts = self._all_parts()
        self._version = _core._structure_version()

    def current(self):
        """Whether modules and optimizers are as they were at capture."""
        version = _core._structure_version()
        if version != self._version:
            if not _core._same_objects(self._all_parts(), self._parts):
                return False
            self._version = version
        return True

    def _all_parts(self):
        return [part for used in self._used for part in used._parts()]


def _with_children(used):
    """A module and all below it, as forward() may use what a child holds without calling it; else the object itself."""
    return used.modules() if isinstance(used, _core._ModuleBase) else (used,)
