"""Module and Parameter: registration, walking, casting, saving and loading, printing."""

import copy

import numpy as np
import pytest

import tapegrad as tg
from models import array, mlp
from tapegrad import nn


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
