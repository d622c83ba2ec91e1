"""Hooks of modules, the place of an error in a model, and summary()."""

import copy

import numpy as np
import pytest

import tapegrad as tg
from models import array
from tapegrad import nn


def test_forward_hooks_come_and_go():
    layer, x, log = nn.Linear(2, 2), tg.ones(1, 2), []
    plain = array(layer(x))
    handles = [
        layer.register_forward_pre_hook(lambda m, args: log.append((m, args))),
        layer.register_forward_pre_hook(lambda m, args: args[0] * 0),
        layer.register_forward_hook(lambda m, args, y: y + 1),
    ]
    np.testing.assert_allclose(array(layer(x)), array(layer.bias)[None] + 1)
    assert log == [(layer, (x,))]
    for handle in handles:
        handle.remove()
        handle.remove()
    np.testing.assert_array_equal(array(layer(x)), plain)
    with layer.register_forward_hook(lambda m, args, y: y * 0):
        assert not array(layer(x)).any()
    np.testing.assert_array_equal(array(layer(x)), plain)
    with pytest.raises(TypeError, match="function"):
        layer.register_forward_hook(3)


def test_hooks_with_keywords():
    class Scaled(nn.Module):
        def forward(self, x, *, by=1):
            return x * by

    layer = Scaled()
    layer.register_forward_pre_hook(lambda m, args, kwargs: (args, {"by": kwargs["by"] + 1}), with_kwargs=True)
    layer.register_forward_hook(lambda m, args, kwargs, y: y + kwargs["by"], with_kwargs=True)
    assert layer(tg.ones(1), by=3).tolist() == [8]
    layer.register_forward_pre_hook(lambda m, args, kwargs: 3, with_kwargs=True)
    with pytest.raises(RuntimeError, match="pre-hook must return"):
        layer(tg.ones(1), by=3)


def test_hook_that_is_always_called():
    layer, log = nn.Linear(2, 2), []
    layer.register_forward_hook(lambda m, args, y: log.append("not"))
    layer.register_forward_hook(lambda m, args, y: log.append(y), always_call=True)
    with pytest.raises(ValueError, match="linear"):
        layer(tg.ones(3))
    assert log == [None]


def test_hooks_of_a_layer_in_a_sequential():
    """Not fused with its neighbour then."""
    model, log = nn.Sequential(nn.Linear(2, 2), nn.ReLU()), []
    for layer in model:
        layer.register_forward_hook(lambda m, args, y: log.append(type(m).__name__))
    model(tg.ones(1, 2))
    copy.deepcopy(model)(tg.ones(1, 2))
    assert log == ["Linear", "ReLU"] * 2


def test_backward_hooks():
    layer, log = nn.Linear(2, 2, bias=False), []
    layer.register_full_backward_hook(lambda m, given, made: log.append((given, made)))
    x = tg.ones(3, 2, requires_grad=True)
    layer(x).sum().backward()
    ((given,), (made,)) = log[0]
    np.testing.assert_array_equal(array(given), array(x.grad))
    assert array(made).tolist() == [[1, 1]] * 3
    layer.register_full_backward_hook(lambda m, given, made: (given[0] * 0,))
    x.grad = None
    y = layer(x)
    y.sum().backward(retain_graph=True)
    y.sum().backward()
    assert not array(x.grad).any() and len(log) == 3
    layer.register_full_backward_hook(lambda m, given, made: (None, None))
    with pytest.raises(RuntimeError, match="number of grad"):
        layer(x).sum().backward()
    with tg.no_grad():
        assert not layer(x).requires_grad


def test_backward_hooks_of_several_inputs_and_outputs():
    class Both(nn.Module):
        def forward(self, a, text, b):
            return {"sum": a + b, "text": text, "product": a * b}

    layer, log = Both(), []
    layer.register_full_backward_pre_hook(lambda m, made: log.append(made))
    layer.register_full_backward_hook(lambda m, given, made: log.append(given))
    a, b = tg.ones(2, requires_grad=True), tg.full((2,), 3.0)
    out = layer(a, "x", b)
    (out["sum"] + 2 * out["product"]).sum().backward()
    (made, given) = log
    assert [None if g is None else g.tolist() for g in made] == [[1, 1], None, [2, 2]]
    assert [None if g is None else g.tolist() for g in given] == [[7, 7], None, None]
    assert a.grad.tolist() == [7, 7]


def test_hooks_are_not_captured():
    layer = nn.Linear(2, 2)
    step = tg.compile(lambda x: layer(x).sum())
    x = tg.ones(1, 2)
    plain = step(x).item()
    handle = layer.register_forward_hook(lambda m, args, y: y + 1)
    with pytest.raises(tg.CaptureError, match="hook of a Linear"):
        step(x)
    handle.remove()
    assert step(x).item() == plain
    layer.register_forward_hook(lambda m, args, y: y + 1)
    step = tg.compile(lambda x: layer(x).sum(), fallback=True)
    with pytest.warns(RuntimeWarning, match="hook of a Linear"):
        step(x)
    assert step(x).item() == pytest.approx(plain + 2)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.ModuleList(
            [nn.Linear(4, 5), nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(7, 3), nn.Tanh())]
        )

    def forward(self, x):
        for layer in self.body:
            x = layer(x)
        return x


def test_errors_name_the_layer():
    with pytest.raises(ValueError, match=r"^model\.body\.1\.2 \(Linear\(7 -> 3\)\): linear: .*\(2, 6\).*\(3, 7\)"):
        Net()(tg.zeros(2, 4))
    model = nn.Sequential(nn.Sequential(), nn.LayerNorm(3))
    with pytest.raises(ValueError, match=r"^model\.1 \(LayerNorm\(\(3,\), eps=1e-05, .*\)\): layer_norm"):
        model(tg.zeros(2, 4))
    with pytest.raises(IndexError, match=r"^model\.0 \(Embedding\(4, 3\)\): embedding: .*index 9"):
        nn.Sequential(nn.Embedding(4, 3))(tg.tensor([9]))
    with pytest.raises(ValueError, match=r"^linear"):
        nn.Linear(3, 2)(tg.zeros(4))
    with pytest.raises(TypeError, match=r"^model\.0 "):
        nn.Sequential(nn.Linear(3, 2))("text")


def test_other_exceptions_pass_as_they_are():
    class Raises(nn.Module):
        def __init__(self, error):
            super().__init__()
            self.error = error

        def forward(self, x):
            raise self.error

    for error in (KeyError("name"), StopIteration(3), ValueError("a", "b"), ValueError(3), NotImplementedError("this")):
        before = error.args
        with pytest.raises(type(error)) as caught:
            nn.Sequential(Raises(error))(1)
        assert caught.value is error and error.args == before
    hidden = Raises(ValueError("text"))
    outer = nn.Sequential(Raises(ValueError("text")))
    outer[0].forward = lambda x: hidden(x)  # a module that is nobody's child
    with pytest.raises(ValueError, match=r"^text$"):
        outer(1)


def test_summary():
    model = nn.Sequential(
        nn.Linear(784, 256), nn.ReLU(), nn.Sequential(nn.LayerNorm(256), nn.Dropout()), nn.Linear(256, 10)
    )
    model[3].bias.requires_grad_(False)
    found = tg.summary(model, (64, 784))
    assert [row.name for row in found.rows] == ["", "0", "1", "2", "2.0", "2.1", "3"]
    assert found.rows[1].kind == "Linear" and found.rows[1].input == (64, 784) and found.rows[1].output == (64, 256)
    assert found.rows[1].parameters == 784 * 256 + 256 and found.rows[1].flops >= 2 * 64 * 784 * 256
    assert found.total_parameters == sum(p.numel() for p in model.parameters())
    assert found.trainable_parameters == found.total_parameters - 10
    assert found.total_flops == sum(row.flops for row in found.rows)
    text = str(found)
    assert "  2    Sequential" in text and "200,960" in text and "25.7 M" in text and "10 of them not trained" in text
    assert repr(found) == text
    assert "<td" in found._repr_html_() and "(64, 784)" in found._repr_html_()
    assert all(module.training for module in model.modules())
    assert not any(module.__dict__.get("_hooks") for module in model.modules())


def test_summary_of_other_inputs():
    table = tg.summary(nn.Embedding(5, 3), (2, 4), dtype=tg.int64)
    assert table.rows[0].output == (2, 4, 3)
    assert tg.summary(nn.Bilinear(3, 4, 2), [(6, 3), tg.ones(6, 4)]).rows[0].output == (6, 2)
    assert tg.summary(nn.Embedding(5, 3), tg.tensor([1, 2])).rows[0].input == (2,)
    lazy = nn.Sequential(nn.LazyLinear(3))
    assert tg.summary(lazy, (2, 4)).total_parameters == 15
    with pytest.raises(ValueError, match=r"model\.0"):
        tg.summary(lazy, (2, 5))
    assert not lazy[0].__dict__.get("_hooks") and lazy.training
    with pytest.raises(TypeError, match="module"):
        tg.summary(3, (2, 4))
