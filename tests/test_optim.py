"""Optimizers: groups, state, errors. Their rules: test_optim_rules.py."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim


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


def test_parameter_without_gradient_stays():
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
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make(parameter(1.0))


# Saving and loading


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
    assert repr(optim.Lion([parameter(1.0)], lr=0.1)) == (
        "Lion (\nParameter Group 0\n    betas: (0.9, 0.99)\n    lr: 0.1\n    maximize: False\n    weight_decay: 0.0\n)"
    )


def test_a_step_of_an_optimizers_own_counts(recwarn):
    class Halving(tg.optim.Optimizer):
        """Written as for PyTorch: a step that calls no other."""

        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        def step(self):
            return self.param_groups[0]["lr"]

    optimizer = Halving([tg.zeros(1, requires_grad=True)], lr=0.5)
    scheduler = tg.optim.lr_scheduler.StepLR(optimizer, 1)
    assert optimizer.step() == 0.5
    scheduler.step()
    assert not recwarn.list
