"""Layers against torch.nn: same keys, shapes, initial weights, printed form, outputs, gradients and buffers."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest

import tapegrad as tg

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")


def floats(*shape):
    return np.random.RandomState(sum(shape)).randn(*shape).astype("f4")


def integers(*shape, high=7):
    return np.random.RandomState(0).randint(0, high, shape)


BAGS = (np.array([1, 2, 4, 5, 4, 3, 2, 6]), np.array([0, 3, 3, 5]))
# name: (the layer made from a library, its inputs)
LAYERS = {
    "Linear": (lambda lib: lib.nn.Linear(5, 3), [floats(4, 5)]),
    "Linear device": (lambda lib: lib.nn.Linear(5, 3, True, lib.device("cpu"), lib.float32), [floats(4, 5)]),
    "LazyLinear": (lambda lib: lib.nn.LazyLinear(3), [floats(4, 5)]),
    "LazyLinear without bias": (lambda lib: lib.nn.LazyLinear(3, bias=False, device="cpu"), [floats(4, 5)]),
    "Bilinear": (lambda lib: lib.nn.Bilinear(3, 4, 2), [floats(6, 3), floats(6, 4)]),
    "Bilinear without bias": (
        lambda lib: lib.nn.Bilinear(3, 4, 2, bias=False, device="cpu"),
        [floats(2, 6, 3), floats(2, 6, 4)],
    ),
    "LayerNorm": (lambda lib: lib.nn.LayerNorm((3, 4), device="cpu"), [floats(5, 3, 4)]),
    "LayerNorm without bias": (lambda lib: lib.nn.LayerNorm(4, 1e-3, True, False), [floats(5, 4)]),
    "RMSNorm": (lambda lib: lib.nn.RMSNorm(4), [floats(5, 4)]),
    "RMSNorm plain": (
        lambda lib: lib.nn.RMSNorm((3, 4), 1e-3, False, device="cpu"),
        [floats(5, 3, 4)],
    ),
    "GroupNorm": (lambda lib: lib.nn.GroupNorm(2, 6), [floats(5, 6)]),
    "GroupNorm plain": (lambda lib: lib.nn.GroupNorm(3, 6, affine=False, device="cpu"), [floats(5, 6, 4)]),
    "GroupNorm without bias": (lambda lib: lib.nn.GroupNorm(3, 6, bias=False), [floats(5, 6, 4)]),
    "BatchNorm1d": (lambda lib: lib.nn.BatchNorm1d(4), [floats(6, 4)]),
    "BatchNorm1d of sequences": (lambda lib: lib.nn.BatchNorm1d(4, device="cpu"), [floats(6, 4, 3)]),
    "BatchNorm1d mean of all": (lambda lib: lib.nn.BatchNorm1d(4, momentum=None), [floats(6, 4)]),
    "BatchNorm1d plain": (lambda lib: lib.nn.BatchNorm1d(4, affine=False, eps=1e-3), [floats(6, 4)]),
    "BatchNorm1d without buffers": (lambda lib: lib.nn.BatchNorm1d(4, track_running_stats=False), [floats(6, 4)]),
    "BatchNorm1d without bias": (lambda lib: lib.nn.BatchNorm1d(4, bias=False), [floats(6, 4)]),
    "Embedding": (lambda lib: lib.nn.Embedding(7, 3), [integers(4, 2)]),
    "Embedding padded": (lambda lib: lib.nn.Embedding(7, 3, padding_idx=-2, device="cpu"), [integers(4, 2)]),
    "Embedding max_norm": (lambda lib: lib.nn.Embedding(7, 3, max_norm=1), [integers(4, 2)]),
    "Embedding max_norm 1": (lambda lib: lib.nn.Embedding(7, 3, max_norm=0.5, norm_type=1), [integers(4, 2)]),
    "Embedding by frequency": (lambda lib: lib.nn.Embedding(7, 3, 2, scale_grad_by_freq=True), [integers(4, 2)]),
    **{
        f"EmbeddingBag {mode}": (lambda lib, mode=mode: lib.nn.EmbeddingBag(7, 3, mode=mode), [integers(4, 5)])
        for mode in ("sum", "mean", "max")
    },
    **{
        f"EmbeddingBag {mode} offsets": (
            lambda lib, mode=mode: lib.nn.EmbeddingBag(7, 3, mode=mode, padding_idx=4),
            BAGS,
        )
        for mode in ("sum", "mean", "max")
    },
    "EmbeddingBag last offset": (
        lambda lib: lib.nn.EmbeddingBag(7, 3, 2.0, include_last_offset=True),
        (BAGS[0], np.array([0, 2, 8])),
    ),
    "EmbeddingBag weighted": (lambda lib: lib.nn.EmbeddingBag(7, 3, mode="sum"), (*BAGS, floats(8))),
    "CosineSimilarity": (lambda lib: lib.nn.CosineSimilarity(), [floats(4, 5), floats(4, 5) + 1]),
    "CosineSimilarity dim": (lambda lib: lib.nn.CosineSimilarity(0, 1e-3), [floats(4, 5), floats(4, 5) + 1]),
    "PairwiseDistance": (lambda lib: lib.nn.PairwiseDistance(), [floats(4, 5), floats(4, 5) + 1]),
    "PairwiseDistance 3": (lambda lib: lib.nn.PairwiseDistance(3, keepdim=True), [floats(4, 5), floats(4, 5) + 1]),
    "Identity": (lambda lib: lib.nn.Identity(54, unused=True), [floats(4, 5)]),
    "Flatten": (lambda lib: lib.nn.Flatten(0, 1), [floats(4, 5, 3)]),
    "Unflatten": (lambda lib: lib.nn.Unflatten(1, (2, -1)), [floats(4, 6)]),
    "Dropout": (lambda lib: lib.nn.Dropout(1.0), [floats(4, 6)]),
    "AlphaDropout": (lambda lib: lib.nn.AlphaDropout(0.0), [floats(4, 6)]),
    "Sequential": (lambda lib: lib.nn.Sequential(OrderedDict(a=lib.nn.Linear(4, 3), b=lib.nn.Tanh())), [floats(2, 4)]),
    "Sequential part": (lambda lib: (lib.nn.Sequential(lib.nn.Linear(4, 3), lib.nn.Tanh()) * 2)[:2], [floats(2, 4)]),
    "ModuleList": (lambda lib: lib.nn.ModuleList([*(lib.nn.Linear(3, 3) for _ in range(3)), lib.nn.ReLU()]), None),
    "ModuleList nested": (lambda lib: lib.nn.ModuleList([lib.nn.Sequential(lib.nn.ReLU())] * 2), None),
    "ModuleList sum": (lambda lib: lib.nn.ModuleList([lib.nn.ReLU()]).__add__([lib.nn.Tanh()]), None),
    "ModuleList empty": (lambda lib: lib.nn.ModuleList(), None),
    "ModuleDict": (lambda lib: lib.nn.ModuleDict({"b": lib.nn.Linear(2, 2), "a": lib.nn.ReLU()}), None),
    "ParameterList": (lambda lib: lib.nn.ParameterList([lib.zeros(2, 3), lib.nn.Parameter(lib.ones(2)), "text"]), None),
    "ParameterDict": (lambda lib: lib.nn.ParameterDict({"b": lib.zeros(2, 3), "a": lib.ones(2)}), None),
    "weight_norm": (lambda lib: lib.nn.utils.parametrizations.weight_norm(lib.nn.Linear(4, 3)), [floats(2, 4)]),
    "weight_norm whole": (
        lambda lib: lib.nn.utils.parametrizations.weight_norm(lib.nn.Linear(4, 3), dim=None),
        [floats(2, 4)],
    ),
}


def make(lib, name):
    lib.manual_seed(3)
    return LAYERS[name][0](lib)


def arrays(state):
    return {key: value.detach().numpy() for key, value in state.items()}


def close(got, want, what=""):
    assert list(got) == list(want), what
    for key in want:
        assert got[key].shape == want[key].shape and got[key].dtype == want[key].dtype, f"{what} {key}"
        atol = 2e-6 * (1 + np.abs(want[key]).max(initial=0))
        np.testing.assert_allclose(got[key], want[key], rtol=2e-5, atol=atol, err_msg=f"{what} {key}")


def passed(lib, layer, inputs):
    """Outputs of two passes in training, one in eval(), gradients of inputs and parameters, and the state after."""
    results = {}
    lib.manual_seed(5)
    tensors = [lib.tensor(x) for x in inputs]
    for x in tensors:
        if x.is_floating_point():
            x.requires_grad_()
    for k in range(3):
        y = layer.train(k < 2)(*tensors)
        results[f"output {k}"] = y.detach().numpy()
        if y.requires_grad:
            (y * lib.arange(1.0, y.numel() + 1).reshape(y.shape)).sum().backward()
    results |= {f"input {i}": x.grad.numpy() for i, x in enumerate(tensors) if x.grad is not None}
    results |= {name: p.grad.numpy() for name, p in layer.named_parameters() if p.grad is not None}
    return results | {f"after {name}": value for name, value in arrays(layer.state_dict()).items()}


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name):
    ours, theirs = make(tg, name), make(torch, name)
    printed = repr(theirs).replace("torch.FloatTensor", "torch.float32").replace("torch.", "tapegrad.")
    assert repr(ours) == printed
    if name.startswith("Lazy"):
        assert list(ours.state_dict()) == list(theirs.state_dict())
    else:
        close(arrays(ours.state_dict()), arrays(theirs.state_dict()), "initial")
    inputs = LAYERS[name][1]
    if inputs is not None:
        close(passed(tg, ours, inputs), passed(torch, theirs, inputs))
        assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_norm_by_its_older_name(dim):
    results = []
    for lib in (tg, torch):
        lib.manual_seed(0)
        with pytest.warns() if lib is torch else np.errstate():
            layer = lib.nn.utils.weight_norm(lib.nn.Linear(4, 3), dim=dim)
        results.append((repr(layer), passed(lib, layer, [floats(5, 4)])))
        lib.nn.utils.remove_weight_norm(layer)
        results[-1] += (arrays(layer.state_dict()),)
    close(results[0][1], results[1][1])
    assert results[0][0] == results[1][0]
    assert {k: v.shape for k, v in results[0][2].items()} == {k: v.shape for k, v in results[1][2].items()}


INITS = [
    ("uniform_", {"a": -0.3, "b": 0.7}),
    ("normal_", {"std": 0.01}),
    ("trunc_normal_", {}),
    ("trunc_normal_", {"std": 0.02, "a": -0.03, "b": 0.03}),
    ("trunc_normal_", {"mean": 1.0, "a": 1.5, "b": 2.5}),
    ("trunc_normal_", {"a": -0.2, "b": 0.1}),
    ("constant_", {"val": 0.3}),
    ("ones_", {}),
    ("zeros_", {}),
    ("eye_", {}),
    ("xavier_uniform_", {"gain": 1.5}),
    ("xavier_normal_", {}),
    ("kaiming_uniform_", {"a": 0.1, "mode": "fan_out"}),
    ("kaiming_normal_", {"nonlinearity": "relu"}),
    ("orthogonal_", {"gain": 2.0}),
    ("sparse_", {"sparsity": 0.3, "std": 0.5}),
    ("dirac_", {"groups": 2}),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", INITS, ids=lambda case: " ".join(map(str, [case[0], *case[1].values()])))
def test_initialisation(case, dtype):
    name, options = case
    shapes = [(8, 3, 5), (4, 6, 3, 2)] if name == "dirac_" else [(33, 17), (17, 33)]
    if name in ("orthogonal_", "trunc_normal_", "kaiming_uniform_"):
        shapes.append((5, 4, 3))
    for shape in shapes:
        results = []
        for lib in (tg, torch):
            lib.manual_seed(7)
            weight = lib.nn.Parameter(lib.zeros(shape, dtype=getattr(lib, dtype)))
            assert getattr(lib.nn.init, name)(weight, **options) is weight
            results.append(weight.detach().numpy())
            results.append(lib.rand(3).numpy())  # as many draws were made
        np.testing.assert_allclose(results[0], results[2], rtol=2e-5, atol=2e-6)
        np.testing.assert_array_equal(results[1], results[3])


def test_gains():
    for name in ("linear", "conv1d", "conv_transpose3d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert tg.nn.init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    assert tg.nn.init.calculate_gain("leaky_relu", 0.2) == torch.nn.init.calculate_gain("leaky_relu", 0.2)


def test_state_dicts_are_exchanged():
    ours, theirs = make(tg, "BatchNorm1d"), make(torch, "BatchNorm1d")
    passed(torch, theirs, [floats(6, 4)])
    ours.load_state_dict(arrays(theirs.state_dict()))
    close(arrays(ours.state_dict()), arrays(theirs.state_dict()))
    assert ours.num_batches_tracked.item() == 2


@pytest.mark.filterwarnings("ignore:Full backward hook")
def test_calls_of_hooks():
    """Which hooks are called when, with what."""

    def record(lib):
        lib.manual_seed(0)
        layer, log = lib.nn.Linear(3, 2), []

        def show(value):
            if isinstance(value, (tuple, list)):
                return [show(v) for v in value]
            return value if value is None or isinstance(value, dict) else np.round(value.detach().numpy(), 4).tolist()

        layer.register_forward_pre_hook(lambda m, a: log.append(["pre", show(a)]))
        layer.register_forward_pre_hook(lambda m, a: (a[0] * 2,))
        layer.register_forward_pre_hook(
            lambda m, a, k: log.append(["first", show(a), k]), prepend=True, with_kwargs=True
        )
        layer.register_forward_hook(lambda m, a, y: log.append(["after", show(a), show(y)]))
        layer.register_forward_hook(lambda m, a, k, y: y + 1, with_kwargs=True)
        layer.register_full_backward_pre_hook(lambda m, g: log.append(["before backward", show(g)]))
        layer.register_full_backward_pre_hook(lambda m, g: (g[0] * 3,))
        layer.register_full_backward_hook(lambda m, i, o: log.append(["backward", show(i), show(o)]))
        handle = layer.register_full_backward_hook(lambda m, i, o: (i[0] * 5,))
        for wanted in (True, False):
            x = lib.ones(4, 3).requires_grad_(wanted)
            y = layer(x)
            y.sum().backward()
            log.append([show(y), show(x.grad), show(layer.weight.grad), y.requires_grad])
            handle.remove()
        return log

    assert record(tg) == record(torch)
