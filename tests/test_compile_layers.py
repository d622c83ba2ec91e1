"""Training with each layer, captured and replayed, against eager: the same losses and weights to the last bit."""

from __future__ import annotations

import pytest

import tapegrad as tg
from tapegrad import nn, optim
from test_compile_training import batches, both, standard_step


class Fed(nn.Module):
    """A layer of other inputs than one of floats: what it is called with, and what becomes of its output."""

    def __init__(self, layer, arguments, finish=lambda y, x: y):
        super().__init__()
        self.layer, self.arguments, self.finish = layer, arguments, finish

    def forward(self, x):
        return self.finish(self.layer(*self.arguments(x)), x)


class Held(nn.Module):
    """Applies the modules of a container."""

    def __init__(self, container):
        super().__init__()
        self.container = container

    def forward(self, x):
        for module in self.container.children():
            x = module(x)
        return x


class Scaled(nn.Module):
    """Scale and shift from a container of parameters."""

    def __init__(self, container):
        super().__init__()
        self.container = container

    def forward(self, x):
        scale, shift = self.container.values() if isinstance(self.container, nn.ParameterDict) else self.container
        return x * scale + shift


LAYERS = {
    **{name: kind for name, kind in vars(nn).items() if getattr(kind, "__module__", "") == nn.ReLU.__module__},
    "Linear": lambda: nn.Linear(16, 16),
    "Linear without bias": lambda: nn.Linear(16, 16, bias=False),
    "GELU tanh": lambda: nn.GELU("tanh"),
    "Threshold": lambda: nn.Threshold(0.1, 0.5),
    "GLU": lambda: nn.Sequential(nn.Linear(16, 32), nn.GLU()),
    **{name: lambda name=name: getattr(nn, name)(-1) for name in ("Softmax", "LogSoftmax", "Softmin")},
    "Softplus beta": lambda: nn.Softplus(beta=2.0, threshold=1.0),
    "LayerNorm": lambda: nn.LayerNorm(16),
    "LayerNorm plain": lambda: nn.LayerNorm(16, elementwise_affine=False),
    "Dropout": lambda: nn.Dropout(0.3),
    "Dropout none": lambda: nn.Dropout(0.0),
    "Dropout all": lambda: nn.Dropout(1.0),
    "RMSNorm": lambda: nn.RMSNorm(16),
    "GroupNorm": lambda: nn.GroupNorm(4, 16),
    "BatchNorm1d": lambda: nn.BatchNorm1d(16),
    "BatchNorm1d mean of all": lambda: nn.BatchNorm1d(16, momentum=None),
    "BatchNorm1d without buffers": lambda: nn.BatchNorm1d(16, track_running_stats=False),
    "AlphaDropout": lambda: nn.AlphaDropout(0.3),
    "Bilinear": lambda: Fed(nn.Bilinear(16, 16, 16), lambda x: (x, tg.tanh(x))),
    "CosineSimilarity": lambda: Fed(nn.CosineSimilarity(), lambda x: (x, tg.tanh(x)), lambda y, x: y.unsqueeze(1) * x),
    "PairwiseDistance": lambda: Fed(
        nn.PairwiseDistance(keepdim=True), lambda x: (x, tg.tanh(x) + 1), lambda y, x: y * x
    ),
    **{
        name: lambda make=make: Fed(make(), lambda x: (x.detach().argsort(1) // 2,), lambda y, x: y * x)
        for name, make in {
            "Embedding": lambda: nn.Sequential(
                nn.Embedding(8, 2, padding_idx=1, max_norm=1.0), nn.Flatten(), nn.Linear(32, 16)
            ),
            "Embedding by frequency": lambda: nn.Sequential(nn.Embedding(8, 1, scale_grad_by_freq=True), nn.Flatten()),
            "EmbeddingBag": lambda: nn.EmbeddingBag(8, 16),
            "EmbeddingBag max": lambda: nn.EmbeddingBag(8, 16, mode="max", padding_idx=3),
        }.items()
    },
    "EmbeddingBag offsets": lambda: Fed(
        nn.EmbeddingBag(12, 16, mode="sum"),
        lambda x: (x.detach()[:, 0].argsort(), tg.arange(12)),
        lambda y, x: y * x,
    ),
    "LazyLinear": lambda: nn.LazyLinear(16),
    "Linear weight_norm by parametrization": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(16, 16)),
    "Linear weight_norm": lambda: nn.utils.weight_norm(nn.Linear(16, 16)),
    "ModuleList": lambda: Held(nn.ModuleList([nn.Linear(16, 16), nn.Tanh()])),
    "ModuleDict": lambda: Held(nn.ModuleDict({"a": nn.Linear(16, 16), "b": nn.Tanh()})),
    "ParameterList": lambda: Scaled(nn.ParameterList([tg.ones(16), tg.zeros(16)])),
    "ParameterDict": lambda: Scaled(nn.ParameterDict({"a": tg.ones(16), "b": tg.zeros(16)})),
    "Identity": nn.Identity,
    "Flatten": nn.Flatten,
    "Unflatten": lambda: nn.Sequential(nn.Unflatten(1, (4, 4)), nn.Flatten()),
    "Sequential": lambda: nn.Sequential(nn.Linear(16, 16), nn.Sequential(nn.LayerNorm(16), nn.ReLU(), nn.Dropout(0.1))),
}
NOT_LAYERS = {"Module", "Parameter", "UninitializedParameter"} | {name for name in nn.__all__ if name.endswith("Loss")}


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, threads):
    def make():
        model = nn.Sequential(nn.Linear(6, 16), LAYERS[name](), nn.Linear(16, 4))
        return standard_step(model, optim.Adam(model.parameters(), lr=0.01), nn.CrossEntropyLoss())

    assert both(make, batches(), threads=threads) <= 2


def test_every_layer_is_here():
    names = {n for n in nn.__all__ if isinstance(getattr(nn, n), type)} - NOT_LAYERS
    assert {name.split()[0] for name in LAYERS} == names
