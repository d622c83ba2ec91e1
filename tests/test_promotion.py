"""Result dtypes of mixed operands, as PyTorch's."""

from __future__ import annotations

import itertools

import pytest

import tapegrad as tg

# Category order of PyTorch: bool < integer < float. A dimensioned tensor beats a 0-d tensor or a Python number of its
# own or a lower category; from a higher category the number's default dtype (float32, int64) or the 0-d dtype is taken.
ORDER = ["bool", "uint8", "int32", "int64", "float32", "float64"]
CATEGORY = {"bool": 0, "uint8": 1, "int32": 1, "int64": 1, "float32": 2, "float64": 2}
TENSORS = list(itertools.product(ORDER, ORDER))


def promoted(a: str, b: str) -> str:
    return max(a, b, key=ORDER.index)


def promoted_with_lower_rank(tensor: str, other: str) -> str:
    """A dimensioned tensor with a 0-d tensor or a number of dtype `other`."""
    return tensor if CATEGORY[tensor] >= CATEGORY[other] else other


def ones(dtype, *shape):
    return tg.ones(shape).to(getattr(tg, dtype))


def is_dtype(result, dtype, what):
    assert result.dtype == getattr(tg, dtype), f"{what}: {result.dtype}, expected {dtype}"


@pytest.mark.parametrize(("a", "b"), TENSORS)
def test_two_tensors(a, b):
    want = promoted(a, b)
    x, y = ones(a, 2), ones(b, 2)
    is_dtype(x + y, want, f"{a} + {b}")
    is_dtype(x * y, want, f"{a} * {b}")
    is_dtype(tg.maximum(x, y), want, f"maximum({a}, {b})")
    is_dtype(x / y, want if CATEGORY[want] == 2 else "float32", f"{a} / {b}")
    is_dtype(x < y, "bool", f"{a} < {b}")
    if "bool" not in (a, b):
        is_dtype(x - y, want, f"{a} - {b}")
        is_dtype(x**y, want, f"{a} ** {b}")
    is_dtype(tg.where(ones("bool", 2), x, y), want, f"where(c, {a}, {b})")
    is_dtype(tg.cat([x, y]), want, f"cat({a}, {b})")


@pytest.mark.parametrize(("a", "b"), TENSORS)
def test_dimensioned_with_zero_d(a, b):
    want = promoted_with_lower_rank(a, b)
    x, y = ones(a, 2), ones(b)
    is_dtype(x + y, want, f"{a}[2] + {b}[]")
    is_dtype(y + x, want, f"{b}[] + {a}[2]")
    is_dtype(x / y, want if CATEGORY[want] == 2 else "float32", f"{a}[2] / {b}[]")
    is_dtype(ones(a) + ones(b), promoted(a, b), f"{a}[] + {b}[]")
    is_dtype(ones(a, 1) + y, want, f"{a}[1] + {b}[]")


@pytest.mark.parametrize("shape", [(2,), ()])
@pytest.mark.parametrize("dtype", ORDER)
def test_with_python_numbers(dtype, shape):
    x = ones(dtype, *shape)
    for number, kind in [(2, "int64"), (2.5, "float32"), (True, "bool")]:
        want = promoted_with_lower_rank(dtype, kind)
        is_dtype(x + number, want, f"{dtype} + {number}")
        is_dtype(number + x, want, f"{number} + {dtype}")
        is_dtype(x * number, want, f"{dtype} * {number}")
        is_dtype(x / number, want if CATEGORY[want] == 2 else "float32", f"{dtype} / {number}")
        is_dtype(number / x, want if CATEGORY[want] == 2 else "float32", f"{number} / {dtype}")
        is_dtype(x == number, "bool", f"{dtype} == {number}")
        if "bool" not in (dtype,) and number is not True:
            is_dtype(x - number, want, f"{dtype} - {number}")
            is_dtype(x**number, want, f"{dtype} ** {number}")


def test_default_dtype_takes_part():
    tg.set_default_dtype(tg.float64)
    is_dtype(ones("int64", 2) / 2, "float64", "int64 / 2")
    is_dtype(ones("int64", 2) + 0.5, "float64", "int64 + 0.5")
    is_dtype(ones("float32", 2) + 0.5, "float32", "float32 + 0.5")
    is_dtype(ones("int64", 2).exp(), "float64", "exp(int64)")


def test_values_survive_promotion():
    big = tg.tensor([2**53 + 1, -5])
    assert (big + tg.tensor([1, 1], dtype=tg.uint8)).tolist() == [2**53 + 2, -4]
    assert (tg.tensor([7, -7]) / 2).tolist() == [3.5, -3.5]
    assert (tg.tensor([200], dtype=tg.uint8) + tg.tensor([100], dtype=tg.uint8)).tolist() == [44]
    assert (tg.tensor([True, False]) + tg.tensor([True, True])).tolist() == [True, True]
    assert (tg.tensor([True, False]) * 3).tolist() == [3, 0]
    assert (tg.tensor([0.1]) == 0.1).tolist() == [True]  # the number takes the tensor's dtype
    assert tg.tensor([0.1]).double().add(tg.tensor([0.1])).dtype == tg.float64
    assert tg.tensor([2**31 - 1], dtype=tg.int32).add(1).tolist() == [-(2**31)]
    assert (tg.tensor([2**62]) < tg.tensor([2**62 + 1])).tolist() == [True]


def test_gradients_keep_their_own_dtype():
    x, y = tg.ones(2, requires_grad=True), tg.ones(2, dtype=tg.float64, requires_grad=True)
    z = tg.ones((), dtype=tg.float64, requires_grad=True)
    (x * y * 2 + x * z).sum().backward()
    is_dtype(x.grad, "float32", "gradient of a float32 tensor")
    is_dtype(y.grad, "float64", "gradient of a float64 tensor")
    is_dtype(z.grad, "float64", "gradient of a 0-d float64 tensor")


def test_python_numbers_out_of_range():
    for f in (lambda: tg.tensor([1], dtype=tg.uint8) + 2**70, lambda: tg.tensor([1]) + 2**70):
        with pytest.raises((OverflowError, RuntimeError, ValueError)):
            f()
