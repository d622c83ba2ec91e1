"""Reductions, scans and order where they are easily wrong: nothing to reduce, long rows, ties, zeros, threads."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tapegrad as tg

NAN, INF = math.nan, math.inf


# Nothing to reduce

IDENTITIES = {"sum": 0, "prod": 1, "nansum": 0, "norm": 0, "logsumexp": -INF, "count_nonzero": 0, "any": 0, "all": 1}
IDENTITIES |= {"mean": NAN, "nanmean": NAN, "var": NAN, "std": NAN}
WITHOUT = ("amax", "amin", "aminmax", "max", "min", "argmax", "argmin", "median", "nanmedian")


@pytest.mark.parametrize("name", IDENTITIES)
def test_a_reduction_of_nothing_is_its_identity(name):
    f, x = getattr(tg, name), tg.zeros(0, 3, requires_grad=True)
    y = f(x, dim=0)
    np.testing.assert_array_equal(y.detach().numpy().astype(float), np.full(3, IDENTITIES[name], float))
    assert f(x, dim=1).shape == (0,)
    if y.requires_grad:
        y.sum().backward()
        assert x.grad.shape == (0, 3)


@pytest.mark.parametrize("name", WITHOUT)
def test_extremes_of_nothing_are_an_error_that_names_the_shape(name):
    with pytest.raises(IndexError, match=rf"{name}.*\(0, 3\)"):
        getattr(tg, name)(tg.zeros(0, 3), dim=0)
    result = getattr(tg, name)(tg.zeros(0, 3), dim=1)
    assert (result[0] if isinstance(result, tuple) else result).shape == (0,)


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "cummax", "sort", "topk", "unique", "cov", "cdist"])
def test_other_ops_of_nothing(name):
    x = tg.zeros(0, 3, requires_grad=True)
    args = {"cumsum": (0,), "cumprod": (0,), "cummax": (0,), "topk": (0, 0), "cdist": (x,)}.get(name, ())
    y = getattr(tg, name)(x, *args)
    y = y[0] if isinstance(y, tuple) else y
    assert y.numel() == 0
    if y.requires_grad:
        y.sum().backward()
        assert x.grad.shape == (0, 3)


# Long ones


@pytest.mark.parametrize("dim", [0, 1, None])
def test_mean_over_ten_million_rows(dim):
    x = tg.full((10_000_000, 2) if dim != 1 else (2, 10_000_000), 0.1)
    np.testing.assert_allclose(x.mean(dim).numpy(), np.float32(0.1), rtol=2e-7)
    np.testing.assert_allclose(x.norm(2, dim).numpy() / math.sqrt(1e7 * (2 if dim is None else 1)), 0.1, rtol=3e-7)


@pytest.mark.parametrize(
    ("shape", "dim"), [((3, 200_001), 1), ((1, 1_000_003), 1), ((100_001, 3), 0), ((2, 999, 300), 1)]
)
@pytest.mark.parametrize("dtype", [tg.float32, tg.float64, tg.int64])
def test_long_scans_have_the_same_bits_for_any_number_of_threads(shape, dim, dtype, rng):
    a = rng.randn(*shape) if dtype != tg.int64 else rng.randint(-9, 9, shape)
    x = tg.tensor(a).to(dtype)
    results = []
    for n in (1, 2, 3):
        with tg.threads(n):
            results.append(x.cumsum(dim).numpy())
    assert results[0].tobytes() == results[1].tobytes() == results[2].tobytes()
    want = np.cumsum(x.numpy().astype(np.float64), axis=dim)
    np.testing.assert_allclose(results[0], want, rtol=1e-6, atol=1e-9 if dtype == tg.float64 else 1e-4)


def test_the_gradient_of_a_long_cumsum_is_the_sum_from_the_end(rng):
    x, g = tg.rand(2, 150_000, requires_grad=True), rng.rand(2, 150_000)
    x.cumsum(1).backward(tg.tensor(g).float())
    np.testing.assert_allclose(x.grad.numpy(), np.cumsum(g[:, ::-1], axis=1)[:, ::-1], rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "uint8", "bool"])
@pytest.mark.parametrize("descending", [False, True])
def test_long_rows_are_sorted_stably(dtype, descending, rng):
    a = (rng.randn(3, 5000) * 50).astype(dtype) if dtype != "bool" else rng.rand(3, 5000) < 0.5
    values, indices = tg.sort(tg.tensor(a), descending=descending)
    key = -a.astype(np.float64) if descending else a
    want = np.argsort(key, axis=1, kind="stable")
    np.testing.assert_array_equal(indices.numpy(), want)
    np.testing.assert_array_equal(values.numpy(), np.take_along_axis(a, want, axis=1))


def test_the_ends_of_the_integers_are_sorted():
    ends = [2**63 - 1, -(2**63), 0, -1, 2**63 - 1]
    assert tg.tensor(ends).sort().values.tolist() == sorted(ends)
    assert tg.tensor(ends).median().item() == 0
    assert tg.tensor(ends).nanmedian(0).values.item() == 0


def test_signed_zeros_and_nan_keep_their_order():
    x = tg.tensor([NAN, 0.0, -0.0, -NAN, 1.0, 0.0, -INF, INF])
    assert x.argsort().tolist() == [6, 1, 2, 5, 4, 7, 0, 3]
    assert x.argsort(descending=True).tolist() == [0, 3, 7, 4, 1, 2, 5, 6]


# Ties


def test_ties_in_topk_and_kthvalue_go_to_the_first():
    x = tg.tensor([1.0, 3.0, 3.0, 1.0, 3.0])
    assert x.topk(2).indices.tolist() == [1, 2]
    assert x.topk(2, largest=False).indices.tolist() == [0, 3]
    assert x.kthvalue(4).indices.item() == 2
    assert tg.rand(1000).gt(2).float().topk(3).indices.tolist() == [0, 1, 2]


@pytest.mark.parametrize(("f", "want"), [
    (lambda x: x.sort().values[1], [0, 1, 0, 0]),
    (lambda x: x.topk(2).values.sum(), [0, 1, 1, 0]),
    (lambda x: x.kthvalue(2).values, [0, 1, 0, 0]),
    (lambda x: x.median(0).values, [0, 1, 0, 0]),
    (lambda x: x.median(), [0, 1 / 3, 1 / 3, 1 / 3]),
    (lambda x: x.amax(), [0, 1 / 3, 1 / 3, 1 / 3]),
    (lambda x: x.norm(INF), [0, 1 / 3, 1 / 3, 1 / 3]),
    (lambda x: x.cummax(0).values.sum(), [1, 1, 1, 1]),
])  # fmt: skip
def test_gradients_of_ties(f, want):
    x = tg.tensor([1.0, 2.0, 2.0, 2.0], requires_grad=True)
    f(x).backward()
    np.testing.assert_allclose(x.grad.numpy(), want, rtol=1e-6)


# Zeros


@pytest.mark.parametrize("p", ["fro", 2, 1, 0, 3, 1.5, 0.5, INF, -INF])
def test_norm_and_its_gradients_at_zero(p):
    x = tg.zeros(3, requires_grad=True)
    y = x.norm(p)
    (g,) = tg.autograd.grad(y, x, create_graph=True)
    assert y.item() == 0
    assert g.tolist() == [0, 0, 0]
    if g.requires_grad:
        assert tg.autograd.grad(g.sum(), x)[0].tolist() == [0, 0, 0]


def test_zero_norm_counts():
    assert tg.tensor([[1.0, 0.0, NAN], [0.0, 0.0, 2.0]]).norm(0, dim=1).tolist() == [2, 1]


def test_std_where_all_are_equal():
    x = tg.full((2, 3), 5.0, requires_grad=True)
    x.std(1).sum().backward()
    assert x.grad.tolist() == [[0, 0, 0]] * 2


def test_distance_zero_has_gradient_zero():
    for p in (0, 0.5, 1, 1.5, 2, 3, INF):
        x = tg.tensor([[1.0, 2.0], [3.0, -1.0]], requires_grad=True)
        y = tg.cdist(x, x.detach(), p=p)
        assert y[0, 0].item() == y[1, 1].item() == 0
        (y[0, 0] + y[1, 1]).backward()
        assert x.grad.tolist() == [[0, 0], [0, 0]], p


def test_close_points_far_from_zero_keep_their_distance():
    x = 1e4 + tg.arange(120).reshape(40, 3).float()
    want = np.linalg.norm(x.numpy()[:, None].astype(float) - x.numpy()[None], axis=-1)
    np.testing.assert_allclose(tg.cdist(x, x).numpy(), want, rtol=1e-6)
    x.requires_grad_()
    tg.cdist(x, x[:1].detach()).sum().backward()
    np.testing.assert_allclose(x.grad[1:].norm(dim=1).numpy(), 1, rtol=1e-4)


@pytest.mark.parametrize("zeros", [0, 1, 2])
def test_the_gradient_of_a_product_whose_parts_overflow(zeros):
    a = np.array([1e30] * 5 + [1e-30] * 5 + [2.0, 4.0])
    a[10 : 10 + zeros] = 0
    x = tg.tensor(a).float().requires_grad_()
    x.prod().backward()
    want = [np.prod(np.delete(a, k)) for k in range(len(a))]
    np.testing.assert_allclose(x.grad.numpy(), want, rtol=1e-6)


# Arguments that the table of ops leaves out


def test_search_by_a_sorter_and_in_narrow_integers():
    x = tg.tensor([[3.0, 1.0, 2.0], [0.0, -1.0, 5.0]])
    at = tg.searchsorted(x, tg.tensor([[2.5], [-0.5]]), sorter=x.argsort(), out_int32=True)
    assert at.tolist() == [[2], [1]]
    assert at.dtype == tg.int32
    assert tg.searchsorted(tg.tensor([1, 2, 3]), 2.5).item() == 2


def test_named_results():
    low, high = tg.aminmax(tg.tensor([3.0, 1.0]))
    assert (low.item(), high.item()) == (1, 3)
    assert tg.aminmax(tg.tensor([3.0, 1.0])).max.item() == 3
    assert tg.rand(3).sort()._fields == ("values", "indices")
    assert isinstance(tg.unique(tg.tensor([1, 1])), tg.Tensor)
    assert [p.tolist() for p in tg.unique(tg.tensor([2, 1, 1]), return_counts=True)] == [[1, 2], [2, 1]]


def test_any_and_all_over_several_dimensions():
    x = tg.zeros(2, 3, 4)
    x[0, 1, 2] = 1
    assert x.any(dim=(1, 2)).tolist() == [True, False]
    assert x.any(dim=(0, 2), keepdim=True).tolist() == [[[False], [True], [False]]]
    assert x.all(dim=(0, 1)).tolist() == [False] * 4


def test_a_compiled_cov_does_not_read_its_weights(rng):
    step = tg.compile(lambda x, w: tg.cov(x, fweights=w))
    for _ in range(2):
        x, w = rng.randn(3, 5), rng.randint(1, 4, 5)
        np.testing.assert_allclose(step(tg.tensor(x), tg.tensor(w)).numpy(), np.cov(x, fweights=w), rtol=1e-9)
