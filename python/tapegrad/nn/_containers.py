"""Sequential, Flatten and Identity: modules that arrange others or shapes."""

from operator import index

from .. import _core
from ._activations import ReLU, Sigmoid, Tanh
from ._linear import Linear
from ._module import _MODULE, Module

_linear = _core.linear
_linear_forward = Linear.forward
# What Sequential fuses with the Linear before it, unless somebody replaced its forward.
_ACTIVATIONS = {cls: (cls.forward, name) for cls, name in ((ReLU, "relu"), (Tanh, "tanh"), (Sigmoid, "sigmoid"))}


class Sequential(Module):
    """Modules applied one after another: `Sequential(a, b)`, or `Sequential(OrderedDict(first=a, second=b))`.

    A sequence of modules: indexing, slicing (gives a Sequential), len, iteration, append, insert, extend, pop, del.
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
                if activation and cls.forward is activation[0] and "forward" not in module.__dict__:
                    input = _linear(input, linear.weight, linear.bias, activation=activation[1])
                    linear = None
                    continue
                input = linear(input)
                linear = None
            if cls is Linear and Linear.forward is _linear_forward and "forward" not in module.__dict__:
                linear = module
            else:
                input = module(input)
        return input if linear is None else linear(input)

    def _names(self):
        return [name for name, _ in self._registered(_MODULE)]

    def _name_at(self, i):
        names = self._names()
        try:
            return names[index(i)]
        except IndexError:
            raise IndexError(f"index {i} is out of range for a Sequential of {len(names)} modules") from None

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
        if isinstance(i, slice):
            return type(self)(dict(self._registered(_MODULE)[i]))
        return getattr(self, self._name_at(i))

    def __setitem__(self, i, module):
        setattr(self, self._name_at(i), module)

    def __delitem__(self, i):
        modules = list(self)
        if not isinstance(i, slice):
            self._name_at(i)
        del modules[i]
        self._assign(modules)

    def append(self, module):
        """Add a module at the end; returns self."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules):
        """Add modules at the end, in order; returns self."""
        for module in modules:
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


class Flatten(Module):
    """Merge the dimensions start_dim to end_dim into one: (N, 1, 28, 28) -> (N, 784) with the defaults."""

    def __init__(self, start_dim=1, end_dim=-1):
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input):
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self):
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Identity(Module):
    """Returns its input; any arguments are accepted and ignored."""

    def __init__(self, *args, **kwargs):
        super().__init__()

    def forward(self, input):
        return input
