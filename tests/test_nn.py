"""Module, layers, losses and initialisation; against PyTorch where it is installed."""

import copy
from collections import OrderedDict

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn

F = nn.functional


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")


def array(tensor):
    return tensor.detach().numpy()


def mlp(nn=nn):
    return nn.Sequential(
        nn.Linear(4, 8),
        nn.ReLU(),
        nn.Sequential(OrderedDict(inner=nn.Linear(8, 6, bias=False), act=nn.Tanh())),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Identity(),
        nn.Linear(6, 3),
        nn.Sigmoid(),
    )


class Scaled(nn.Module):
    """One of everything that can be registered."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(tg.ones(3))
        self.register_parameter("shift", None)
        self.register_buffer("mean", tg.zeros(3))
        self.register_buffer("scratch", tg.zeros(2), persistent=False)
        self.layer = nn.Linear(3, 2)
        self.note = "plain"

    def forward(self, x):
        return self.layer(x * self.scale - self.mean)


# Module


def test_registration_and_order():
    module = Scaled()
    assert [name for name, _ in module.named_parameters()] == ["scale", "layer.weight", "layer.bias"]
    assert [name for name, _ in module.named_buffers()] == ["mean", "scratch"]
    assert [name for name, _ in module.named_modules()] == ["", "layer"]
    assert list(module.children()) == [module.layer]
    assert list(module.state_dict()) == ["scale", "mean", "layer.weight", "layer.bias"]
    assert list(module._parameters) == ["scale", "shift"]
    assert list(module.parameters(recurse=False)) == [module.scale]
    assert next(name for name, _ in module.named_parameters(prefix="net")) == "net.scale"
    assert module.shift is None
    assert module.get_parameter("layer.weight") is module.layer.weight
    assert module.get_buffer("mean") is module.mean
    assert module.get_submodule("layer") is module.layer
    assert module.get_submodule("") is module


def test_assignment_follows_what_a_name_is():
    module = Scaled()
    with pytest.raises(TypeError, match="as parameter 'scale'"):
        module.scale = tg.ones(3)
    with pytest.raises(TypeError, match="as module 'layer'"):
        module.layer = 3
    with pytest.raises(TypeError, match="as buffer 'mean'"):
        module.mean = "text"
    module.mean = tg.ones(3)
    assert "mean" in module.state_dict()
    module.scale = None
    assert module.scale is None and "scale" not in module.state_dict()
    module.note = nn.Parameter(tg.zeros(1))  # a plain attribute turns into a parameter
    assert "note" in dict(module.named_parameters())
    module.note = nn.Linear(1, 1)  # and that into a module
    assert "note" not in dict(module.named_parameters()) and "note.weight" in dict(module.named_parameters())
    del module.note
    assert not hasattr(module, "note") and "note.weight" not in module.state_dict()


@pytest.mark.parametrize(
    ("register", "error"),
    [
        (lambda m: m.register_buffer("a.b", None), KeyError),
        (lambda m: m.register_buffer("", None), KeyError),
        (lambda m: m.register_buffer("scale", None), KeyError),
        (lambda m: m.register_buffer("b", 3), TypeError),
        (lambda m: m.register_buffer(3, None), TypeError),
        (lambda m: m.register_parameter("note", None), KeyError),
        (lambda m: m.register_parameter("p", tg.ones(1)), TypeError),
        (lambda m: m.add_module("forward", nn.ReLU()), KeyError),
        (lambda m: m.add_module("m", 3), TypeError),
        (lambda m: m.get_submodule("layer.weight"), AttributeError),
        (lambda m: m.get_submodule("nothing"), AttributeError),
        (lambda m: m.get_parameter("mean"), AttributeError),
        (lambda m: m.get_buffer("scale"), AttributeError),
        (lambda m: m.nothing, AttributeError),
        (lambda m: m.train("yes"), ValueError),
        (lambda m: nn.Module()(1), NotImplementedError),
        (lambda m: m._modules.update(layer=nn.ReLU()), AttributeError),
    ],
)
def test_bad_use(register, error):
    with pytest.raises(error):
        register(Scaled())


def test_use_before_init():
    class Early(nn.Module):
        def __init__(self, what):
            self.what = what

    with pytest.raises(AttributeError, match=r"before Module.__init__\(\) call"):
        Early(nn.Linear(1, 1))
    with pytest.raises(AttributeError, match=r"before Module.__init__\(\) call"):
        Early(nn.Parameter(tg.zeros(1)))
    with pytest.raises(AttributeError, match=r"before Module.__init__\(\) call"):
        list(Early(3).parameters())
    with pytest.raises(AttributeError, match=r"before Module.__init__\(\) call"):
        Early(3).register_buffer("b", None)


def test_shared_parameter_comes_once():
    a, b = nn.Linear(3, 3), nn.Linear(3, 3)
    b.weight = a.weight
    model = nn.Sequential(a, b, a)
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias", "1.bias"]
    assert len(list(model.modules())) == 3
    assert len(list(model.children())) == 2
    assert list(model.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias"]


def test_train_eval_apply_requires_grad():
    model = mlp()
    assert model.eval() is model and not any(m.training for m in model.modules())
    assert all(m.training for m in model.train().modules())
    seen = []
    assert model.apply(lambda m: seen.append(type(m).__name__)) is model
    assert seen[-1] == "Sequential" and len(seen) == 11
    model.requires_grad_(False)
    assert not any(p.requires_grad for p in model.parameters())


def test_zero_grad():
    layer = nn.Linear(2, 2)
    layer(tg.ones(1, 2)).sum().backward()
    layer.zero_grad(set_to_none=False)
    assert array(layer.weight.grad).tolist() == [[0, 0], [0, 0]]
    layer.zero_grad()
    assert layer.weight.grad is None


def test_casts_keep_the_parameter_objects():
    module = Scaled()
    module.register_buffer("count", tg.zeros(1, dtype=tg.int64))
    module(tg.ones(1, 3)).sum().backward()
    before = list(module.parameters())
    assert module.double() is module
    assert all(a is b for a, b in zip(before, module.parameters(), strict=True))
    assert {p.dtype for p in module.parameters()} == {tg.float64}
    assert module.scale.grad.dtype == tg.float64 and module.mean.dtype == tg.float64
    assert module.count.dtype == tg.int64
    assert module(tg.ones(1, 3, dtype=tg.float64)).dtype == tg.float64
    assert module.float().to("cpu").scale.dtype == tg.float32
    assert module.to(tg.float64).scale.requires_grad
    with pytest.raises(TypeError, match="int64"):
        module.to(tg.int64)
    with pytest.raises(ValueError, match="CPU"):
        module.to("cuda")


def test_deepcopy_is_independent():
    model = mlp()
    shared = copy.deepcopy(nn.Sequential(model, model))
    assert shared[0] is shared[1]
    other = copy.deepcopy(model)
    assert repr(other) == repr(model)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert type(b) is nn.Parameter and a is not b and b.requires_grad
        np.testing.assert_array_equal(array(a), array(b))
    with tg.no_grad():
        other[0].weight.zero_()
    assert array(model[0].weight).any()
    assert array(Scaled().mean).shape == array(copy.deepcopy(Scaled()).mean).shape


def test_state_dict_round_trip():
    a, b = Scaled(), Scaled()
    with tg.no_grad():
        a.mean.fill_(5)
    result = b.load_state_dict(a.state_dict())
    assert result == ([], []) and repr(result) == "<All keys matched successfully>"
    for key, value in a.state_dict().items():
        np.testing.assert_array_equal(array(value), array(b.state_dict()[key]))
        assert not value.requires_grad
    assert b.state_dict(keep_vars=True)["scale"] is b.scale
    assert next(iter(a.state_dict(prefix="net."))) == "net.scale"
    b.load_state_dict({key: array(value) * 2 for key, value in a.state_dict().items()})
    assert array(b.mean).tolist() == [10, 10, 10]
    a.state_dict()["mean"].zero_()  # it shares memory
    assert array(a.mean).tolist() == [0, 0, 0]


def test_load_state_dict_names_all_that_is_wrong_and_copies_nothing():
    layer = nn.Linear(2, 3)
    before = array(layer.weight).copy()
    with pytest.raises(RuntimeError) as caught:
        layer.load_state_dict({"weight": tg.zeros(2, 2), "more": tg.zeros(1)})
    message = str(caught.value)
    assert 'Missing key(s) in state_dict: "bias"' in message
    assert 'Unexpected key(s) in state_dict: "more"' in message
    assert "size mismatch for weight" in message and "(2, 2)" in message and "(3, 2)" in message
    result = layer.load_state_dict({"bias": tg.zeros(3), "more": 0}, strict=False)
    assert result.missing_keys == ["weight"] and result.unexpected_keys == ["more"]
    assert array(layer.bias).tolist() == [0, 0, 0]
    with pytest.raises(RuntimeError, match="size mismatch"):
        layer.load_state_dict({"weight": tg.zeros(1), "bias": tg.ones(3)}, strict=False)
    assert array(layer.bias).tolist() == [0, 0, 0]
    with pytest.raises(RuntimeError, match="expected a tensor"):
        layer.load_state_dict({"weight": 3, "bias": tg.zeros(3)})
    with pytest.raises(TypeError):
        layer.load_state_dict(3)
    np.testing.assert_array_equal(before, array(layer.weight))


def test_repr():
    assert repr(mlp()) == (
        "Sequential(\n"
        "  (0): Linear(in_features=4, out_features=8, bias=True)\n"
        "  (1): ReLU()\n"
        "  (2): Sequential(\n"
        "    (inner): Linear(in_features=8, out_features=6, bias=False)\n"
        "    (act): Tanh()\n"
        "  )\n"
        "  (3): Dropout(p=0.25, inplace=False)\n"
        "  (4): Flatten(start_dim=1, end_dim=-1)\n"
        "  (5): Identity()\n"
        "  (6): Linear(in_features=6, out_features=3, bias=True)\n"
        "  (7): Sigmoid()\n"
        ")"
    )
    assert repr(Scaled()) == "Scaled(\n  (layer): Linear(in_features=3, out_features=2, bias=True)\n)"
    assert repr(nn.Sequential()) == "Sequential()"
    assert repr(nn.ReLU(inplace=True)) == "ReLU(inplace=True)"
    assert repr(nn.Parameter(tg.zeros(2))).startswith("Parameter containing:\ntensor([0., 0.]")


# Parameter


def test_parameter():
    data = tg.zeros(2)
    parameter = nn.Parameter(data)
    assert isinstance(parameter, tg.Tensor) and parameter.requires_grad and parameter.is_leaf
    data.fill_(3)
    assert array(parameter).tolist() == [3, 3]
    assert not nn.Parameter(data, requires_grad=False).requires_grad
    with tg.no_grad():
        assert nn.Parameter(data).requires_grad
    assert type(parameter * 2) is tg.Tensor
    assert nn.Parameter().numel() == 0
    assert {parameter: 1}[parameter] == 1
    with pytest.raises(TypeError, match="list"):
        nn.Parameter([1.0, 2.0])
    with pytest.raises(RuntimeError):
        nn.Parameter(tg.zeros(2, dtype=tg.int64))


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
        with pytest.raises(ValueError):
            F.one_hot(tg.tensor(labels), classes)
    with pytest.raises(TypeError):
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
