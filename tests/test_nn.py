"""Layers, losses, functions and initialisation; against PyTorch where it is installed."""

import numpy as np
import pytest

import tapegrad as tg
from models import array, mlp
from tapegrad import nn

F = nn.functional


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")


# Layers


def test_linear_values():
    layer = nn.Linear(3, 2)
    x = tg.randn(5, 3)
    np.testing.assert_allclose(
        array(layer(x)), array(x) @ array(layer.weight).T + array(layer.bias), rtol=1e-5, atol=1e-6
    )
    assert nn.Linear(3, 2, bias=False).bias is None
    assert nn.Linear(3, 2, dtype=tg.float64).weight.dtype == tg.float64
    assert abs(array(nn.Linear(100, 50).weight)).max() <= 0.1
    assert layer(tg.zeros(3)).shape == (2,) and layer(tg.zeros(4, 5, 3)).shape == (4, 5, 2)


def test_linear_without_inputs_or_outputs():
    layer = nn.Linear(0, 3)
    assert layer.weight.shape == (3, 0)
    assert array(layer.bias).tolist() == [0, 0, 0]
    assert array(layer(tg.zeros(2, 0))).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert nn.Linear(3, 0)(tg.zeros(2, 3)).shape == (2, 0)
    with pytest.raises((ValueError, RuntimeError)):
        nn.Linear(-1, 3)
    with pytest.raises(TypeError):
        nn.Linear(2.5, 3)


def test_linear_shape_error_names_both():
    with pytest.raises((ValueError, RuntimeError), match=r"4.*3|3.*4"):
        nn.Linear(3, 2)(tg.zeros(5, 4))


def test_known_start():
    tg.manual_seed(0)
    np.testing.assert_allclose(array(nn.Linear(2, 3).weight)[0], [-0.0053, 0.3793], atol=5e-5)


def test_activations():
    x = tg.tensor([-2.0, 0.0, 3.0])
    values = array(x)
    np.testing.assert_allclose(array(nn.ReLU()(x)), [0, 0, 3])
    np.testing.assert_allclose(array(nn.Tanh()(x)), np.tanh(values), rtol=1e-6)
    np.testing.assert_allclose(array(nn.Sigmoid()(x)), 1 / (1 + np.exp(-values)), rtol=1e-6)
    np.testing.assert_allclose(array(F.softmax(x, dim=0)).sum(), 1, rtol=1e-6)
    np.testing.assert_allclose(np.exp(array(F.log_softmax(x, dim=0))).sum(), 1, rtol=1e-6)
    assert array(x).tolist() == [-2, 0, 3]
    nn.ReLU(inplace=True)(x)
    assert array(x).tolist() == [-2, 0, 3]


def test_flatten_and_identity():
    x = tg.zeros(2, 3, 4, 5)
    assert nn.Flatten()(x).shape == (2, 60)
    assert nn.Flatten(0, 1)(x).shape == (6, 4, 5)
    assert nn.Identity("any", key=1)(x) is x
    with pytest.raises(IndexError):
        nn.Flatten(1, 2)(tg.zeros(2))


def test_dropout():
    layer = nn.Dropout(0.25)
    x = tg.ones(10000)
    y = array(layer(x))
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.02
    assert layer.eval()(x) is x
    assert not array(nn.Dropout(1.0)(x)).any()
    assert array(nn.Dropout(0.0)(x)).all()
    x.requires_grad_()
    y = layer.train()(x)
    y.sum().backward()
    np.testing.assert_array_equal(array(x.grad), array(y))
    tg.manual_seed(3)
    first = array(layer(x))
    tg.manual_seed(3)
    np.testing.assert_array_equal(first, array(layer(x)))
    for p in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            nn.Dropout(p)
        with pytest.raises(ValueError, match="between 0 and 1"):
            F.dropout(x, p)


def test_layer_norm():
    layer = nn.LayerNorm(4)
    assert layer.normalized_shape == (4,)
    assert array(layer.weight).tolist() == [1] * 4 and array(layer.bias).tolist() == [0] * 4
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    y = array(layer(5 + 3 * tg.randn(6, 4)))
    np.testing.assert_allclose(y.mean(1), np.zeros(6), atol=1e-6)
    np.testing.assert_allclose(y.var(1), np.ones(6), rtol=1e-3)
    plain = nn.LayerNorm([3, 4], eps=0.1, elementwise_affine=False)
    assert plain.weight is None and plain.bias is None and not list(plain.parameters())
    assert plain(tg.randn(2, 3, 4)).shape == (2, 3, 4)
    assert nn.LayerNorm(4, bias=False).bias is None
    assert nn.LayerNorm(4, dtype=tg.float64).weight.dtype == tg.float64


def test_layer_norm_errors():
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(4,\)"):
        nn.LayerNorm(4)(tg.zeros(2, 3))
    with pytest.raises(ValueError, match="at least one size"):
        nn.LayerNorm(())
    with pytest.raises(TypeError):
        nn.LayerNorm(2.5)


@pytest.mark.parametrize("mask", range(1, 8))
def test_layer_norm_gradients_of_some_inputs(mask):
    """Each is the same whichever others are asked for."""
    values = [tg.randn(3, 4), tg.randn(4), tg.randn(4)]

    def gradients(wanted):
        args = [v.detach().clone().requires_grad_(w) for v, w in zip(values, wanted, strict=True)]
        F.layer_norm(args[0], (4,), *args[1:]).square().sum().backward()
        return [t.grad for t in args]

    wanted = [bool(mask >> k & 1) for k in range(3)]
    for got, want, asked in zip(gradients(wanted), gradients([True] * 3), wanted, strict=True):
        assert (got is not None) == asked
        if asked:
            np.testing.assert_allclose(array(got), array(want), rtol=1e-6)


def test_sequential_is_a_sequence():
    a, b, c = nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 3)
    model = nn.Sequential(a, b, c)
    assert len(model) == 3 and list(model) == [a, b, c]
    assert model[0] is a and model[-1] is c
    part = model[1:]
    assert type(part) is nn.Sequential and list(part) == [b, c] and list(part.state_dict()) == ["2.weight", "2.bias"]
    d = nn.Tanh()
    assert model.append(d) is model and model[3] is d
    model[1] = nn.Sigmoid()
    assert repr(model[1]) == "Sigmoid()"
    del model[0]
    assert list(model)[1:] == [c, d] and [name for name, _ in model.named_children()] == ["0", "1", "2"]
    model.insert(0, a)
    assert model[0] is a and len(model) == 4
    assert model.pop(1) is not None and list(model) == [a, c, d]
    del model[1:]
    assert list(model) == [a]
    for i in (5, -6):
        with pytest.raises(IndexError):
            model[i]
    with pytest.raises(TypeError):
        model.append(3)
    with pytest.raises(TypeError):
        nn.Sequential(3)


class Double(nn.ReLU):
    def forward(self, input):
        return 2 * super().forward(input)


def apart(model, x):
    for layer in model:
        x = layer(x)
    return x


def same_as_apart(model, x):
    """The model gives the bits and the gradients of its layers called one by one."""
    y, expected = model(x), apart(model, x)
    weights = list(model.parameters())
    gradients, wanted = (tg.autograd.grad(r.square().sum(), weights) for r in (y, expected))
    for a, b in zip([y, *gradients], [expected, *wanted], strict=True):
        np.testing.assert_array_equal(array(a), array(b))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(4,), (5, 4), (2, 3, 4)], ids=str)
def test_sequential_is_its_layers_one_by_one(shape, bias):
    layers = [nn.Linear(4, 4, bias), nn.ReLU(), nn.Linear(4, 4, bias), nn.Linear(4, 4, bias), nn.Sigmoid(), nn.Tanh()]
    model = nn.Sequential(*layers, nn.Linear(4, 4, bias), Double(), nn.Linear(4, 4, bias), nn.GELU(), nn.Linear(4, 2))
    same_as_apart(model, tg.randn(*shape))
    same_as_apart(nn.Sequential(nn.Sequential(nn.Linear(4, 4)), nn.Tanh()), tg.randn(*shape))


def test_sequential_follows_its_changes(monkeypatch):
    x = tg.randn(5, 4)
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    same_as_apart(model, x)
    model[1] = nn.Tanh()
    same_as_apart(model, x)
    model.append(nn.Sigmoid()).insert(1, nn.Linear(4, 4))
    same_as_apart(model, x)
    del model[2]
    same_as_apart(model, x)
    model[0] = Double()
    same_as_apart(model, x)
    model[2].forward = lambda input: 3 * input
    same_as_apart(model, x)
    del model[2].forward
    model[1].forward = lambda input: input * model[1].weight.sum() + model[1].bias.sum()
    same_as_apart(model, x)
    del model[1].forward
    with monkeypatch.context() as patch:
        patch.setattr(nn.Sigmoid, "forward", lambda self, input: 5 * input)
        same_as_apart(model, x)
    with monkeypatch.context() as patch:
        patch.setattr(nn.Linear, "forward", lambda self, input: F.linear(input, self.weight, self.bias) + 1)
        same_as_apart(model, x)


# Losses and functions


def test_losses_values():
    rng = np.random.RandomState(0)
    scores, labels = rng.randn(6, 4).astype("f4"), rng.randint(0, 4, 6)
    logits = scores - scores.max(1, keepdims=True)
    expected = np.log(np.exp(logits).sum(1)) - logits[np.arange(6), labels]
    scores, labels = tg.tensor(scores), tg.tensor(labels)
    np.testing.assert_allclose(nn.CrossEntropyLoss()(scores, labels).item(), expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(nn.CrossEntropyLoss(reduction="sum")(scores, labels).item(), expected.sum(), rtol=1e-5)
    np.testing.assert_allclose(array(nn.CrossEntropyLoss(reduction="none")(scores, labels)), expected, rtol=1e-5)
    a, b = tg.randn(3, 2), tg.randn(3, 2)
    squared = (array(a) - array(b)) ** 2
    np.testing.assert_allclose(nn.MSELoss()(a, b).item(), squared.mean(), rtol=1e-5)
    np.testing.assert_allclose(nn.MSELoss(reduction="sum")(a, b).item(), squared.sum(), rtol=1e-5)
    np.testing.assert_allclose(array(nn.MSELoss(reduction="none")(a, b)), squared, rtol=1e-5)


def test_losses_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match=r"\(3, 1\).*\(3,\)|\[3, 1\].*\[3\]"):
        nn.MSELoss()(tg.zeros(3, 1), tg.zeros(3))
    with pytest.raises((IndexError, ValueError)):
        nn.CrossEntropyLoss()(tg.zeros(2, 3), tg.tensor([0, 3]))
    with pytest.raises((ValueError, RuntimeError)):
        nn.CrossEntropyLoss()(tg.zeros(2, 3), tg.tensor([0, 1, 2]))
    for loss in (nn.MSELoss, nn.CrossEntropyLoss):
        with pytest.raises(ValueError, match="average is not a valid value for reduction"):
            loss(reduction="average")


def test_one_hot():
    assert array(F.one_hot(tg.tensor([0, 2]))).tolist() == [[1, 0, 0], [0, 0, 1]]
    assert F.one_hot(tg.tensor([[0, 1]]), 4).shape == (1, 2, 4)
    assert F.one_hot(tg.zeros(0, dtype=tg.int64), 4).shape == (0, 4)
    for labels, classes in (([0, 3], 3), ([-1, 0], 3), ([0], 0)):
        with pytest.raises(IndexError):
            F.one_hot(tg.tensor(labels), classes)
    with pytest.raises(ValueError):
        F.one_hot(tg.zeros(2))


# Initialisation


def test_init_values():
    weight = nn.Parameter(tg.empty(200, 300))
    assert nn.init.constant_(weight, 2.5) is weight and (array(weight) == 2.5).all()
    assert not array(nn.init.zeros_(weight)).any() and array(nn.init.ones_(weight)).all()
    for fill, std in [
        (lambda w: nn.init.normal_(w, 0, 0.01), 0.01),
        (lambda w: nn.init.uniform_(w, -1, 1), 1 / np.sqrt(3)),
        (lambda w: nn.init.xavier_uniform_(w), np.sqrt(2 / 500)),
        (lambda w: nn.init.xavier_normal_(w, gain=2), 2 * np.sqrt(2 / 500)),
        (lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu"), np.sqrt(2 / 300)),
        (lambda w: nn.init.kaiming_normal_(w, mode="fan_out", nonlinearity="tanh"), 5 / 3 / np.sqrt(200)),
    ]:
        values = array(fill(weight))
        assert weight.is_leaf and weight.requires_grad
        np.testing.assert_allclose(values.std(), std, rtol=0.02)
        assert abs(values.mean()) < 0.02 * std


def test_init_errors():
    with pytest.raises(ValueError, match="fewer than 2 dimensions"):
        nn.init.xavier_uniform_(tg.zeros(3))
    with pytest.raises(ValueError, match="fan_in"):
        nn.init.kaiming_uniform_(tg.zeros(3, 2), mode="fan")
    with pytest.raises(ValueError, match="nothing"):
        nn.init.calculate_gain("nothing")


# Against PyTorch


def test_same_start_as_torch(torch):
    for seed in (0, 1024):
        torch.manual_seed(seed)
        expected = mlp(torch.nn).state_dict()
        tg.manual_seed(seed)
        actual = mlp().state_dict()
        assert list(actual) == list(expected)
        for key in expected:
            np.testing.assert_array_equal(array(actual[key]), expected[key].numpy(), err_msg=key)


def test_same_initialisation_as_torch(torch):
    for name, options in [
        ("normal_", {"std": 0.01}),
        ("uniform_", {"a": -0.3, "b": 0.7}),
        ("xavier_uniform_", {"gain": 1.5}),
        ("xavier_normal_", {}),
        ("kaiming_uniform_", {"a": 0.1, "mode": "fan_out"}),
        ("kaiming_normal_", {"nonlinearity": "relu"}),
    ]:
        torch.manual_seed(7)
        expected = getattr(torch.nn.init, name)(torch.empty(33, 17), **options).numpy()
        tg.manual_seed(7)
        actual = array(getattr(nn.init, name)(tg.empty(33, 17), **options))
        # uniform values are bits of the generator; normal ones go through log, cos and sin
        np.testing.assert_allclose(actual, expected, rtol=0 if "uniform" in name else 2e-5, atol=1e-7, err_msg=name)


def test_same_repr_as_torch(torch):
    assert repr(mlp()) == repr(mlp(torch.nn))
    for make in (
        lambda nn: nn.Sequential(nn.Sequential(), nn.Sequential(nn.Sequential(nn.Linear(1, 1)))),
        lambda nn: nn.CrossEntropyLoss(),
        lambda nn: nn.Flatten(0),
        lambda nn: nn.LayerNorm((3, 4), bias=False),
    ):
        assert repr(make(nn)) == repr(make(torch.nn))


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_same_gradients_as_torch(torch, loss):
    def gradients(lib, x, y):
        lib.manual_seed(1)
        model = mlp(lib.nn).eval()
        make = lib.nn.MSELoss if loss == "mse" else lib.nn.CrossEntropyLoss
        value = make()(model(x), y)
        value.backward()
        return [value.detach().numpy()] + [p.grad.numpy() for p in model.parameters()]

    rng = np.random.RandomState(0)
    x = rng.randn(12, 4).astype("f4")
    y = rng.rand(12, 3).astype("f4") if loss == "mse" else rng.randint(0, 3, 12)
    expected = gradients(torch, torch.tensor(x), torch.tensor(y))
    actual = gradients(tg, tg.tensor(x), tg.tensor(y))
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
