"""Containers, lazy layers, casts and assignment of states, and nn.utils."""

import copy
from collections import OrderedDict

import numpy as np
import pytest

import tapegrad as tg
from models import array, mlp
from tapegrad import nn


def test_module_list():
    a, b, c = nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 3)
    layers = nn.ModuleList([a, b])
    layers += [c]
    assert list(layers) == [a, b, c] and len(layers) == 3 and layers[-1] is c and layers[0:2][1] is b
    assert type(layers[1:]) is nn.ModuleList and list(layers[1:].state_dict()) == ["1.weight", "1.bias"]
    assert list(layers + [b]) == [a, b, c, b]  # noqa: RUF005
    layers.insert(0, c)
    assert layers.pop(0) is c
    layers[1] = nn.Tanh()
    del layers[0]
    assert [repr(m) for m in layers] == ["Tanh()", repr(c)]
    with pytest.raises(IndexError):
        layers[2]
    with pytest.raises(TypeError):
        layers.extend(3)
    with pytest.raises(NotImplementedError):
        layers(tg.ones(1))


def test_sequential_arithmetic():
    a, b = nn.Linear(2, 2), nn.ReLU()
    model = nn.Sequential(a) + nn.Sequential(b)
    assert list(model) == [a, b] and list(model * 2) == list(2 * model) == [a, b, a, b]
    model *= 2
    model += [b]
    assert list(model) == [a, b, a, b, b]
    with pytest.raises(TypeError):
        model + 3


def test_module_dict():
    a, b = nn.Linear(1, 2), nn.ReLU()
    layers = nn.ModuleDict({"one": a})
    layers["two"] = b
    layers.update([("three", b)])
    layers.update(nn.ModuleDict({"four": a}))
    assert list(layers) == ["one", "two", "three", "four"] and len(layers) == 4 and "two" in layers
    assert layers["one"] is a and list(layers.values())[1] is b and dict(layers.items())["three"] is b
    assert layers.pop("three") is b and "three" not in layers
    del layers["one"]
    assert list(layers.state_dict()) == ["four.weight", "four.bias"]
    layers.clear()
    assert not layers and repr(layers) == "ModuleDict()"
    for error, use in [
        (KeyError, lambda: layers["one"]),
        (KeyError, lambda: layers.pop("training")),
        (KeyError, lambda: layers.update({"keys": a})),
        (TypeError, lambda: layers.update({"x": 3})),
        (TypeError, lambda: layers.update(3)),
    ]:
        with pytest.raises(error):
            use()


def test_parameter_containers():
    values = nn.ParameterList([tg.ones(2), "text"])
    values.append(nn.Parameter(tg.zeros(3)))
    assert [name for name, _ in values.named_parameters()] == ["0", "2"]
    assert type(values[0]) is nn.Parameter and values[1] == "text" and len(values[:2]) == 2
    values[0] = tg.zeros(4)
    assert values[0].shape == (4,) and values[-1].shape == (3,) and len(list(values)) == 3
    with pytest.raises(IndexError):
        values[3]
    with pytest.raises(TypeError):
        values.extend(tg.ones(2))
    with pytest.raises(RuntimeError, match="should not be called"):
        values()
    named = nn.ParameterDict(OrderedDict(b=tg.ones(2), a=tg.zeros(1)))
    assert list(named) == ["b", "a"] and list(reversed(named)) == ["a", "b"]
    assert list(nn.ParameterDict({"b": tg.ones(2), "a": tg.zeros(1)})) == ["a", "b"]
    named["c"] = 3
    assert list(dict(named.named_parameters())) == ["b", "a"] and named.get("d") is None and named.get("c") == 3
    assert named.setdefault("d", tg.ones(1)) is named["d"] and named.popitem()[0] == "d"
    assert list(named | {"e": tg.ones(1)}) == ["b", "a", "c", "e"] and len(named.copy()) == 3
    assert named.copy()["a"] is named["a"] and list(named.fromkeys(["x"], tg.ones(1))) == ["x"]
    assert named.pop("c") == 3
    with pytest.raises(KeyError):
        named["keys"] = tg.ones(1)
    with pytest.raises(KeyError):
        named["none"]
    named.clear()
    assert len(named) == 0 and list(named.parameters()) == []
    twin = copy.deepcopy(nn.ParameterDict({"a": tg.ones(2)}))
    assert list(twin) == ["a"] and type(twin["a"]) is nn.Parameter


def test_lazy_linear():
    model = nn.Sequential(nn.LazyLinear(3, dtype=tg.float64), nn.ReLU())
    weight = model[0].weight
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
    assert repr(weight) == "<UninitializedParameter>" and type(copy.deepcopy(model)[0].weight) is type(weight)
    model(tg.ones(2, 4, dtype=tg.float64)).sum().backward()
    assert type(model[0]) is nn.Linear and model[0].weight is weight and type(weight) is nn.Parameter
    assert model[0].in_features == 4 and weight.shape == (3, 4) and weight.dtype == tg.float64
    optimizer.step()
    loaded = nn.Sequential(nn.LazyLinear(3), nn.ReLU())
    loaded.load_state_dict(model.state_dict())
    y = loaded(tg.ones(2, 4))
    np.testing.assert_allclose(array(y), array(model(tg.ones(2, 4, dtype=tg.float64))), rtol=1e-5)
    assert loaded[0].in_features == 4
    with pytest.raises(ValueError, match="linear"):
        loaded(tg.ones(2, 5))


def test_programs_for_several_devices():
    device = tg.device("cuda" if tg.cuda.is_available() else "cpu")
    model = nn.Sequential(nn.Linear(2, 3, device=device), nn.BatchNorm1d(3, device=device)).to(device)
    x = tg.ones(4, 2, device=device).to(device, non_blocking=True)
    assert model.to(x) is model and model.cpu() is model and model.to("cpu:0") is model
    assert model.to(device, tg.float64)[0].weight.dtype == tg.float64
    assert model.to(device=device, dtype=tg.float32)[1].num_batches_tracked.dtype == tg.int64
    assert model.type(tg.float64)[1].running_var.dtype == tg.float64
    for use in (
        model.cuda,
        lambda: model.to("cuda:1"),
        lambda: nn.Linear(2, 3, device="cuda"),
        lambda: nn.Embedding(2, 3, device="cuda"),
        lambda: nn.LazyLinear(3, device="meta"),
        lambda: nn.RMSNorm(3, device="cuda"),
    ):
        with pytest.raises(ValueError, match="CPU"):
            use()


def test_every_layer_with_parameters_takes_device_and_dtype():
    arguments = {"Linear": (2, 3), "LazyLinear": (3,), "Bilinear": (2, 2, 3), "LayerNorm": (3,), "RMSNorm": (3,)}
    arguments |= {"GroupNorm": (1, 3), "BatchNorm1d": (3,), "Embedding": (2, 3), "EmbeddingBag": (2, 3), "PReLU": ()}
    for name, values in arguments.items():
        layer = getattr(nn, name)(*values, device="cpu", dtype=tg.float64)
        assert {p.dtype for p in layer.parameters()} == {tg.float64}, name


def test_assigning_a_state():
    model = nn.Linear(2, 3)
    state = {"weight": tg.ones(3, 2, dtype=tg.float64), "bias": nn.Parameter(tg.zeros(3))}
    model.load_state_dict(state, assign=True)
    assert model.weight.dtype == tg.float64 and type(model.weight) is nn.Parameter and model.weight.requires_grad
    assert model.bias is state["bias"]
    state["weight"].fill_(4)
    assert array(model.weight).max() == 4
    into = {}
    assert nn.BatchNorm1d(2).state_dict(destination=into, prefix="n.") is into
    assert list(into) == [
        "n." + key for key in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    ]


def test_named_with_duplicates():
    layer = nn.Linear(2, 2)
    model = nn.Sequential(layer, layer)
    assert [name for name, _ in model.named_parameters(remove_duplicate=False)][2:] == ["1.weight", "1.bias"]
    assert [name for name, _ in model.named_modules(remove_duplicate=False)] == ["", "0", "1"]
    twice = nn.Sequential(nn.BatchNorm1d(2))
    twice.append(twice[0])
    assert len(list(twice.named_buffers(remove_duplicate=False))) == 6 and len(list(twice.buffers())) == 3


def test_batch_norm_refuses():
    with pytest.raises(ValueError, match="expected 2D or 3D input"):
        nn.BatchNorm1d(3)(tg.zeros(3))
    with pytest.raises(ValueError, match="more than one value per channel"):
        nn.BatchNorm1d(3)(tg.zeros(1, 3))
    with pytest.raises(ValueError, match="4 channels"):
        nn.BatchNorm1d(3)(tg.zeros(2, 4))
    with pytest.raises(ValueError, match="divisible"):
        nn.GroupNorm(2, 3)
    with pytest.raises(ValueError, match="at least one"):
        nn.RMSNorm(())
    with pytest.raises(TypeError, match="tuple of ints"):
        nn.Unflatten(1, (2, "3"))


def test_gradients_by_frequency():
    """Each row's gradient is divided by how often it was looked up (in PyTorch's EmbeddingBag: another row)."""
    x = tg.tensor([[1, 2, 1], [1, 0, 2]])
    weights = tg.arange(1.0, 5.0).reshape(2, 2)
    for make, rows in (
        (lambda s: nn.EmbeddingBag(4, 2, mode="sum", scale_grad_by_freq=s), 1),
        (lambda s: nn.Embedding(4, 2, scale_grad_by_freq=s), 3),
    ):
        gradients = []
        for scaled in (False, True):
            layer = make(scaled)
            y = layer(x)
            (y * (weights if rows == 1 else weights.unsqueeze(1))).sum().backward()
            gradients.append(array(layer.weight.grad))
        np.testing.assert_allclose(gradients[1], gradients[0] / np.array([[1], [3], [2], [1]]), rtol=1e-6)


def test_embedding_bags():
    layer = nn.EmbeddingBag.from_pretrained(tg.arange(8.0).reshape(4, 2), mode="max")
    assert not layer.weight.requires_grad
    assert layer(tg.tensor([3, 1]), tg.tensor([0, 0, 2])).tolist() == [[0, 0], [6, 7], [0, 0]]
    assert layer(tg.zeros(2, 0, dtype=tg.int64)).tolist() == [[0, 0], [0, 0]]
    table = nn.Embedding.from_pretrained(tg.ones(3, 2), freeze=False, padding_idx=0)
    assert table.weight.requires_grad and array(table.weight).all()
    for use in (
        lambda: layer(tg.tensor([1])),
        lambda: layer(tg.tensor([[1]]), tg.tensor([0])),
        lambda: layer(tg.tensor([[1]]), None, tg.ones(1, 1)),
        lambda: nn.EmbeddingBag(3, 2, mode="product")(tg.tensor([[1]])),
        lambda: nn.Embedding(3, 2, padding_idx=3),
        lambda: nn.Embedding(3, 2, _weight=tg.ones(2, 2)),
        lambda: nn.Embedding.from_pretrained(tg.ones(2)),
    ):
        with pytest.raises(ValueError):
            use()
    with pytest.raises(IndexError, match="embedding"):
        layer(tg.tensor([[4]]))


# nn.utils


def test_vectors():
    model = mlp()
    vector = nn.utils.parameters_to_vector(model.parameters())
    assert vector.shape == (sum(p.numel() for p in model.parameters()),) and vector.requires_grad
    weight = model[0].weight
    nn.utils.vector_to_parameters(vector.detach() * 2, model.parameters())
    np.testing.assert_allclose(array(nn.utils.parameters_to_vector(model.parameters())), 2 * array(vector))
    assert model[0].weight is weight
    with pytest.raises(ValueError, match="elements"):
        nn.utils.vector_to_parameters(vector[1:], model.parameters())


class Doubled(nn.Module):
    def forward(self, x):
        return 2 * x

    def right_inverse(self, x):
        return x / 2


class Squared(nn.Module):
    def forward(self, x):
        return x * x


def test_parametrizations():
    parametrize = nn.utils.parametrize
    layer = nn.Linear(3, 2)
    before = array(layer.weight).copy()
    assert parametrize.register_parametrization(layer, "weight", Doubled()) is layer
    assert isinstance(layer, nn.Linear) and parametrize.is_parametrized(layer, "weight")
    np.testing.assert_array_equal(array(layer.weight), before)
    parametrize.register_parametrization(layer, "weight", Squared())
    assert list(layer.state_dict()) == ["bias", "parametrizations.weight.original"]
    twin = copy.deepcopy(layer)
    layer.weight = tg.full((2, 3), 4.0)
    np.testing.assert_array_equal(array(layer.weight), np.full((2, 3), 16.0))
    assert not (array(twin.weight) == 16).any()
    parametrize.register_parametrization(layer, "bias", Doubled())
    layer(tg.ones(1, 3)).sum().backward()
    assert layer.parametrizations.weight.original.grad is not None
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer.weight) is nn.Parameter and array(layer.weight).max() == 16
    assert parametrize.is_parametrized(layer) and not parametrize.is_parametrized(layer, "weight")
    parametrize.remove_parametrizations(layer, "bias", leave_parametrized=False)
    assert type(layer) is nn.Linear and parametrize.is_parametrized(twin)
    assert sorted(layer.state_dict()) == ["bias", "weight"]
    with pytest.raises(ValueError, match="nothing"):
        parametrize.register_parametrization(layer, "nothing", Doubled())
    with pytest.raises(ValueError, match="unsafe"):
        parametrize.register_parametrization(layer, "weight", nn.Flatten(0))
    with pytest.raises(ValueError, match="parametrization"):
        parametrize.remove_parametrizations(layer, "weight")


def test_weight_norm_keeps_and_gives_back():
    layer = nn.Linear(3, 2)
    before = array(layer.weight).copy()
    nn.utils.weight_norm(layer)
    assert list(layer.state_dict()) == ["bias", "weight_g", "weight_v"] and repr(layer).startswith("Linear(")
    np.testing.assert_allclose(array(copy.deepcopy(layer).weight), before, rtol=1e-6)
    with pytest.raises(RuntimeError, match="two weight_norm"):
        nn.utils.weight_norm(layer)
    nn.utils.remove_weight_norm(layer)
    assert type(layer) is nn.Linear and sorted(layer.state_dict()) == ["bias", "weight"]
    for use in (nn.utils.remove_weight_norm, lambda m: nn.utils.weight_norm(m, "nothing")):
        with pytest.raises(ValueError):
            use(layer)


def test_trunc_normal_far_away():
    with pytest.warns(UserWarning, match="more than 2 std"):
        values = array(nn.init.trunc_normal_(tg.empty(50), mean=-3.0, std=0.4, a=-2.0, b=-1.5))
    assert values.min() >= -2 and values.max() <= -1.5
