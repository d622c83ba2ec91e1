"""Optimizers: rules, groups, state, errors; against PyTorch where it is installed."""

import copy

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")


def array(tensor):
    return tensor.detach().numpy()


def parameter(*values):
    return nn.Parameter(tg.tensor(values, dtype=tg.float64))


def descend(optimizer, params, steps):
    """Steps on f = 0.1 x1^2 + 2 x2^2, from a single parameter of two values."""
    for _ in range(steps):
        optimizer.zero_grad()
        x = params[0]
        (0.1 * x[0] * x[0] + 2 * x[1] * x[1]).backward()
        optimizer.step()
    return array(params[0])


# Values printed in Dive into Deep Learning for this function, from (-5, -2)
@pytest.mark.parametrize(
    ("options", "expected"),
    [({"lr": 0.4}, (-0.943467, -0.000073)), ({"lr": 0.4, "momentum": 0.5}, (-0.062843, 0.001202))],
)
def test_known_descent(options, expected):
    p = parameter(-5.0, -2.0)
    np.testing.assert_allclose(descend(optim.SGD([p], **options), [p], 20), expected, atol=5e-7)


def reference_sgd(p, grads, lr, momentum=0, dampening=0, weight_decay=0, nesterov=False, maximize=False):
    b = None
    for g in grads:
        g = (-g if maximize else g) + weight_decay * p
        if momentum:
            b = g if b is None else momentum * b + (1 - dampening) * g
            g = g + momentum * b if nesterov else b
        p = p - lr * g
    return p


def reference_adam(p, grads, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, maximize=False, decoupled=False):
    m = v = 0
    for t, g in enumerate(grads, 1):
        g = -g if maximize else g
        if decoupled:
            p = p * (1 - lr * weight_decay)
        else:
            g = g + weight_decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        p = p - lr * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
    return p


SGD_OPTIONS = [
    {},
    {"weight_decay": 0.1},
    {"momentum": 0.9},
    {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    {"momentum": 0.5, "maximize": True},
]
ADAM_OPTIONS = [{}, {"betas": (0.8, 0.9), "eps": 1e-4}, {"weight_decay": 0.1}, {"maximize": True}]


def run(make, grads, shapes, dtype=tg.float64):
    params = [nn.Parameter(tg.ones(shape, dtype=dtype)) for shape in shapes]
    optimizer = make(params)
    for step in grads:
        for p, g in zip(params, step, strict=True):
            p.grad = tg.tensor(g, dtype=dtype)
        optimizer.step()
    return [array(p) for p in params]


SHAPES = [(3, 4), (7,), (), (0, 2), (300, 70)]


def draw_gradients(steps=5):
    rng = np.random.RandomState(0)
    return [[np.array(rng.randn(*shape)) for shape in SHAPES] for _ in range(steps)]


@pytest.mark.parametrize("options", SGD_OPTIONS)
def test_sgd_rule(options):
    grads = draw_gradients()
    for i, actual in enumerate(run(lambda p: optim.SGD(p, lr=0.1, **options), grads, SHAPES)):
        expected = reference_sgd(np.ones(SHAPES[i]), [step[i] for step in grads], 0.1, **options)
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("options", ADAM_OPTIONS)
@pytest.mark.parametrize("kind", [optim.Adam, optim.AdamW])
def test_adam_rule(kind, options):
    grads = draw_gradients()
    options = {"weight_decay": 0.01, **options}
    for i, actual in enumerate(run(lambda p: kind(p, lr=0.1, **options), grads, SHAPES)):
        expected = reference_adam(
            np.ones(SHAPES[i]), [step[i] for step in grads], 0.1, decoupled=kind is optim.AdamW, **options
        )
        np.testing.assert_allclose(actual, expected, rtol=1e-11, atol=1e-13)


def test_parameters_without_gradient_stay_and_have_their_own_count():
    """A parameter left out of some steps behaves as if it had been stepped alone."""
    grads = draw_gradients(6)
    used = {0: [0, 1, 2, 3, 4, 5], 1: [1, 2, 4], 2: [3]}
    for make, reference in [
        (lambda p: optim.Adam(p, lr=0.1), reference_adam),
        (lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.5), lambda *a: reference_sgd(*a, 0.9, 0.5)),
    ]:
        params = [nn.Parameter(tg.ones(SHAPES[i], dtype=tg.float64)) for i in used]
        optimizer = make(params)
        for t in range(6):
            for i, p in enumerate(params):
                p.grad = tg.tensor(grads[t][i]) if t in used[i] else None
            optimizer.step()
        for i, p in enumerate(params):
            expected = reference(np.ones(SHAPES[i]), [grads[t][i] for t in used[i]], 0.1)
            np.testing.assert_allclose(array(p), expected, rtol=1e-11)
    unused = parameter(1.0)
    adam = optim.Adam([unused])
    adam.step()
    assert array(unused).tolist() == [1.0] and not adam.state


def test_groups_and_changed_options():
    a, b = parameter(1.0), parameter(1.0)
    optimizer = optim.SGD([{"params": [a]}, {"params": b, "lr": 0.5}], lr=0.1)
    assert [g["lr"] for g in optimizer.param_groups] == [0.1, 0.5]
    a.grad, b.grad = tg.tensor([1.0], dtype=tg.float64), tg.tensor([1.0], dtype=tg.float64)
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 0.2
    optimizer.step()
    np.testing.assert_allclose([a.item(), b.item()], [0.7, 0.0], atol=1e-15)
    c = parameter(1.0)
    optimizer.add_param_group({"params": [c], "momentum": 0.9})
    c.grad = tg.tensor([1.0], dtype=tg.float64)
    optimizer.step()
    assert "momentum_buffer" in optimizer.state[c]
    optimizer.param_groups[0]["params"] = []  # taken out
    before = a.item()
    optimizer.step()
    assert a.item() == before


def test_named_parameters():
    model = nn.Linear(2, 1)
    optimizer = optim.SGD(model.named_parameters())
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    assert optimizer.param_groups[0]["params"][0] is model.weight


def test_closure_and_zero_grad():
    p = parameter(2.0)
    optimizer = optim.SGD([p], lr=0.25)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with tg.no_grad():
        assert optimizer.step(closure).item() == 4.0
    assert p.item() == 1.0
    assert optimizer.step() is None
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.item() == 0.0
    optimizer.zero_grad()
    assert p.grad is None


def test_training_fits_a_line():
    tg.manual_seed(0)
    x = tg.randn(64, 2)
    y = x @ tg.tensor([[2.0], [-3.4]]) + 4.2
    for make in (lambda p: optim.SGD(p, lr=0.1, momentum=0.9), lambda p: optim.Adam(p, lr=0.3)):
        model = nn.Linear(2, 1)
        optimizer = make(model.parameters())
        for _ in range(200):
            loss = nn.functional.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert loss.item() < 1e-3


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda p: optim.SGD([]), ValueError, "optimizer got an empty parameter list"),
        (lambda p: optim.SGD(p), TypeError, "iterable"),
        (lambda p: optim.SGD([p, p]), ValueError, "twice"),
        (lambda p: optim.SGD([{"params": [p]}, {"params": [p]}]), ValueError, "more than one parameter group"),
        (lambda p: optim.SGD([p, 3]), TypeError, "one of the params is int"),
        (lambda p: optim.SGD([p * 2]), ValueError, "can't optimize a non-leaf Tensor"),
        (lambda p: optim.SGD([{"params": {p}}]), TypeError, "ordered collection"),
        (lambda p: optim.SGD([{"parms": [p]}]), KeyError, "params"),
        (lambda p: optim.SGD([("a", p), parameter(1.0)]), ValueError, "names are missing"),
        (lambda p: optim.SGD([p]).add_param_group([p]), TypeError, "must be a dict"),
        (lambda p: optim.SGD([p], lr=-1), ValueError, "Invalid learning rate: -1"),
        (lambda p: optim.SGD([p], lr=float("nan")), ValueError, "Invalid learning rate: nan"),
        (lambda p: optim.SGD([p], momentum=-1), ValueError, "Invalid momentum value: -1"),
        (lambda p: optim.SGD([p], weight_decay=-1), ValueError, "Invalid weight_decay value: -1"),
        (lambda p: optim.SGD([p], nesterov=True), ValueError, "Nesterov momentum requires a momentum"),
        (lambda p: optim.Adam([p], lr=-1), ValueError, "Invalid learning rate: -1"),
        (lambda p: optim.Adam([p], eps=-1), ValueError, "Invalid epsilon value: -1"),
        (lambda p: optim.Adam([p], betas=(1.0, 0.9)), ValueError, "Invalid beta parameter at index 0: 1.0"),
        (lambda p: optim.Adam([p], betas=(0.9, -0.1)), ValueError, "Invalid beta parameter at index 1: -0.1"),
        (lambda p: optim.Adam([p], betas=(0.9,)), ValueError, "betas should be two numbers"),
        (lambda p: optim.Adam([p], weight_decay=-1), ValueError, "Invalid weight_decay value: -1"),
        (lambda p: optim.Adam([p], amsgrad=True), ValueError, "amsgrad"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make(parameter(1.0))


# Saving and loading


@pytest.mark.parametrize("make", [lambda p: optim.SGD(p, lr=0.1, momentum=0.9), lambda p: optim.Adam(p, lr=0.1)])
def test_state_round_trip(make):
    """A run that is saved, loaded into new objects and continued gives the same bits."""
    grads = draw_gradients(4)

    def steps(optimizer, params, part):
        for step in part:
            for p, g in zip(params, step, strict=True):
                p.grad = tg.tensor(g)
            optimizer.step()

    params = [nn.Parameter(tg.ones(shape, dtype=tg.float64)) for shape in SHAPES]
    optimizer = make(params)
    steps(optimizer, params, grads[:2])
    saved = copy.deepcopy(optimizer.state_dict())
    others = [nn.Parameter(p.detach().clone()) for p in params]
    other = make(others)
    other.param_groups[0]["lr"] = 77.0
    other.load_state_dict(saved)
    assert other.param_groups[0]["lr"] == 0.1 and other.param_groups[0]["params"][0] is others[0]
    steps(optimizer, params, grads[2:])
    steps(other, others, grads[2:])
    for a, b in zip(params, others, strict=True):
        np.testing.assert_array_equal(array(a), array(b))
    assert saved["param_groups"][0]["params"] == [0, 1, 2, 3, 4]


def test_load_state_dict_errors_change_nothing():
    p, q = parameter(1.0, 2.0), parameter(1.0)
    optimizer = optim.Adam([p, q])
    state = optim.Adam([parameter(1.0, 2.0)]).state_dict()
    with pytest.raises(ValueError, match="different number of parameter groups"):
        optimizer.load_state_dict({"state": {}, "param_groups": []})
    with pytest.raises(ValueError, match="doesn't match the size"):
        optimizer.load_state_dict(state)
    state["param_groups"][0]["params"] = [0, 1]
    state["param_groups"][0]["lr"] = 5.0
    state["state"] = {0: {"step": 1, "exp_avg": np.zeros(3), "exp_avg_sq": np.zeros(2)}}
    with pytest.raises(ValueError, match=r"exp_avg of parameter 0 has shape \(3,\)"):
        optimizer.load_state_dict(state)
    state["state"] = {7: {}}
    with pytest.raises(ValueError, match="parameter 7"):
        optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] == 1e-3 and not optimizer.state


@pytest.mark.parametrize("kind", [int, float, np.float32, tg.tensor])
def test_saved_step_count_is_any_number(kind):
    def stepped(load):
        p = parameter(1.0, 2.0)
        optimizer = optim.Adam([p], lr=0.1)
        for i in range(4):
            p.grad = tg.tensor([1.0, i], dtype=tg.float64)
            optimizer.step()
            if load and i == 1:
                saved = optimizer.state_dict()
                saved["state"][0]["step"] = kind(2)
                optimizer.load_state_dict(saved)
        assert optimizer.state_dict()["state"][0]["step"].item() == 4.0
        return array(p)

    np.testing.assert_array_equal(stepped(True), stepped(False))


def test_repr():
    assert repr(optim.SGD([parameter(1.0)], lr=0.1)) == (
        "SGD (\nParameter Group 0\n    dampening: 0\n    lr: 0.1\n    maximize: False\n    momentum: 0\n"
        "    nesterov: False\n    weight_decay: 0\n)"
    )


# Against PyTorch


@pytest.mark.parametrize(
    ("name", "options"),
    [("SGD", options) for options in SGD_OPTIONS]
    + [("Adam", options) for options in ADAM_OPTIONS]
    + [("AdamW", {"weight_decay": 0.1})],
)
def test_same_steps_as_torch(torch, name, options):
    grads = draw_gradients()
    actual = run(lambda p: getattr(optim, name)(p, lr=0.1, **options), grads, SHAPES, tg.float32)
    params = [torch.nn.Parameter(torch.ones(shape)) for shape in SHAPES]
    optimizer = getattr(torch.optim, name)(params, lr=0.1, **options)
    for step in grads:
        for p, g in zip(params, step, strict=True):
            p.grad = torch.tensor(g, dtype=torch.float32)
        optimizer.step()
    for a, b in zip(actual, params, strict=True):
        np.testing.assert_allclose(a, b.detach().numpy(), rtol=2e-5, atol=2e-6)


def test_same_state_layout_as_torch(torch):
    def layout(lib, make):
        p, q = lib.nn.Parameter(lib.ones(2)), lib.nn.Parameter(lib.ones(3))
        optimizer = make(lib.optim)([{"params": [p]}, {"params": [q], "lr": 0.5}])
        p.grad = lib.ones(2)
        optimizer.step()
        optimizer.step()
        state = optimizer.state_dict()
        return {
            number: {name: np.asarray(value) for name, value in entries.items()}
            for number, entries in state["state"].items()
        }, [group["params"] for group in state["param_groups"]]

    for make in (lambda o: o.Adam, lambda o: lambda p: o.SGD(p, lr=0.1, momentum=0.9)):
        actual, expected = layout(tg, make), layout(torch, make)
        assert actual[1] == expected[1] and actual[0].keys() == expected[0].keys()
        for number in expected[0]:
            assert actual[0][number].keys() == expected[0][number].keys()
            for name in expected[0][number]:
                np.testing.assert_allclose(actual[0][number][name], expected[0][number][name], rtol=1e-6)
