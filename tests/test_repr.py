"""Printed tensors: PyTorch's digits, widths, line breaks and suffixes."""

import numpy as np
import pytest

import tapegrad as tg


def arrays():
    rs = np.random.RandomState(0)
    shapes = [(), (1,), (3,), (30,), (1001,), (2, 3), (3, 40), (40, 30), (5, 300), (2, 2, 3), (7, 7, 30), (2, 2, 2, 2)]
    yield from (np.float32(rs.randn(*shape)) for shape in shapes)
    yield from (np.float32(rs.randn(5, 5) * scale) for scale in (1e-6, 1e-3, 100, 1e9))
    singles = [0, -0.0, 1, 2.5, -3, 0.1, 1e-5, 1e8, 1e9, 123456789, 3.4e38, 1e-45, np.nan, np.inf, -np.inf]
    pairs = [[1, 2000], [1.5, 2000], [0.001, 1], [1, np.nan], [1.5, -np.inf], [0, 1e-10], [0, -1], [-0.5, 0.25]]
    yield from (np.array(value, np.float32) for value in singles + pairs)
    yield from (np.array(value) for value in (-5, [1, -2, 30], [[2**62], [1]], True, [True, False], 1 / 3))
    yield from (np.arange(n).reshape(*shape) for n, shape in ((1001, (-1,)), (2000, (40, 50)), (24, (2, 3, 4))))
    yield from (np.zeros(shape, dtype) for shape in ((0,), (2, 0), (3, 0, 2)) for dtype in (np.float32, np.int64))
    yield from (np.arange(3, dtype=dtype) for dtype in (np.uint8, np.int32, np.int64, np.float32, np.float64))


@pytest.mark.parametrize("array", list(arrays()), ids=lambda a: f"{a.dtype}{a.shape}")
def test_tensors_print_as_in_pytorch(array):
    torch = pytest.importorskip("torch")

    def texts(lib):
        t = lib.tensor(array)
        forms = [repr(t), f"{t}"]
        if array.dtype.kind == "f":
            forms += [repr(lib.nn.Parameter(t)), f"{lib.nn.Parameter(t)}", repr(t.requires_grad_() * 1)]
        return [form.replace("tapegrad.", "torch.") for form in forms]

    assert texts(tg) == texts(torch)


def test_printed_forms():
    assert repr(tg.tensor([1.0, -20.0])) == "tensor([  1., -20.])"
    assert repr(tg.tensor([[1.5, 0.25]])) == "tensor([[1.5000, 0.2500]])"
    assert repr(tg.tensor([1e-5, 1.0])) == "tensor([1.0000e-05, 1.0000e+00])"
    assert repr(tg.arange(1001)) == "tensor([   0,    1,    2,  ...,  998,  999, 1000])"
    assert repr(tg.zeros(2, 0)) == "tensor([], size=(2, 0))"
    assert repr(tg.tensor(2.5, requires_grad=True) * 2) == "tensor(5., grad_fn=<MulBackward0>)"


def test_format():
    assert f"{tg.tensor(2.5): .2f}" == " 2.50"
    assert f"{tg.tensor(3)}" == "3"
    assert f"{tg.nn.Parameter(tg.tensor(2.5)):.3f}" == "2.500"
    with pytest.raises(TypeError, match=r"shape \(2,\)"):
        f"{tg.ones(2):.2f}"
