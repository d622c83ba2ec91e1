"""What the tests of callbacks share: a run that is told the values of its epochs, and a small problem for fit."""

from __future__ import annotations

import numpy as np

import tapegrad as tg
from tapegrad import nn, optim


def problem(n=64):
    """Three classes of points, (X, y) as arrays."""
    random = np.random.RandomState(0)
    y = random.randint(0, 3, n)
    x = random.randn(n, 4).astype(np.float32)
    x[:, :3] += 2 * np.eye(3, dtype=np.float32)[y]
    return x, y


def network(dropout=0.0):
    """A small net with a buffer, the same at each call."""
    tg.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 3))


def train(model, **options):
    """fit() on the problem, quietly; returns the History."""
    settings = {
        "loss": "cross_entropy", "optimizer": "adam", "epochs": 4, "batch_size": 16, "progress": False, **options,
    }  # fmt: skip
    return tg.fit(model, problem(), **settings)


def weights(model):
    """Copies of all parameters and buffers, as arrays by name."""
    return {name: tensor.detach().numpy().copy() for name, tensor in model.state_dict().items()}


def same(a, b):
    """Asserts that two nests of weights are equal bit for bit."""
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


class Run:
    """Stands in for the run of fit(): epochs() gives a callback rows of the history, one epoch each.

    The model's single parameter is set to the number of the epoch, its buffer to ten times as much.
    """

    def __init__(self, names=("loss", "val_loss")):
        self.model = nn.Linear(1, 1, bias=False)
        self.model.register_buffer("count", tg.zeros(1))
        self.optimizer = optim.SGD(self.model.parameters(), lr=1.0)
        self.history = tg.History([*names, "seconds", "steps"])
        self.epochs, self.epoch, self.step = 100, 0, 0
        self.stopped, self.resumed = None, False

    def stop(self, reason):
        self.stopped = reason

    def save(self, path):
        tg.save(self.model.state_dict(), path)

    def set_weights(self, value):
        with tg.no_grad():
            self.model.weight.fill_(value)
            self.model.count.fill_(10 * value)

    def resume(self, callback, name, values, state):
        """Brings itself and the callback to where a run was that has had these values."""
        self.resumed = True
        callback.on_fit_begin(self)
        callback.load_state_dict(state)
        for value in values:
            self.history.append({name: value, "steps": 5})
        self.epoch, self.step = len(values), 5 * len(values)

    def epochs_of(self, callback, name, values):
        """Goes on until the callback stops it; returns the number of the last epoch."""
        if self.step == 0:
            callback.on_fit_begin(self)
        for value in values:
            if self.stopped:
                break
            self.epoch += 1
            self.step += 5
            self.set_weights(self.epoch)
            self.history.append({name: value, "steps": 5})
            callback.on_epoch_end(self)
        return self.epoch
