"""Every optimizer's steps: against its formula, against PyTorch over 100 steps, for any number of threads and ISA."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import tapegrad as tg
from optim_cases import CASES, IDS, NOT_IN_TORCH, OPTIONS, reference
from tapegrad import nn, optim

LR = 0.01
SHAPES = [(3, 4), (7,), (), (0, 2), (40, 13)]
cases = pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
each = pytest.mark.parametrize("name", OPTIONS)


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")


@pytest.fixture
def in_float64():
    """The counts of NAdam have the default dtype, here as in PyTorch."""
    tg.set_default_dtype(tg.float64)
    yield
    tg.set_default_dtype(tg.float32)


def shapes_of(name, shapes=SHAPES):
    return [shape for shape in shapes if len(shape) == 2] if name == "Muon" else shapes


def draw(shapes, steps, seed=0):
    """Gradients with some noise, some zeros, and scales that differ from element to element."""
    rng = np.random.default_rng(seed)
    scales = [np.exp(rng.normal(size=shape)) for shape in shapes]
    return [
        [np.asarray(s * (rng.normal(size=s.shape) + 0.3) * (rng.random(s.shape) > 0.02)) for s in scales]
        for _ in range(steps)
    ]


def stepped(lib, make, grads, dtype, start=1.0):
    """(parameters, optimizer) after steps with these gradients."""
    shapes = [g.shape for g in grads[0]]
    params = [lib.nn.Parameter(lib.full(shape, start, dtype=dtype)) for shape in shapes]
    optimizer = make(params)
    step_with(lib, optimizer, params, grads, dtype)
    return params, optimizer


def step_with(lib, optimizer, params, grads, dtype):
    for step in grads:
        for p, g in zip(params, step, strict=True):
            p.grad = lib.tensor(g, dtype=dtype)
        optimizer.step()


def arrays(params):
    return [p.detach().numpy() for p in params]


@cases
def test_formula(name, options, in_float64):
    grads = draw(shapes_of(name), 12)
    params, _ = stepped(tg, lambda p: getattr(optim, name)(p, lr=LR, **options), grads, tg.float64)
    for i, actual in enumerate(arrays(params)):
        expected = reference(name, np.ones(actual.shape), [step[i] for step in grads], LR, **options)
        np.testing.assert_allclose(actual, expected, rtol=1e-11, atol=1e-12)


def same_as_torch(torch, name, options, dtype, rtol, atol):
    if name in NOT_IN_TORCH:
        pytest.skip("not part of PyTorch")
    grads = draw(shapes_of(name), 100)
    actual, _ = stepped(tg, lambda p: getattr(optim, name)(p, lr=LR, **options), grads, getattr(tg, dtype))
    make = getattr(torch.optim, name)
    expected, _ = stepped(
        torch,
        lambda p: make(p, lr=LR, foreach=False, **options) if name != "Muon" else make(p, lr=LR, **options),
        grads,
        getattr(torch, dtype),
    )
    for a, b in zip(arrays(actual), arrays(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


@pytest.fixture
def exact_muon(torch, monkeypatch):
    """PyTorch's Muon rounds to bfloat16 before its iteration; not so here."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda tensor: tensor.clone())


@cases
def test_100_steps_as_in_torch(torch, name, options, exact_muon):
    same_as_torch(torch, name, options, "float32", 2e-5, 2e-5 if name == "Muon" else 2e-6)


@cases
def test_100_steps_as_in_torch_float64(torch, name, options, exact_muon, in_float64):
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        same_as_torch(torch, name, options, "float64", 1e-11, 1e-11)
    finally:
        torch.set_default_dtype(before)


@each
def test_training_as_in_torch(torch, name, exact_muon):
    """A small net, where rounding comes back through the gradients."""
    if name in NOT_IN_TORCH:
        pytest.skip("not part of PyTorch")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 5)), rng.normal(size=(32, 2))
    start = [0.4 * rng.normal(size=shape) for shape in [(8, 5), (2, 8)]]
    losses = []
    for lib in (tg, torch):
        params = [lib.nn.Parameter(lib.tensor(value)) for value in start]
        optimizer = getattr(lib.optim, name)(params, lr=LR)
        losses.append([])
        for _ in range(100):
            optimizer.zero_grad()
            hidden = lib.tanh(lib.tensor(x) @ params[0].T)
            loss = ((hidden @ params[1].T - lib.tensor(y)) ** 2).mean()
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    np.testing.assert_allclose(*losses, rtol=1e-5 if name == "NAdam" else 1e-8)
    assert losses[0][-1] < losses[0][0]


@each
def test_defaults_are_those_of_torch(torch, name):
    if name in NOT_IN_TORCH:
        pytest.skip("not part of PyTorch")
    ours, theirs = (
        getattr(lib.optim, name)([lib.nn.Parameter(lib.ones(2, 2))]).state_dict()["param_groups"] for lib in (tg, torch)
    )
    assert ours == theirs


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each
def test_same_bits_for_any_number_of_threads(name, dtype):
    shapes = shapes_of(name, [(300, 170), (70_001,), (5,)])
    grads = draw(shapes, 3)
    results = []
    for threads in (1, 2, 3, 4):
        with tg.threads(threads):
            made = [
                stepped(tg, lambda p, o=o: getattr(optim, name)(p, **o), grads, getattr(tg, dtype))
                for o in OPTIONS[name][-2:]
            ]
        results.append([value.tobytes() for params, _ in made for value in arrays(params)])
    assert all(result == results[0] for result in results)


@cases
def test_state_goes_to_torch_and_back(torch, name, options, exact_muon):
    """Keys and layout are PyTorch's; a run may go on in either library."""
    if name in NOT_IN_TORCH:
        pytest.skip("not part of PyTorch")
    shapes = shapes_of(name, SHAPES[:3])
    grads = draw(shapes, 9)
    runs = {}
    for lib in (tg, torch):
        runs[lib] = (
            *stepped(lib, lambda p, lib=lib: getattr(lib.optim, name)(p, lr=LR, **options), grads[:3], lib.float32),
            lib,
        )
    ours, theirs = runs[tg][1].state_dict(), runs[torch][1].state_dict()
    assert ours["param_groups"] == theirs["param_groups"]
    assert {n: list(s) for n, s in ours["state"].items()} == {n: list(s) for n, s in theirs["state"].items()}
    for number, entries in theirs["state"].items():
        for key, value in entries.items():
            got = ours["state"][number][key]
            assert tuple(got.shape) == tuple(value.shape) and str(got.dtype)[9:] == str(value.dtype)[6:], key
            np.testing.assert_allclose(got.detach().numpy(), value.numpy(), rtol=1e-4, atol=1e-6)
    finals = []
    for lib, other, state in ((tg, torch, theirs), (torch, tg, ours)):
        make = getattr(lib.optim, name)
        params = [lib.nn.Parameter(lib.tensor(value)) for value in arrays(runs[other][0])]
        optimizer = make(params, lr=0.5)
        optimizer.load_state_dict(converted(lib, state))
        step_with(lib, optimizer, params, grads[3:], lib.float32)
        finals.append(arrays(params))
    step_with(tg, runs[tg][1], runs[tg][0], grads[3:], tg.float32)
    for result in finals:
        for a, b in zip(result, arrays(runs[tg][0]), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5)


def converted(lib, state):
    """A state_dict with its tensors as those of another library."""

    def convert(value):
        if isinstance(value, dict):
            return {key: convert(item) for key, item in value.items()}
        return lib.tensor(value.detach().numpy()) if hasattr(value, "detach") else value

    return {"state": convert(state["state"]), "param_groups": copy.deepcopy(state["param_groups"])}


@each
def test_saved_run_goes_on_with_the_same_bits(name):
    options = OPTIONS[name][-1]
    grads = draw(shapes_of(name), 6)
    params, optimizer = stepped(tg, lambda p: getattr(optim, name)(p, lr=LR, **options), grads[:3], tg.float32)
    others = [nn.Parameter(p.detach().clone()) for p in params]
    other = getattr(optim, name)(others, lr=0.5)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    copied = copy.deepcopy(optimizer)
    for one, its in ((optimizer, params), (other, others), (copied, copied.param_groups[0]["params"])):
        step_with(tg, one, its, grads[3:], tg.float32)
    for a, b, c in zip(arrays(params), arrays(others), arrays(copied.param_groups[0]["params"]), strict=True):
        assert a.tobytes() == b.tobytes() == c.tobytes()


@each
def test_parameters_have_their_own_counts(name):
    """A parameter left out of some steps, or added later, behaves as if it had been stepped alone."""
    used = {0: [0, 1, 2, 3, 4, 5], 1: [1, 2, 4], 2: [3, 5]}
    shapes = [(3, 4), (4, 3), (2, 2)]
    grads = draw(shapes, 6)
    options = OPTIONS[name][-1]
    params = [nn.Parameter(tg.ones(shape, dtype=tg.float64)) for shape in shapes]
    optimizer = getattr(optim, name)(params[:2], lr=LR, **options)
    for t in range(6):
        if t == 3:
            optimizer.add_param_group({"params": [params[2]]})
        for i, p in enumerate(params):
            p.grad = tg.tensor(grads[t][i]) if t in used[i] else None
        optimizer.step()
    for i, p in enumerate(params):
        expected = reference(name, np.ones(shapes[i]), [grads[t][i] for t in used[i]], LR, **options)
        np.testing.assert_allclose(p.detach().numpy(), expected, rtol=1e-6 if name == "NAdam" else 1e-11, atol=1e-12)


@each
def test_groups_have_their_own_options(name):
    grads = draw([(3, 4), (3, 4)], 4)
    params = [nn.Parameter(tg.ones(3, 4, dtype=tg.float64)) for _ in range(2)]
    optimizer = getattr(optim, name)([{"params": [params[0]]}, {"params": params[1], "lr": 0.03}], lr=LR)
    step_with(tg, optimizer, params, grads, tg.float64)
    for i, lr in enumerate([LR, 0.03]):
        expected = reference(name, np.ones((3, 4)), [step[i] for step in grads], lr)
        np.testing.assert_allclose(params[i].detach().numpy(), expected, rtol=1e-6 if name == "NAdam" else 1e-11)


@each
def test_not_contiguous(name):
    grads = draw([(4, 3)], 3)
    results = []
    for make in (lambda a: tg.tensor(a), lambda a: tg.tensor(np.ascontiguousarray(a.T)).T):
        p = nn.Parameter(make(np.ones((4, 3))))
        optimizer = getattr(optim, name)([p], lr=LR, **OPTIONS[name][-1])
        for step in grads:
            p.grad = make(step[0])
            optimizer.step()
        results.append(p.detach().numpy().copy())
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: optim.NAdam(p, momentum_decay=-1), "Invalid momentum_decay value: -1"),
        (lambda p: optim.RAdam(p, betas=(1.0, 0.9)), "Invalid beta parameter at index 0: 1.0"),
        (lambda p: optim.Adamax(p, eps=-1), "Invalid epsilon value: -1"),
        (lambda p: optim.Adagrad(p, lr_decay=-1), "Invalid lr_decay value: -1"),
        (lambda p: optim.Adagrad(p, initial_accumulator_value=-1), "Invalid initial_accumulator_value value: -1"),
        (lambda p: optim.RMSprop(p, alpha=-1), "Invalid alpha value: -1"),
        (lambda p: optim.RMSprop(p, momentum=-1), "Invalid momentum value: -1"),
        (lambda p: optim.Adadelta(p, rho=1.5), "Invalid rho value: 1.5"),
        (lambda p: optim.Rprop(p, etas=(1.2, 0.5)), "Invalid eta values: 1.2, 0.5"),
        (lambda p: optim.Lion(p, lr=-1), "Invalid learning rate: -1"),
        (lambda p: optim.Lion(p, betas=(0.9,)), "betas should be two numbers"),
        (lambda p: optim.Muon(p, adjust_lr_fn="best"), "Adjust learning rate function best is not supported"),
        (lambda p: optim.Muon(p, ns_steps=100), "ns_steps must be at least 0 and less than 100"),
        (lambda p: optim.Muon(p, ns_coefficients=(1, 2)), "exactly 3 values"),
        (lambda p: optim.Muon([tg.nn.Parameter(tg.ones(3))]), "Muon only supports 2D parameters"),
        (lambda p: optim.Adam(p, lr=tg.ones(2)), "Tensor lr must be 1-element"),
        (lambda p: optim.Adam(p, differentiable=True), "differentiable=True is not supported"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make([nn.Parameter(tg.ones(2, 2))])


def test_choice_that_is_none():
    p = nn.Parameter(tg.ones(2, 2))
    p.grad = tg.ones(2, 2)
    optimizer = optim.Muon([p])
    optimizer.param_groups[0]["adjust_lr_fn"] = "best"
    with pytest.raises(TypeError, match=r"option 'adjust_lr_fn' must be one of .*, got 'best'"):
        optimizer.step()


def test_options_of_other_implementations_change_nothing():
    p = nn.Parameter(tg.ones(2))
    optim.SGD([p], fused=True, foreach=False)
    optim.AdamW([p], fused=True, capturable=True)
    optim.Adadelta([p], foreach=True, capturable=True)
