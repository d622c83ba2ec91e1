"""FusedOptimizer: optimizers whose step over many parameters is one call of the extension."""

from .. import _core
from ._optimizer import Optimizer, as_tensor


class FusedOptimizer(Optimizer):
    """Base class: calls `_step_(params, grads, lists of state, step, options)` for parameters with one step count.

    A subclass names the function `_step_`, the options it reads, in its order (`_choices`: the values of those that are
    not numbers), a parameter's state tensors, in its order, each with the option that asks for it (None: always), and
    what is counted, with its first values.
    """

    _step_ = None
    _options = ()
    _choices = {}
    _state = {}
    _counts = {"step": 0.0}
    _switches = ()  # the options that ask for state

    def __init_subclass__(cls):
        cls._switches = tuple(option for option in cls._state.values() if option is not None)

    def _first_value(self, name, param, group):
        """A parameter's state tensor before the first step."""
        return _core.zeros_like(param.detach())

    def _counted(self, state):
        """What has been counted of a parameter; first the number of steps it has had."""
        return tuple(float(state.get(name, first)) for name, first in self._counts.items()) or (0.0,)

    def _update(self, group, params, grads):
        asked = []  # by a loop, as this runs at every step
        for option in self._switches:
            asked.append(group[option] != 0)
        known = self._cache.get(id(group))
        if known is None or known[0] != asked or not _core._same_objects(known[1], params):
            names = [name for name, option in self._state.items() if option is None or group[option] != 0]
            options = _core._Options(group, self._options, self._choices)
            runs = _core._outside_capture(lambda: self._runs(group, params, names))  # once, not at every replay
            _core._structure_changed()  # the step counts are new tensors
            known = self._cache[id(group)] = asked, list(params), runs, options
        _, _, runs, options = known
        for members, state, step in runs:
            if members is None:
                self._step_(params, grads, state, step, options)
            else:
                self._step_([params[i] for i in members], [grads[i] for i in members], state, step, options)

    def _runs(self, group, params, names):
        """The parameters split by what has been counted of them: (positions, lists of state, step) each.

        The positions are None for all. The parameters of a run share one step tensor, which `_step_` raises.
        """
        if not names:
            return [(None, [], _core.tensor(0.0))]
        by_counts = {}
        for i, param in enumerate(params):
            by_counts.setdefault(self._counted(self.state[param]), []).append(i)
        runs = []
        for counts, members in by_counts.items():
            step = _core.tensor(counts if len(counts) > 1 else counts[0])
            shared = dict(zip(self._counts, step if len(counts) > 1 else [step], strict=False))
            states = []
            for param in (params[i] for i in members):
                state = self.state[param]
                state.update(shared)
                for name in names:
                    if state.get(name) is None:
                        state[name] = self._first_value(name, param, group)
                states.append(state)
            lists = [[state[name] for state in states] for name in names]
            runs.append((members if len(by_counts) > 1 else None, lists, step))
        return runs

    def _loaded(self, name, value, param, number):
        if name in self._counts:
            return _core.tensor(float(value))
        if name not in self._state or value is None:
            return super()._loaded(name, value, param, number)
        value = as_tensor(value, param)
        if value.shape != param.shape:
            raise ValueError(
                f"loaded state dict: {name} of parameter {number} has shape {tuple(value.shape)}, "
                f"the parameter has {tuple(param.shape)}"
            )
        return value
