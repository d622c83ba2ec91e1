"""Printed tensors: PyTorch's digits, widths, line breaks and suffixes."""

import re

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


def random_array(rs):
    """Of any shape, dtype and scale, nan and infinities among the values."""
    shape = tuple(int(n) for n in rs.choice([0, 1, 2, 3, 5, 7, 8, 12, 40, 300, 1001], rs.randint(0, 5)))
    while np.prod(shape, dtype=float) > 20_000:
        shape = shape[1:]
    odd = [0, 1, -1, 2.5, 1e-5, 1e9, np.nan, np.inf, -np.inf, 100, 1e4]
    values = [
        lambda: rs.standard_normal(shape),
        lambda: rs.standard_normal(shape) * 10.0 ** rs.randint(-12, 14),
        lambda: rs.standard_normal(shape) * 10.0 ** rs.randint(-6, 10, shape),
        lambda: rs.randint(0, 200, shape),
        lambda: rs.choice(odd, shape),
        lambda: rs.choice([np.nan, np.inf, 0.0], shape),
        lambda: np.zeros(shape),
    ]
    integers = [
        lambda: rs.randint(-(10 ** rs.randint(0, 18)), 10 ** rs.randint(1, 18), shape),
        lambda: rs.randint(0, 200, shape).astype(rs.choice(["u1", "i4"])),
        lambda: rs.uniform(size=shape) < 0.5,
    ]
    if rs.uniform() < 0.3:
        return np.asarray(integers[rs.randint(len(integers))]())
    return np.asarray(values[rs.randint(len(values))]()).astype(rs.choice(["f4", "f8"]))


@pytest.mark.parametrize("seed", range(20))
def test_random_tensors_print_as_in_pytorch(seed):
    torch = pytest.importorskip("torch")
    rs = np.random.RandomState(seed)

    def texts(lib, a):
        t = lib.tensor(a)
        forms = [repr(t), repr(t[::2]) if a.ndim else f"{t}"]
        if a.dtype.kind == "f":
            w = lib.tensor(a).requires_grad_()
            forms += [repr(w), repr(w * 1), repr(w.reshape(1, -1)), repr(lib.nn.Parameter(t))]
        # "tapegrad." is longer than "torch.": a dtype may go to the next line earlier
        return [re.sub(r",\s+(dtype|grad_fn|requires)", r", \1", f.replace("tapegrad.", "torch.")) for f in forms]

    for _ in range(40):
        a = random_array(rs)
        assert texts(tg, a) == texts(torch, a)


def test_names_of_recorded_operations():
    """Those of PyTorch, as far as one op of ours is one of theirs."""
    torch = pytest.importorskip("torch")
    for f in (
        lambda T, x: x.reshape(4),
        lambda T, x: x.view(4),
        lambda T, x: x[0],
        lambda T, x: x[:1],
        lambda T, x: x[T.tensor([0])],
        lambda T, x: x.index_add(0, T.tensor([0]), x[:1]),
        lambda T, x: x.scatter_add(0, T.tensor([[0]]), x),
        lambda T, x: x.gather(0, T.tensor([[0]])),
        lambda T, x: x.to(T.float64),
        lambda T, x: T.nn.functional.linear(x, x, x[0]),
        lambda T, x: T.nn.functional.cross_entropy(x, T.tensor([0, 1])),
        lambda T, x: x @ x,
        lambda T, x: x.log_softmax(1),
        lambda T, x: x.relu(),
    ):
        ours, theirs = (f(T, T.ones(2, 2, requires_grad=True)).grad_fn.name() for T in (tg, torch))
        assert ours == theirs


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


@pytest.mark.parametrize(
    "options",
    [
        {"precision": 2},
        {"threshold": 5, "edgeitems": 1},
        {"linewidth": 40},
        {"sci_mode": True},
        {"sci_mode": False, "precision": 6},
        {"profile": "short"},
        {"profile": "full"},
    ],
    ids=str,
)
def test_print_options_are_those_of_pytorch(options):
    torch = pytest.importorskip("torch")
    values = np.float32(np.random.RandomState(0).randn(6, 7)) * [1e-5, 1, 1, 10, 100, 1e3, 1e5]
    arrays = [np.float32(values), np.float32(values[:, 1]), np.arange(3, dtype=np.float32), np.arange(1200)]

    def texts(lib):
        lib.set_printoptions(**options)
        try:
            return [repr(lib.tensor(array)).replace("tapegrad.", "torch.") for array in arrays]
        finally:
            lib.set_printoptions(profile="default")

    assert texts(tg) == texts(torch)
    with pytest.raises(ValueError, match="default, short, full"):
        tg.set_printoptions(profile="long")
