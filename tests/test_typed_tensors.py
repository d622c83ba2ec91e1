"""FloatTensor, LongTensor and their like, and Tensor made from a size."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg

TYPES = {
    tg.BoolTensor: tg.bool,
    tg.ByteTensor: tg.uint8,
    tg.IntTensor: tg.int32,
    tg.LongTensor: tg.int64,
    tg.FloatTensor: tg.float32,
    tg.DoubleTensor: tg.float64,
}


@pytest.mark.parametrize("kind", TYPES)
def test_makes_tensors_of_its_dtype(kind):
    dtype = TYPES[kind]
    assert kind.dtype is dtype
    for data in ([[1, 0], [0, 1]], ((1, 0), (0, 1)), np.eye(2), np.eye(2, dtype=np.int64)):
        t = kind(data)
        assert type(t) is tg.Tensor
        assert t.dtype is dtype
        assert t.tolist() == [[1, 0], [0, 1]]
    assert kind(range(2)).tolist() == [0, 1]
    assert kind([]).shape == kind().shape == (0,)
    for shape in ((2, 3), (4,), (0, 5)):
        for t in (kind(*shape), kind(tg.Size(shape))):
            assert t.dtype is dtype
            assert t.shape == shape
    same = tg.ones(2, dtype=dtype)
    assert kind(same).tolist() == [1, 1]
    assert kind(same).data_ptr() == same.data_ptr()


def test_copies_arrays():
    array = np.zeros(2, np.float32)
    t = tg.FloatTensor(array)
    array[0] = 1
    assert t.tolist() == [0, 0]


def test_instances():
    for kind, dtype in TYPES.items():
        for other in TYPES.values():
            assert isinstance(tg.ones(1, dtype=other), kind) is (other is dtype)
    assert not isinstance(np.ones(1), tg.DoubleTensor)
    assert isinstance(tg.nn.Parameter(tg.ones(1)), tg.FloatTensor)
    assert tg.ones(1, dtype=tg.int64).type() == "tapegrad.LongTensor"
    assert repr(tg.LongTensor) == "<class 'tapegrad.LongTensor'>"


def test_as_dtypes():
    x = tg.tensor([1.5, -2.5])
    assert x.type(tg.LongTensor).tolist() == [1, -2]
    assert x.type(tg.DoubleTensor).dtype is tg.float64


def test_errors():
    with pytest.raises(TypeError, match=r"LongTensor\(\): data must be a sequence, got float"):
        tg.LongTensor(5.0)
    with pytest.raises(TypeError, match="got bool"):
        tg.LongTensor(True)
    with pytest.raises(TypeError, match="takes sizes, or one sequence"):
        tg.LongTensor([1], [2])
    with pytest.raises(TypeError, match=r"FloatTensor\(\): got a tensor of tapegrad\.int64; use its \.to\("):
        tg.FloatTensor(tg.ones(2, dtype=tg.int64))
    with pytest.raises(ValueError):
        tg.LongTensor([[1, 2], [3]])


def test_tensor_of_a_size():
    x = tg.zeros(2, 3)
    assert tg.Tensor(x.size()).shape == (2, 3)
    assert tg.Tensor(tg.Size([])).shape == ()
    assert tg.Tensor((2, 3)).tolist() == [2, 3]
