"""FloatTensor, LongTensor and their like: constructors of one dtype, which isinstance() knows, too."""

from . import _core
from ._core import Tensor


class _TensorType(type):
    """A type without instances of its own: calling it makes a Tensor of its dtype."""

    def __call__(cls, *args):
        """LongTensor(2, 3), LongTensor(size): of that shape, uninitialised; LongTensor(sequence or array): a copy.

        A tensor of that dtype is taken as it is; of another one: TypeError, use .to(dtype).
        """
        if not args or (isinstance(args[0], (int, _core.Size)) and not isinstance(args[0], bool)):
            return _core.empty(*(args or (0,)), dtype=cls.dtype)
        if len(args) > 1:
            raise TypeError(f"{cls.__name__}() takes sizes, or one sequence, array or tensor")
        (data,) = args
        if not hasattr(data, "__len__"):
            raise TypeError(f"{cls.__name__}(): data must be a sequence, got {type(data).__name__}")
        if not isinstance(data, Tensor):
            return _core.tensor(data, dtype=cls.dtype)
        if data.dtype is not cls.dtype:
            raise TypeError(f"{cls.__name__}(): got a tensor of {data.dtype}; use its .to({cls.dtype})")
        return data.detach()

    def __instancecheck__(cls, instance):
        return isinstance(instance, Tensor) and instance.dtype is cls.dtype

    def __repr__(cls):
        return f"<class 'tapegrad.{cls.__name__}'>"


def _tensor_type(name, dtype):
    return _TensorType(name, (), {"dtype": dtype, "__doc__": f"Makes tensors of {dtype}.", "__module__": "tapegrad"})


BoolTensor = _tensor_type("BoolTensor", _core.bool)
ByteTensor = _tensor_type("ByteTensor", _core.uint8)
IntTensor = _tensor_type("IntTensor", _core.int32)
LongTensor = _tensor_type("LongTensor", _core.int64)
FloatTensor = _tensor_type("FloatTensor", _core.float32)
DoubleTensor = _tensor_type("DoubleTensor", _core.float64)
