"""ParameterList and ParameterDict: modules that hold parameters, and other values beside them."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from operator import index

from .. import _core
from ._module import Module
from ._parameter import Parameter


class _Values(Module):
    """Values by name, in order; tensors among them become Parameters."""

    def __init__(self):
        super().__init__()
        self._order = {}  # the names, in the order they were added

    def _put(self, name, value):
        if isinstance(value, _core.Tensor) and not isinstance(value, Parameter):
            value = Parameter(value)
        if name not in self._order and hasattr(type(self), name):
            raise KeyError(f"attribute '{name}' already exists")
        self._order[name] = None
        setattr(self, name, value)

    def _drop(self, name):
        del self._order[name]
        delattr(self, name)

    def __len__(self):
        return len(self._order)

    def extra_repr(self):
        lines = []
        for name in self._order:
            value = getattr(self, name)
            if isinstance(value, _core.Tensor):
                size = "x".join(map(str, value.shape))
                lines.append(f"  ({name}): Parameter containing: [{value.dtype} of size {size}]")
            else:
                lines.append(f"  ({name}): Object of type: {type(value).__name__}")
        return "\n".join(lines)

    def __call__(self, *args, **kwargs):
        raise RuntimeError(f"{type(self).__name__} should not be called.")


class ParameterList(_Values):
    """A list of parameters, which are registered: indexing, slicing, len, iteration, append, extend, +=.

    Tensors become Parameters; other values are kept as they are.
    """

    def __init__(self, values=None):
        super().__init__()
        if values is not None:
            self.extend(values)

    def _name_at(self, i):
        i = index(i)
        if not -len(self) <= i < len(self):
            raise IndexError(f"index {i} is out of range for a ParameterList of {len(self)}")
        return str(i % len(self))

    def __getitem__(self, i):
        return type(self)(list(self)[i]) if isinstance(i, slice) else getattr(self, self._name_at(i))

    def __setitem__(self, i, value):
        self._put(self._name_at(i), value)

    def __iter__(self):
        return iter([getattr(self, name) for name in self._order])

    def __iadd__(self, values):
        return self.extend(values)

    def append(self, value):
        """Add a value at the end; returns self."""
        self._put(str(len(self)), value)
        return self

    def extend(self, values):
        """Add values at the end, in order; returns self."""
        if not isinstance(values, Iterable) or isinstance(values, _core.Tensor):
            raise TypeError(f"ParameterList.extend needs values to iterate over, got {type(values).__name__}")
        for value in list(values):
            self.append(value)
        return self


class ParameterDict(_Values):
    """A dictionary of parameters by name, which are registered. Tensors become Parameters; other values are kept.

    The keys of a plain dict come in sorted order, those of an OrderedDict or of pairs in theirs.
    """

    def __init__(self, parameters=None):
        super().__init__()
        if parameters is not None:
            self.update(parameters)

    def __getitem__(self, key):
        if key not in self._order:
            raise KeyError(key)
        return getattr(self, key)

    def __setitem__(self, key, value):
        if not isinstance(key, str):
            raise TypeError(f"ParameterDict: keys are strings, got {type(key).__name__}")
        self._put(key, value)

    def __delitem__(self, key):
        self._drop(key)

    def __iter__(self):
        return iter(self._order)

    def __reversed__(self):
        return reversed(self._order)

    def __contains__(self, key):
        return key in self._order

    def keys(self):
        """The names."""
        return self._order.keys()

    def values(self):
        """The parameters."""
        return OrderedDict(self.items()).values()

    def items(self):
        """(name, parameter) pairs."""
        return OrderedDict((key, self[key]) for key in self._order).items()

    def get(self, key, default=None):
        """The parameter of this name, or default."""
        return getattr(self, key) if key in self._order else default

    def setdefault(self, key, default=None):
        """The parameter of this name, set to default if there was none."""
        if key not in self:
            self[key] = default
        return self[key]

    def fromkeys(self, keys, default=None):
        """A new ParameterDict with default under every key."""
        return ParameterDict((key, default) for key in keys)

    def copy(self):
        """A new ParameterDict with the same parameters."""
        return ParameterDict(self.items())

    def clear(self):
        """Take all parameters out."""
        for key in list(self._order):
            del self[key]

    def pop(self, key):
        """Take the parameter of this name out and return it."""
        value = self[key]
        del self[key]
        return value

    def popitem(self):
        """Take the last (name, parameter) pair out and return it."""
        key = next(reversed(self._order))
        return key, self.pop(key)

    def update(self, parameters):
        """Add the parameters of a mapping, or of (name, parameter) pairs."""
        if not isinstance(parameters, Iterable):
            raise TypeError(f"ParameterDict.update needs a mapping or pairs, got {type(parameters).__name__}")
        if isinstance(parameters, (ParameterDict, OrderedDict)):
            parameters = parameters.items()
        elif isinstance(parameters, Mapping):
            parameters = sorted(parameters.items())
        for key, value in parameters:
            self[key] = value

    def __or__(self, other):
        result = self.copy()
        result.update(other)
        return result

    def __ior__(self, other):
        self.update(other)
        return self
