"""Sequential, ModuleList and ModuleDict: modules that hold others."""

from collections.abc import Iterable, Mapping
from itertools import chain, groupby
from operator import index

from .. import _core
from ._activations import ReLU, Sigmoid, Tanh
from ._linear import Linear
from ._module import _MODULE, Module, indented

_linear = _core.linear
_linear_forward = Linear.forward
# What Sequential fuses with the Linear before it, unless somebody replaced its forward.
_ACTIVATIONS = {cls: (cls.forward, name) for cls, name in ((ReLU, "relu"), (Tanh, "tanh"), (Sigmoid, "sigmoid"))}


class _Sequence(Module):
    """A sequence of modules: indexing, slicing, len, iteration, +, append, insert, extend, pop, del."""

    def _names(self):
        return [name for name, _ in self._registered(_MODULE)]

    def _name_at(self, i):
        names = self._names()
        try:
            return names[index(i)]
        except IndexError:
            raise IndexError(f"index {i} is out of range for a {type(self).__name__} of {len(names)} modules") from None

    def _assign(self, modules):
        """Hold these modules, and no others, numbered from 0."""
        for name in self._names():
            delattr(self, name)
        for i, module in enumerate(modules):
            self.add_module(str(i), module)

    def __len__(self):
        return len(self._names())

    def __iter__(self):
        return iter([module for _, module in self._registered(_MODULE)])

    def __getitem__(self, i):
        return getattr(self, self._name_at(i))

    def __setitem__(self, i, module):
        setattr(self, self._name_at(i), module)

    def __delitem__(self, i):
        modules = list(self)
        if not isinstance(i, slice):
            self._name_at(i)
        del modules[i]
        self._assign(modules)

    def __iadd__(self, modules):
        return self.extend(modules)

    def append(self, module):
        """Add a module at the end; returns self."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules):
        """Add modules at the end, in order; returns self."""
        if not isinstance(modules, Iterable):
            raise TypeError(f"{type(self).__name__}.extend needs modules to iterate over, got {type(modules).__name__}")
        for module in list(modules):
            self.append(module)
        return self

    def insert(self, i, module):
        """Put a module before position i; returns self."""
        modules = list(self)
        modules.insert(i, module)
        self._assign(modules)
        return self

    def pop(self, i):
        """Take the module (or slice) at i out and return it."""
        module = self[i]
        del self[i]
        return module


class Sequential(_Sequence):
    """Modules applied one after another: `Sequential(a, b)`, or `Sequential(OrderedDict(first=a, second=b))`.

    A sequence of modules: indexing, slicing (gives a Sequential), len, iteration, +, *, append, insert, extend, pop,
    del.
    """

    def __init__(self, *args):
        super().__init__()
        if len(args) == 1 and isinstance(args[0], dict):
            for name, module in args[0].items():
                self.add_module(name, module)
        else:
            self.extend(args)

    def forward(self, input):
        attributes = self.__dict__
        linear = None  # a Linear that has yet to run: an activation that follows runs in the same pass
        for name, kind in self._kinds.items():
            if kind is not _MODULE:
                continue
            module = attributes[name]
            cls = type(module)
            if linear is not None:
                activation = _ACTIVATIONS.get(cls)
                if activation and cls.forward is activation[0] and _plain(module) and _plain(linear):
                    try:
                        input = _linear(input, linear.weight, linear.bias, activation=activation[1])
                    except Exception:
                        linear(input)  # raises the same with the name of the layer
                        raise
                    linear = None
                    continue
                input = linear(input)
                linear = None
            if cls is Linear and Linear.forward is _linear_forward:
                linear = module
            else:
                input = module(input)
        return input if linear is None else linear(input)

    def __getitem__(self, i):
        if isinstance(i, slice):
            return type(self)(dict(self._registered(_MODULE)[i]))
        return super().__getitem__(i)

    def __add__(self, other):
        if not isinstance(other, Sequential):
            return NotImplemented
        return Sequential(*self, *other)

    def __mul__(self, times):
        return Sequential(*list(self) * index(times))

    __rmul__ = __mul__

    def __imul__(self, times):
        self._assign(list(self) * index(times))
        return self


def _plain(module):
    """Whether a call of the module is its class' forward and nothing more."""
    attributes = module.__dict__
    return "forward" not in attributes and not attributes.get("_hooks")


class ModuleList(_Sequence):
    """A list of modules, which are registered: indexing, slicing, len, iteration, +, append, insert, extend, pop, del.

    It has no forward().
    """

    def __init__(self, modules=()):
        super().__init__()
        self.extend(modules if modules is not None else ())

    def __getitem__(self, i):
        return type(self)(list(self)[i]) if isinstance(i, slice) else super().__getitem__(i)

    def __add__(self, other):
        return ModuleList(chain(self, other))

    def __repr__(self):
        lines, first = [], 0
        for text, same in groupby(map(repr, self)):
            n = len(list(same))
            place = f"({first}): " if n == 1 else f"({first}-{first + n - 1}): {n} x "
            lines.append(place + indented(text))
            first += n
        name = type(self).__name__
        return f"{name}(\n  " + "\n  ".join(lines) + "\n)" if lines else f"{name}()"


class ModuleDict(Module):
    """A dictionary of modules by name, which are registered. It has no forward()."""

    def __init__(self, modules=None):
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key):
        if self._kinds.get(key) is not _MODULE:
            raise KeyError(key)
        return self.__dict__[key]

    def __setitem__(self, key, module):
        self.add_module(key, module)

    def __delitem__(self, key):
        self[key]  # KeyError
        delattr(self, key)

    def __len__(self):
        return len(self.keys())

    def __iter__(self):
        return iter(self.keys())

    def __contains__(self, key):
        return key in self.keys()

    def keys(self):
        """The names."""
        return dict(self._registered(_MODULE)).keys()

    def values(self):
        """The modules."""
        return dict(self._registered(_MODULE)).values()

    def items(self):
        """(name, module) pairs."""
        return dict(self._registered(_MODULE)).items()

    def clear(self):
        """Take all modules out."""
        for key in self.keys():
            delattr(self, key)

    def pop(self, key):
        """Take the module of this name out and return it."""
        module = self[key]
        del self[key]
        return module

    def update(self, modules):
        """Add the modules of a mapping, or of (name, module) pairs."""
        if not isinstance(modules, Iterable):
            raise TypeError(f"ModuleDict.update needs a mapping or pairs, got {type(modules).__name__}")
        for key, module in modules.items() if isinstance(modules, (Mapping, ModuleDict)) else modules:
            self[key] = module
