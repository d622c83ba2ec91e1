"""Against an installed PyTorch: errors at most twice its own, same dtypes, gradients, refusals and random stream."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from op_case import flat, in_dtype, leaves_in, reference, tensors
from op_cases import CASES

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # PyTorch's, about degrees of freedom
COMPARED = [c for c in CASES if c.parity]
FLOOR = 2.0  # units in the last place that we may always be off


def error_in_ulps(got: np.ndarray, truth: np.ndarray) -> float:
    """Largest error of float32 values, in units of the last place of the truth."""
    with np.errstate(all="ignore"):
        finite = np.isfinite(truth) & (np.abs(truth) < 3e38)
        spacing = np.spacing(np.maximum(np.abs(truth), 1e-37).astype(np.float32)).astype(np.float64)
        errors = np.abs(got.astype(np.float64) - truth) / spacing
    return float(np.max(errors, where=finite, initial=0))


@pytest.mark.parametrize("case", COMPARED, ids=lambda c: c.name)
def test_error_is_at_most_twice_pytorchs(case, rng):
    for sample in case.samples(rng):
        sample = in_dtype(sample, "float32")
        truth = reference(case, sample)
        ours = flat(case(tg, *tensors(tg, sample.args), **sample.kwargs))
        theirs = flat(case(torch, *tensors(torch, sample.args), **sample.kwargs))
        for a, b, t in zip(ours, theirs, truth, strict=True):
            assert tuple(a.shape) == tuple(b.shape)
            assert str(a.dtype).split(".")[-1] == str(b.dtype).split(".")[-1]
            a, b = a.numpy(), b.numpy()
            if a.dtype == np.float32:
                mine, other = error_in_ulps(a, t), error_in_ulps(b, t)
                # Sums that nearly cancel: count the error against the largest result.
                room = case.absolute * np.finfo("f4").eps * max(1.0, float(np.max(np.abs(t), initial=0)))
                near = np.allclose(a, t, rtol=FLOOR * 1.2e-7, atol=room / 4)
                assert mine <= max(2 * other, FLOOR) or near, (
                    f"{case.name} {sample.kwargs}: {mine} ulp, PyTorch {other}"
                )
            else:
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("case", [c for c in COMPARED if c.differentiable], ids=lambda c: c.name)
def test_gradients_are_pytorchs(case, rng):
    """In float64, ties and kinks of the samples included."""
    for sample in case.samples(rng):
        grads = []
        for T in (tg, torch):
            args = tensors(T, sample.args, requires_grad=True)
            outputs = [o for o in flat(case(T, *args, **sample.kwargs)) if o.requires_grad]
            loss = sum((o * (o.detach() * 0.3 + 0.5)).sum() for o in outputs)
            loss.backward()
            grads.append([t.grad.numpy() for t in leaves_in(T, args) if t.requires_grad])
        for a, b in zip(*grads, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10, err_msg=f"{case.name} {sample.kwargs}")


@pytest.mark.parametrize("case", [c for c in COMPARED if c.differentiable], ids=lambda c: c.name)
def test_gradient_error_is_at_most_twice_pytorchs(case, rng):
    """float32 gradients against float64 ones; errors as a fraction of the largest gradient."""
    for sample in [s for s in case.samples(rng) if s.grad]:
        narrow = in_dtype(sample, "float32")
        wide = in_dtype(narrow, "float64")
        truth = float_gradients(torch, case, wide)
        ours, theirs = float_gradients(tg, case, narrow), float_gradients(torch, case, narrow)
        for a, b, t in zip(ours, theirs, truth, strict=True):
            top = max(float(np.max(np.abs(t), initial=0)), 1e-3)
            mine, other = (float(np.max(np.abs(g - t), initial=0)) / top for g in (a, b))
            assert mine <= max(2 * other, 4e-7), f"{case.name} {sample.kwargs}: {mine:.1e}, PyTorch {other:.1e}"


def float_gradients(T, case, sample):
    """Gradients of the float arguments for one fixed incoming gradient."""
    args = tensors(T, sample.args, requires_grad=True)
    outputs = [o for o in flat(case(T, *args, **sample.kwargs)) if o.requires_grad]
    rng = np.random.RandomState(17)
    seeds = [T.tensor(np.asarray(rng.uniform(0.5, 1.5, tuple(o.shape)), "f4")).to(o.dtype) for o in outputs]
    sum((o * s).sum() for o, s in zip(outputs, seeds, strict=True)).backward()
    return [t.grad.numpy() for t in leaves_in(T, args) if t.requires_grad]


@pytest.mark.parametrize("case", [c for c in COMPARED if c.gradient_at], ids=lambda c: c.name)
def test_conventions_are_pytorchs(case):
    """The expected gradients at kinks and ties in the table are what PyTorch gives."""
    for values in case.gradient_at:
        count = len(values) // 2
        args = [torch.tensor(np.array(v)).requires_grad_() for v in values[:count]]
        flat(case(torch, *args))[0].sum().backward()
        for t, want in zip(args, values[count:], strict=True):
            np.testing.assert_allclose(t.grad.numpy(), want, rtol=1e-6, atol=1e-80, err_msg=case.name)


@pytest.mark.parametrize("case", [c for c in COMPARED if c.specials], ids=lambda c: c.name)
def test_special_values_are_pytorchs(case, rng):
    """nan, infinities and signs of zero come out where PyTorch has them."""
    for sample in case.specials(rng):
        sample = in_dtype(sample, "float64")
        ours = flat(case(tg, *tensors(tg, sample.args), **sample.kwargs))
        theirs = flat(case(torch, *tensors(torch, sample.args), **sample.kwargs))
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12, atol=1e-300, err_msg=case.name)


@pytest.mark.parametrize("case", [c for c in COMPARED if c.integers], ids=lambda c: c.name)
def test_integers_are_pytorchs(case, rng):
    for sample in case.integers(rng):
        ours = flat(case(tg, *tensors(tg, sample.args), **sample.kwargs))
        try:
            theirs = flat(case(torch, *tensors(torch, sample.args), **sample.kwargs))
        except NotImplementedError:  # gelu, silu and softplus take floats only
            continue
        for a, b in zip(ours, theirs, strict=True):
            assert str(a.dtype).split(".")[-1] == str(b.dtype).split(".")[-1], case.name
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6, err_msg=case.name)


ROWS = [(case, k) for case in COMPARED for k, bad in enumerate(case.errors) if not bad.ours_only]


@pytest.mark.parametrize(("case", "k"), ROWS, ids=[f"{case.name}-{k}" for case, k in ROWS])
def test_pytorch_refuses_what_the_table_calls_an_error(case, k):
    with pytest.raises((ValueError, TypeError, IndexError, RuntimeError)):
        case.errors[k].call(torch)


# The random stream


@pytest.mark.parametrize("seed", [0, 1024, 123456789])
def test_stream(seed):
    for T in (tg, torch):
        T.manual_seed(seed)
    pairs = []
    for T in (tg, torch):
        pairs.append([
            T.rand(100), T.randn(3), T.randn(37), T.rand(5, dtype=T.float64), T.randint(0, 1000, (20,)),
            T.randn(20, dtype=T.float64), T.empty(30).uniform_(-1, 2), T.empty(33).normal_(2, 3), T.rand(2),
        ])  # fmt: skip
    for a, b in zip(*pairs, strict=True):
        if a.dtype in (tg.float32, tg.float64):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6, atol=3e-6)
        else:
            np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("n", [0, 1, 2, 9, 100, 5000])
def test_randperm(n):
    for T in (tg, torch):
        T.manual_seed(n)
    assert tg.randperm(n).tolist() == torch.randperm(n).tolist()
    assert tg.rand(3).tolist() == torch.rand(3).tolist()


def test_initial_weights():
    for T in (tg, torch):
        T.manual_seed(11)
    for a, b in zip(tg.nn.Linear(7, 5).parameters(), torch.nn.Linear(7, 5).parameters(), strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-6)


def test_shuffled_batches():
    order = []
    for T, data in ((tg, tg.utils.data), (torch, torch.utils.data)):
        T.manual_seed(5)
        x = T.arange(50)
        loader = data.DataLoader(data.TensorDataset(x), batch_size=8, shuffle=True)
        order.append([[row.tolist() for (row,) in loader] for _ in range(2)])
    assert order[0] == order[1]


def test_training_follows_pytorch():
    """Ten Adam steps of an MLP from one seed: the losses agree to float32 rounding."""
    losses = []
    for T in (tg, torch):
        T.manual_seed(2)
        model = T.nn.Sequential(T.nn.Linear(20, 30), T.nn.ReLU(), T.nn.Linear(30, 4))
        optimizer = T.optim.Adam(model.parameters(), lr=1e-2)
        x, y = T.randn(64, 20), T.randint(0, 4, (64,))
        path = []
        for _ in range(10):
            loss = T.nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            path.append(loss.item())
        losses.append(path)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
