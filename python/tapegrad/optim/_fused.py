"""FusedOptimizer: optimizers whose step over many parameters is one call of the extension."""

from .. import _core
from ._optimizer import Optimizer


class FusedOptimizer(Optimizer):
    """Base class: calls `_step_(params, grads, lists of state, step, options)` for parameters with one step count.

    A subclass names the function `_step_`, the options it reads, in its order, and a parameter's state tensors.
    """

    _step_ = None
    _options = ()

    def _state_names(self, group):
        """The names of a parameter's state tensors, in the order of `_step_`."""
        raise NotImplementedError(f"{type(self).__name__} does not define _state_names")

    def _prepare(self, state, param):
        """Make a parameter's state tensors where they are missing; the number of steps the parameter has had."""
        raise NotImplementedError(f"{type(self).__name__} does not define _prepare")

    def _update(self, group, params, grads):
        names = self._state_names(group)
        known = self._cache.get(id(group))
        if known is None or known[0] != names or not _core._same_objects(known[1], params):
            options = _core._Options(group, self._options)
            runs = _core._outside_capture(lambda: self._runs(params, names))  # prepared once, not at every replay
            _core._structure_changed()  # the step counts are new tensors
            known = self._cache[id(group)] = names, list(params), runs, options
        _, _, runs, options = known
        for members, state, step in runs:
            if members is None:
                self._step_(params, grads, state, step, options)
            else:
                self._step_([params[i] for i in members], [grads[i] for i in members], state, step, options)

    def _runs(self, params, names):
        """The parameters split by how many steps they have had: (positions, lists of state, step) each.

        The positions are None for all. The parameters of a run share one step tensor, which `_step_` raises.
        """
        if not names:
            return [(None, [], _core.tensor(0.0))]
        by_step = {}
        for i, param in enumerate(params):
            by_step.setdefault(self._prepare(self.state[param], param), []).append(i)
        runs = []
        for count, members in by_step.items():
            step = _core.tensor(float(count))
            states = [self.state[params[i]] for i in members]
            for state in states:
                if "step" in state:
                    state["step"] = step
            lists = [[state[name] for state in states] for name in names]
            runs.append((members if len(by_step) > 1 else None, lists, step))
        return runs
