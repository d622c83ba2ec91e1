"""Modules as functions of their parameters."""

from .. import _core


def functional_call(module, parameter_and_buffer_dicts, args=None, kwargs=None, *, tie_weights=True, strict=False):
    """module(*args, **kwargs) with other tensors in the places of its parameters and buffers.

    parameter_and_buffer_dicts: {dotted name: tensor}, or a sequence of such. args: a tuple, or one argument.
    tie_weights: a tensor given for one name of a shared parameter stands for all its names. strict: names of all
    parameters and buffers, and no others. KeyError for a name that the module does not have.
    """
    dicts = parameter_and_buffer_dicts
    values = dict(dicts) if isinstance(dicts, dict) else {k: v for one in dicts for k, v in one.items()}
    own = {**dict(module.named_parameters(remove_duplicate=False)), **dict(module.named_buffers())}
    unknown, missing = [k for k in values if k not in own], [k for k in own if k not in values]
    if unknown or (strict and missing):
        raise KeyError(f"functional_call: {type(module).__name__} has no {unknown}; not given: {missing}")
    if tie_weights:
        given = {id(own[name]): value for name, value in values.items()}
        values |= {name: given[id(own[name])] for name in missing if id(own[name]) in given}
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    places = []  # (attributes of the owner, name, what is there)
    try:
        for path, value in values.items():
            owner, _, name = path.rpartition(".")
            attributes = module.get_submodule(owner).__dict__
            places.append((attributes, name, attributes[name]))
            attributes[name] = value
        _core._structure_changed()
        return module(*args, **(kwargs or {}))
    finally:
        for attributes, name, value in reversed(places):
            attributes[name] = value
        _core._structure_changed()


def stack_module_state(models):
    """(parameters, buffers) of modules of one architecture, stacked along a new first dimension, for vmap."""
    models = list(models)
    if not models:
        raise ValueError("stack_module_state: expected at least one module")

    def stacked(kind):
        each = [dict(getattr(m, kind)()) for m in models]
        out = {name: _core.stack([d[name].detach() for d in each]) for name in each[0]}
        return {name: t.requires_grad_(each[0][name].requires_grad) for name, t in out.items()}

    return stacked("named_parameters"), stacked("named_buffers")
