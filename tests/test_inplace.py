"""Writes in place: what the tape allows, what it must refuse, and views with gradients."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from graphs import leaf, same

WRITES = {
    "add_": lambda t: t.add_(1),
    "+=": lambda t: t.__iadd__(1),
    "*=": lambda t: t.__imul__(2),
    "zero_": lambda t: t.zero_(),
    "fill_": lambda t: t.fill_(3),
    "copy_": lambda t: t.copy_(tg.ones_like(t)),
    "setitem": lambda t: t.__setitem__(0, 5),
    "view": lambda t: t.view(-1).mul_(2),
    "slice": lambda t: t[0].add_(1),
    "detach": lambda t: t.detach().add_(1),
    "data of a view": lambda t: t[:1].detach().zero_(),
    "normal_": lambda t: t.normal_(),
    "uniform_": lambda t: t.uniform_(),
}
SAVING = {
    "input of a product": lambda h: (h, h * h),
    "output of exp": lambda h: (lambda y: (y, y * 1))(h.exp()),
    "output of tanh": lambda h: (lambda y: (y, y + 1))(h.tanh()),
    "input of matmul": lambda h: (h, h @ h),
    "input of log": lambda h: (h, h.log()),
    "output of softmax": lambda h: (lambda y: (y, y + 0))(tg.softmax(h, 1)),
    "input of max": lambda h: (h, h.amax(1)),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("saving", SAVING)
def test_writing_to_a_saved_tensor_is_an_error(saving, write):
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    saved, result = SAVING[saving](x * 1)
    with tg.no_grad():
        WRITES[write](saved)
    with pytest.raises(RuntimeError, match=r"in.?place|modified"):
        result.sum().backward()


def test_writing_to_what_nobody_saved_is_fine():
    x = leaf([1.0, 2.0])
    h = x * 2
    y = h + 1
    h.detach().zero_()
    y.sum().backward()
    same(x.grad, [2, 2])


@pytest.mark.parametrize("write", [w for w in WRITES if "detach" not in w and "data" not in w])
def test_writing_to_a_leaf_is_an_error(write):
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(RuntimeError, match=r"leaf|in.?place"):
        WRITES[write](x)
    same(x, [[1, 2], [3, 4]])


def test_updates_under_no_grad():
    x = leaf([1.0, 2.0])
    same_object = x
    with tg.no_grad():
        x -= 0.5 * tg.ones(2).double()
        x.mul_(2)
        x[0] = 7
    assert x is same_object and x.is_leaf and x.requires_grad
    same(x, [7, 3])
    (x * x).sum().backward()
    same(x.grad, [14, 6])


def test_in_place_on_an_interior_tensor_is_recorded():
    x = leaf([1.0, 2.0])
    y = x * 2
    held = y
    y += 1
    y.mul_(3)
    assert y is held
    (y * y).sum().backward()
    same(x.grad, 2 * 3 * (2 * np.array([1, 2]) + 1) * 6)


def test_in_place_with_a_tensor_that_has_a_gradient():
    x, w = tg.zeros(2).double(), leaf([3.0, 4.0])
    x += w
    x += w * w
    assert x.requires_grad
    x.sum().backward()
    same(w.grad, [7, 9])


# PyTorch rewrites history in what follows. Refusing is fine, a wrong gradient is not.


def right_or_refused(f, *expected):
    """f() gives (scalar, tensors): their gradients are the expected ones, unless RuntimeError refuses the program."""
    try:
        loss, *tensors = f()
        loss.backward()
    except RuntimeError as error:
        assert any(words in str(error) for words in ("in-place", "in place", "not recorded"))
        return
    for t, want in zip(tensors, expected, strict=True):
        same(t.grad, want)


def product_with_itself():
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    y = x * 1
    y.mul_(w)
    return y.sum(), x, w


def write_by_index():
    x, w = leaf([1.0, 2.0, 3.0]), leaf([10.0])
    y = x * 2
    y[1] = w[0]
    y[2] = 5
    return (y * y).sum(), x, w


def write_by_index_into_zeros():
    w = leaf([10.0, 20.0])
    y = tg.zeros(3).double()
    y[1:] = w * w
    return y.sum(), w


def write_by_mask():
    x, w = leaf([1.0, -2.0, 3.0]), leaf([10.0])
    y = x * 2
    y[y < 0] = w
    return (y * y).sum(), x, w


def write_through_a_view():
    x = leaf([1.0, 2.0])
    y = x * 2
    y[0].mul_(5)
    return y.sum(), x


def write_to_the_base_of_a_view():
    x = leaf([1.0, 2.0])
    y = x * 2
    view = y[0]
    y.mul_(5)
    assert view.item() == 10
    return view, x


def write_to_a_view_of_an_expanded_gradient():
    x = leaf([1.0, 2.0])
    y = (x * 2).expand(3, 2).clone()
    y.t()[0] = 0
    return y.sum(), x


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (product_with_itself, ([3, 4], [1, 2])),
        (write_by_index, ([8, 0, 0], [20])),
        (write_by_index_into_zeros, ([20, 40],)),
        (write_by_mask, ([8, 0, 24], [20])),
        (write_through_a_view, ([10, 2],)),
        (write_to_the_base_of_a_view, ([10, 0],)),
        (write_to_a_view_of_an_expanded_gradient, ([0, 6],)),
    ],
)
def test_writes_that_change_a_gradient(program, expected):
    right_or_refused(program, *expected)


def test_in_place_on_an_expanded_tensor_is_an_error():
    t = tg.ones(1).expand(4)
    with pytest.raises(RuntimeError):
        t.add_(1)
    with pytest.raises(RuntimeError):
        t.mul_(tg.arange(4).float())


def test_in_place_cannot_change_shape_or_dtype():
    t = tg.ones(3)
    with pytest.raises((RuntimeError, ValueError)):
        t.add_(tg.ones(2, 3))
    for write in (lambda: tg.arange(3).add_(0.5), lambda: tg.arange(3).div_(2)):
        with pytest.raises((RuntimeError, TypeError, ValueError), match="int64"):
            write()
    same(t, [1, 1, 1])
    t.add_(tg.arange(3))
    assert t.dtype == tg.float32


def overlap_forward(t):
    t[1:].add_(t[:-1])


def overlap_transposed(t):
    m = t.view(3, 3)
    m.add_(m.t())


def overlap_copy(t):
    t[1:] = t[:-1]


@pytest.mark.parametrize(
    ("write", "want"),
    [
        (overlap_forward, [0, 1, 3, 5, 7, 9, 11, 13, 15]),
        (overlap_transposed, [0, 4, 8, 4, 8, 12, 8, 12, 16]),
        (overlap_copy, [0, 0, 1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_overlapping_operands(write, want):
    """Reading and writing the same memory at different places: as if the source were copied first, or refused."""
    t = tg.arange(9).float()
    try:
        write(t)
    except RuntimeError:
        want = np.arange(9)
    same(t, want)


def test_gradients_through_views():
    x = leaf(np.arange(12.0).reshape(3, 4))
    view = x.t()[1:3].reshape(-1)[::2].view(3, 1)
    (view * view).sum().backward()
    want = np.zeros((3, 4))
    for r, c in [(r, c) for c in (1, 2) for r in range(3)][::2]:
        want[r, c] = 2 * (4 * r + c)
    same(x.grad, want)


def test_views_share_memory_with_their_base():
    x = tg.arange(6).float()
    for view in (
        x.view(2, 3),
        x[2:],
        x.reshape(3, 2),
        x.view(2, 3).t(),
        x.unsqueeze(0),
        x.expand(4, 6),
        x.detach(),
        x.flatten(),
    ):
        assert np.shares_memory(view.numpy(), x.numpy())
    x[0] = 42
    assert x.view(2, 3)[0, 0].item() == 42
    assert not np.shares_memory(x.clone().numpy(), x.numpy())


def test_in_place_results_are_the_tensor_itself():
    t = tg.ones(2)
    for name, args in [("add_", (1,)), ("sub_", (1,)), ("mul_", (2,)), ("div_", (2,)), ("zero_", ()), ("fill_", (2,)),
                       ("copy_", (tg.ones(2),)), ("normal_", ()), ("uniform_", ())]:  # fmt: skip
        assert getattr(t, name)(*args) is t
    t.fill_(6)
    t += 2
    t -= 4
    t *= 3
    t /= 2
    same(t, [6, 6])
    t **= 2
    same(t, [36, 36])
