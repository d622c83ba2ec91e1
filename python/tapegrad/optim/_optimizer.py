"""Optimizer: parameter groups, per-parameter state, saving and loading."""

import functools
from collections import defaultdict
from itertools import chain

from .. import _core
from .._grad_mode import enable_grad


class Optimizer:
    """Base class: holds `param_groups` (list of dicts: "params" and options) and `state` (parameter -> dict).

    params: an iterable of tensors, of (name, tensor) pairs, or of dicts, each a group: its "params" and any option
    that shall differ from `defaults`. Options may be changed between steps (`group["lr"] = ...`).
    A subclass defines `_update(group, params, grads)`, which changes the parameters of one group that have gradients.
    """

    _opt_called = False  # whether there has been a step: the schedulers ask

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        if "step" in vars(cls):
            cls.step = _noted(cls.step)

    def __init__(self, params, defaults):
        if isinstance(params, _core.Tensor):
            raise TypeError("params given to the optimizer should be an iterable of tensors or dicts, got one tensor")
        self.defaults = defaults
        self.state = defaultdict(dict)
        self.param_groups = []
        self._cache = {}
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, param_group):
        """Add a group: {"params": tensor or ordered collection of tensors, option: value, ...}.

        TypeError for what is not a tensor, ValueError for a tensor that is computed from others or comes twice.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, (set, frozenset)):
            raise TypeError("optimizer parameters need to be in an ordered collection, such as a list, not in a set")
        params = [params] if isinstance(params, _core.Tensor) else list(params)
        named = [isinstance(param, tuple) for param in params]
        if any(named):
            if not all(named):
                raise ValueError("all optimizer params should be with/without names. Some param names are missing")
            names, params = map(list, zip(*params, strict=True))
            param_group = {**param_group, "param_names": names}
        for param in params:
            if not isinstance(param, _core.Tensor):
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {type(param).__name__}")
            if not param.is_leaf:
                raise ValueError("can't optimize a non-leaf Tensor")
        ids = [id(param) for param in params]
        if len(set(ids)) < len(ids):
            raise ValueError("a parameter appears twice in one parameter group")
        if not {id(param) for group in self.param_groups for param in group["params"]}.isdisjoint(ids):
            raise ValueError("some parameters appear in more than one parameter group")
        _core._structure_changed()
        self.param_groups.append({**param_group, "params": params, **self._missing_options(param_group)})

    def _missing_options(self, group):
        return {name: value for name, value in self.defaults.items() if name not in group}

    def zero_grad(self, set_to_none=True):
        """Drop the gradients of all parameters, or fill them with zeros."""
        for group in self.param_groups:
            for param in group["params"]:
                if set_to_none:
                    param.grad = None
                elif param.grad is not None:
                    param.grad = param.grad.detach().zero_()

    def step(self, closure=None):
        """Update every parameter that has a gradient.

        closure: optional function that clears the gradients, computes the loss, calls backward and returns the loss,
        which step then returns.
        """
        _core._note_use(self)
        self._opt_called = True
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            params, grads = _core._with_gradients(group["params"])
            if params:
                self._update(group, params, grads)
        return loss

    def _update(self, group, params, grads):
        raise NotImplementedError(f"{type(self).__name__} does not define _update")

    def __getstate__(self):
        return {**self.__dict__, "_cache": {}}  # copies find their own groups and state

    def _parts(self):
        """What a captured program takes for granted of this optimizer."""
        groups = chain.from_iterable([group, *group["params"]] for group in self.param_groups)
        return [self.state, *groups, *self._cache.values()]

    def state_dict(self):
        """{"state": {number: state of the parameter}, "param_groups": [...]}, parameters numbered in order.

        The tensors in it are those that later steps change: copy it (copy.deepcopy) to keep a moment.
        """
        params = list(chain.from_iterable(group["params"] for group in self.param_groups))
        numbers = {id(param): i for i, param in enumerate(params)}
        groups = [{**group, "params": [numbers[id(param)] for param in group["params"]]} for group in self.param_groups]
        state = {numbers[id(param)]: self.state[param] for param in params if param in self.state}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict):
        """Take over the state and options of a `state_dict` (tensors are copied; NumPy arrays are accepted).

        ValueError where the groups, their sizes, or the shapes of state and parameter do not match; nothing has been
        changed then.
        """
        groups = state_dict["param_groups"]
        if len(groups) != len(self.param_groups):
            raise ValueError(
                f"loaded state dict has a different number of parameter groups: {len(groups)}, "
                f"the optimizer has {len(self.param_groups)}"
            )
        for i, (own, loaded) in enumerate(zip(self.param_groups, groups, strict=True)):
            if len(own["params"]) != len(loaded["params"]):
                raise ValueError(
                    "loaded state dict contains a parameter group that doesn't match the size of optimizer's group: "
                    f"group {i} has {len(loaded['params'])} parameters, the optimizer's {len(own['params'])}"
                )
        params = dict(
            zip(
                chain.from_iterable(group["params"] for group in groups),
                chain.from_iterable(group["params"] for group in self.param_groups),
                strict=True,
            )
        )
        state = defaultdict(dict)
        for number, entries in state_dict["state"].items():
            if number not in params:
                raise ValueError(f"loaded state dict has state for parameter {number}, which is in none of its groups")
            param = params[number]
            state[param] = {name: self._loaded(name, value, param, number) for name, value in entries.items()}
        _core._structure_changed()
        self.state = state
        self._opt_called = self._opt_called or bool(state)  # the steps of the saved run count
        self._cache.clear()
        for own, loaded in zip(self.param_groups, groups, strict=True):
            own.update({name: value for name, value in loaded.items() if name != "params"})

    def _loaded(self, name, value, param, number):
        """A copy of a value of a saved state, fit for this parameter, which has that number."""
        if isinstance(value, dict):
            return {key: self._loaded(key, item, param, number) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self._loaded(name, item, param, number) for item in value)
        return as_tensor(value, param) if hasattr(value, "shape") else value

    def __repr__(self):
        lines = []
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name != "params"]
        return f"{type(self).__name__} (\n" + "\n".join(lines) + "\n)"


def _noted(step):
    """The method step(), of which the schedulers can tell that it was called."""

    @functools.wraps(step)
    def noted(self, *args, **options):
        self._opt_called = True
        return step(self, *args, **options)

    return noted


def as_tensor(value, param):
    """A copy of a saved value as a tensor; of the parameter's dtype where it is of a float type."""
    value = value.detach().clone() if isinstance(value, _core.Tensor) else _core.tensor(value)
    return value.to(param.dtype) if value.is_floating_point() else value
