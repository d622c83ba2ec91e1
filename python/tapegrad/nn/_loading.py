"""Module.load_state_dict: all is checked before anything is copied."""

from collections import namedtuple

from .. import _core
from .._grad_mode import no_grad
from ._parameter import Parameter, is_lazy


class IncompatibleKeys(namedtuple("IncompatibleKeys", ["missing_keys", "unexpected_keys"])):
    """What load_state_dict found missing and left over."""

    __slots__ = ()

    def __repr__(self):
        return super().__repr__() if any(self) else "<All keys matched successfully>"


def type_name(value):
    """The type of a value, as errors name it."""
    cls = type(value)
    return cls.__name__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__name__}"


def load(module, state_dict, strict, assign):
    """See Module.load_state_dict."""
    if not hasattr(state_dict, "items"):
        raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
    own = module.state_dict(keep_vars=True)
    missing = [key for key in own if key not in state_dict]
    unexpected = [key for key in state_dict if key not in own]
    errors = []
    for kind, keys in (("Missing", missing), ("Unexpected", unexpected)):
        if strict and keys:
            errors.append(f"{kind} key(s) in state_dict: " + ", ".join(f'"{key}"' for key in keys) + ".")
    values = {key: state_dict[key] for key in own if key in state_dict}
    for key, value in values.items():
        if not hasattr(value, "shape"):
            errors.append(f'"{key}": expected a tensor or NumPy array from checkpoint, got {type_name(value)}.')
        elif tuple(value.shape) != tuple(own[key].shape) and not is_lazy(own[key]):
            errors.append(
                f"size mismatch for {key}: copying a param with shape {tuple(value.shape)} from checkpoint, "
                f"the shape in current model is {tuple(own[key].shape)}."
            )
    if errors:
        raise RuntimeError(f"Error(s) in loading state_dict for {type(module).__name__}:\n\t" + "\n\t".join(errors))
    with no_grad():
        for key, value in values.items():
            _put(module, key, own[key], value if isinstance(value, _core.Tensor) else _core.tensor(value), assign)
    return IncompatibleKeys(missing, unexpected)


def _put(module, key, target, value, assign):
    if not assign:
        if is_lazy(target) and not is_lazy(value):
            target.materialize(value.shape)
        target.copy_(value)
        return
    path, _, name = key.rpartition(".")
    if isinstance(target, Parameter) and not isinstance(value, Parameter):
        value = Parameter(value, target.requires_grad)
    setattr(module.get_submodule(path), name, value)
