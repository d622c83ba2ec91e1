"""Memory that must stay valid: replaced .data, arrays that outlive tensors, dying wrappers, odd indices and numbers."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

import tapegrad as tg


@pytest.mark.parametrize(
    "use",
    [
        lambda x: x[2:],
        lambda x: x[tg.tensor([0, 3])],
        lambda x: x.gather(0, tg.tensor([[3, 2, 1, 0, 3]])),
        lambda x: x @ tg.ones(5, 2),
        lambda x: x.tanh() * x,
        lambda x: x.softmax(-1),
        lambda x: x.reshape(20),
    ],
)
@pytest.mark.parametrize("shape", [(3,), (4, 2), (400, 500)])
def test_backward_refuses_data_replaced_by_another_layout(use, shape):
    x = tg.ones(4, 5, requires_grad=True)
    y = use(x).sum()
    x.data = tg.ones(*shape)
    with pytest.raises(RuntimeError, match="replaced"):
        y.backward()


def test_backward_takes_data_replaced_by_the_same_layout():
    x = tg.ones(4, 5, requires_grad=True)
    y = (x * 2).sum()
    x.data = tg.zeros(4, 5)
    y.backward()
    assert x.grad.tolist() == [[2.0] * 5] * 4


def test_backward_refuses_strides_that_would_be_read_as_contiguous():
    x = tg.ones(4, 5, requires_grad=True)
    y = tg.cross_entropy(x, tg.zeros(4, dtype=tg.int64))
    x.data = tg.zeros(1, 1).expand(4, 5)
    with pytest.raises(RuntimeError, match="replaced"):
        y.backward()


def test_an_array_outlives_the_data_of_its_tensor():
    x = tg.full((3_000_000,), 7.0)
    a = x.numpy()
    x.data = tg.ones(3)
    tg.empty_cache()
    assert a.sum() == 21_000_000
    x = tg.from_numpy(a)
    del a
    assert x.sum().item() == 21_000_000


def test_an_array_does_not_keep_its_tensor_from_in_place_writes():
    w = tg.ones(3, requires_grad=True)
    x = tg.zeros(3)
    a = x.numpy()
    x.add_(w)
    x.sum().backward()
    assert a.tolist() == [1, 1, 1] and w.grad.tolist() == [1, 1, 1]


def test_going_back_and_forth_to_numpy_makes_no_chain():
    x = tg.zeros(3)
    for _ in range(100_000):
        x = tg.from_numpy(x.numpy())
    del x  # a chain of owners would overflow the stack here


def test_a_dying_wrapper_is_not_handed_out():
    x = tg.ones(3, requires_grad=True)
    x.sum().backward()
    kept = []
    g = x.grad
    watch = weakref.ref(g, lambda _: kept.append(x.grad))
    del g
    gc.collect()
    others = [tg.zeros(3) for _ in range(100)]
    assert watch() is None and kept[0].tolist() == [1, 1, 1] and all(kept[0] is not o for o in others)


def test_a_subclass_whose_attributes_ask_for_it_while_it_dies():
    class Sub(tg.Tensor):
        pass

    class Asks:
        def __del__(self):
            seen.append(holder.grad)

    seen = []
    holder = tg.ones(3, requires_grad=True)
    sub = tg._core._make_subclass(Sub, tg.zeros(3))
    holder.grad = sub
    sub.attribute = Asks()
    del sub
    gc.collect()
    assert seen[0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("cls", [int, dict, object])
def test_make_subclass_takes_tensor_classes_only(cls):
    with pytest.raises(TypeError, match="subclass of Tensor"):
        tg._core._make_subclass(cls, tg.ones(3))


def test_an_error_that_cannot_be_printed_passes_through():
    class Unprintable:
        def __str__(self):
            raise ValueError("no")

    class Index:
        def __index__(self):
            raise TypeError(Unprintable())

    with pytest.raises(TypeError):
        tg.ones(3).sum(Index())


@pytest.mark.parametrize("dtype", [tg.bool, tg.uint8, tg.int32])
def test_sum_in_narrow_integers(dtype):
    x = tg.arange(300)
    expected = np.arange(300).sum().astype(str(dtype).removeprefix("tapegrad."))
    assert x.sum(dtype=dtype).dtype == dtype
    assert x.sum(dtype=dtype).item() == expected
    assert x.reshape(2, 150).sum(0, dtype=dtype).shape == (150,)


def test_gradient_through_more_indices_than_a_node_has_bits():
    x = tg.ones([1] * 40, requires_grad=True)
    (x[(tg.tensor([0, 0]),) * 40]).sum().backward()
    assert x.grad.item() == 2
    x.grad = None
    x[x > 0].sum().backward()
    assert x.grad.item() == 1


def test_masks_without_dimensions():
    x, a = tg.arange(6.0), np.arange(6.0)
    for value in (True, False):
        expected = a[np.array(value)]
        for mask in (tg.tensor(value), np.array(value)):
            assert x[mask].shape == expected.shape and x[mask].tolist() == expected.tolist()
    x[tg.tensor(False)] = 5
    assert x.tolist() == a.tolist()
    x[tg.tensor(True)] = 5
    assert x.tolist() == [5] * 6


def test_bools_that_are_neither_0_nor_1():
    t = tg.from_numpy(np.array([2, 3, 0, 255], np.uint8).view(bool))
    assert tg.nonzero(t).tolist() == [[0], [1], [3]]
    assert tg.arange(4)[t].tolist() == [0, 1, 3] and t[3].item() is True


def test_steps_and_numbers_out_of_range():
    x = tg.arange(10).reshape(2, 5)
    assert x[:: 2**62].tolist() == [[0, 1, 2, 3, 4]] and x[:, :: 2**63 - 1].tolist() == [[0], [5]]
    for dtype, lowest in ((tg.int64, -(2**63)), (tg.int32, -(2**31)), (tg.uint8, 0)):
        for value in (1e30, -1e30, float("nan")):
            assert tg.full((1,), value, dtype=dtype).item() == lowest
    with pytest.raises(ValueError, match="more elements"):
        tg.cat([tg.zeros(1).expand(2**59)] * 20)


def test_threads_share_a_parameter():
    w, x = tg.ones(400, 400, requires_grad=True), tg.ones(400, 400)

    def work():
        for _ in range(10):
            tg.autograd.grad(((w * x).tanh() + tg.maximum(w, x)).sum(), [w])

    threads = [threading.Thread(target=work) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert w.sum().item() == 160_000
