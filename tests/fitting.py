"""A small classification problem, a model for it and a short fit(), for the tests of fit's options."""

import numpy as np

import tapegrad as tg
from tapegrad import nn

CAPTURED = [False, True]


def classes(n=60, classes=3, seed=0):
    random = np.random.RandomState(seed)
    y = random.randint(0, classes, n)
    x = random.randn(n, 4).astype(np.float32)
    x[np.arange(n), y] += 2
    return x, y


def make_model(seed=0, outputs=3, dtype=tg.float32):
    tg.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, outputs)).to(dtype)


def short_fit(model, train, **options):
    settings = {"loss": "cross_entropy", "optimizer": "sgd", "lr": 0.1, "epochs": 2, "progress": False}
    return tg.fit(model, train, **{**settings, "shuffle": False, **options})


def weights_of(model):
    return [p.detach().numpy().copy() for p in model.parameters()]


def assert_close(a, b, rtol=1e-12):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol)
