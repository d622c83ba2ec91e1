"""Parameter: a tensor that a Module registers."""

from .. import _core


class Parameter(_core.Tensor):
    """A tensor that is trained: assigned to a Module attribute, it joins `Module.parameters()`.

    data: float32 or float64 tensor of any shape, whose memory is shared; None gives an empty one.
    requires_grad: whether `backward` computes its gradient, also when created under `no_grad`.
    """

    def __new__(cls, data=None, requires_grad=True):
        if data is None:
            data = _core.empty(0)
        elif not isinstance(data, _core.Tensor):
            raise TypeError(f"Parameter needs a tensor, got {type(data).__name__}")
        return _core._make_subclass(cls, data, requires_grad)

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            memo[id(self)] = _core._make_subclass(type(self), self.detach().clone(), self.requires_grad)
        return memo[id(self)]

    def __repr__(self):
        return "Parameter containing:\n" + super().__repr__()


class UninitializedParameter(Parameter):
    """A Parameter whose shape is not known yet. It is empty until a lazy layer, or `materialize`, gives it one."""

    def __new__(cls, requires_grad=True, device=None, dtype=None):
        return _core._make_subclass(cls, _core.empty(0, dtype=dtype, device=device), requires_grad)

    def materialize(self, shape, device=None, dtype=None):
        """Become a Parameter of this shape, in place; the values are not set."""
        self.data = _core.empty(tuple(shape), dtype=dtype or self.dtype, device=device)
        self.__class__ = Parameter
        _core._structure_changed()

    def __repr__(self):
        return "<UninitializedParameter>"


def is_lazy(param):
    """Whether a parameter has no shape yet."""
    return isinstance(param, UninitializedParameter)
