"""What the tensors of a captured program are called: arguments, parameters, buffers, optimizer state."""

import inspect
from collections import Counter

from .. import _core


def tensors_by_address(used):
    """The names of parameters, buffers and optimizer state by where they lie in memory."""
    modules = [one for one in used if hasattr(one, "named_parameters")]
    inner = {id(part) for module in modules for part in module.modules() if part is not module}
    roots = [module for module in modules if id(module) not in inner]
    kinds = Counter(type(root).__name__ for root in roots)
    names = {}
    for number, root in enumerate(roots):
        kind = type(root).__name__
        prefix = "" if len(roots) == 1 else kind if kinds[kind] == 1 else f"{kind}{number}"
        for named in (root.named_parameters(prefix=prefix), root.named_buffers(prefix=prefix)):
            for name, tensor in named:
                names.setdefault(tensor.data_ptr(), name)
    for optimizer in used:
        for group in getattr(optimizer, "param_groups", ()):
            _name_state(names, optimizer, group)
    return names


def _name_state(names, optimizer, group):
    given = group.get("param_names") or [f"params[{i}]" for i in range(len(group["params"]))]
    for param, name in zip(group["params"], given, strict=True):
        name = names.setdefault(param.data_ptr(), name)
        for key, state in optimizer.state.get(param, {}).items():
            if isinstance(state, _core.Tensor):  # one that several parameters share has no parameter's name
                shared = state.data_ptr() in names
                names[state.data_ptr()] = key if shared else f"{name}.{key}"


def arguments(function, args, kwargs):
    """The names of a call's tensors, in the order in which the extension sorts them, and the call as text."""
    try:
        parameters = inspect.signature(function).parameters.values()
        given = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    except (TypeError, ValueError):  # a callable that does not tell
        given = []
    given = [*given[: len(args)], *(f"argument {i}" for i in range(len(given), len(args)))]
    names, texts = [], []

    def add(name, value):
        if isinstance(value, _core.Tensor):
            names.append(name)
            texts.append(f"{name}: {str(value.dtype).rpartition('.')[2]} {tuple(value.shape)}")
        elif type(value) in (tuple, list):
            for i, item in enumerate(value):
                add(f"{name}[{i}]", item)
        elif type(value) is dict:
            for key, item in value.items():
                add(f"{name}[{key!r}]", item)
        else:
            text = repr(value) if isinstance(value, (int, float, str, type(None))) else type(value).__name__
            texts.append(f"{name}={text if len(text) < 30 else text[:26] + '...'}")

    for name, value in [*zip(given, args, strict=True), *kwargs.items()]:
        add(name, value)
    return names, ", ".join(texts)
