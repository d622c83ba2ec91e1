"""What else the programs of "Dive into Deep Learning" call, written as they write it."""

from __future__ import annotations

import math
from collections import OrderedDict

import numpy as np
import pytest

import tapegrad as torch
from tapegrad import nn

init = nn.init


def train(step, data, epochs):
    for _ in range(epochs):
        for X, y in data:
            step(X, y)


def test_polynomials():
    """Features by cat and pow; a cubic polynomial is found."""
    n_train, n_test, true_w, true_b = 100, 100, [1.2, -3.4, 5.6], 5
    features = torch.randn((n_train + n_test, 1))
    poly_features = torch.cat((features, torch.pow(features, 2), torch.pow(features, 3)), 1)
    labels = (
        true_w[0] * poly_features[:, 0] + true_w[1] * poly_features[:, 1] + true_w[2] * poly_features[:, 2] + true_b
    )
    labels += torch.tensor(np.random.RandomState(0).normal(0, 0.01, size=labels.size()), dtype=torch.float)
    net = nn.Linear(poly_features.shape[-1], 1)
    loss = torch.nn.MSELoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    dataset = torch.utils.data.TensorDataset(poly_features[:n_train, :], labels[:n_train])

    def step(X, y):
        l = loss(net(X), y.view(-1, 1))
        optimizer.zero_grad()
        l.backward()
        optimizer.step()

    train(step, torch.utils.data.DataLoader(dataset, 10, shuffle=True), 100)
    test_labels = labels[n_train:].view(-1, 1)
    assert loss(net(poly_features[n_train:, :]), test_labels).item() < 0.01
    np.testing.assert_allclose(net.weight.data.numpy(), [true_w], atol=0.1)


def test_weight_decay():
    """A penalty in the loss, two optimizers, and one with groups take the same path."""
    n_train, num_inputs, lr, wd = 20, 200, 0.003, 3
    features = torch.randn((n_train, num_inputs))
    labels = torch.matmul(features, torch.ones(num_inputs, 1) * 0.01) + 0.05
    first_w = torch.randn((num_inputs, 1))
    paths = []
    for kind in ("penalty", "two optimizers", "groups"):
        net = nn.Linear(num_inputs, 1)
        w, b = net.weight, net.bias
        w.data = first_w.t().clone()
        b.data.fill_(0)
        groups = [{"params": [w], "weight_decay": wd}, {"params": [b]}]
        if kind == "groups":
            optimizers = [torch.optim.SGD(groups, lr=lr)]
        elif kind == "two optimizers":
            optimizers = [torch.optim.SGD(lr=lr, **group) for group in groups]
        else:
            optimizers = [torch.optim.SGD(net.parameters(), lr=lr)]
        path = []
        for _ in range(100):
            l = ((net(features) - labels) ** 2 / 2).mean()
            if kind == "penalty":
                l = l + wd * ((w**2).sum() / 2)
            l = l.sum()
            for optimizer in optimizers:
                optimizer.zero_grad()
            l.backward()
            for optimizer in optimizers:
                optimizer.step()
            path.append(w.norm().item())
        paths.append(path)
    np.testing.assert_allclose(paths[1:], paths[:1] * 2, rtol=1e-5)
    assert paths[0][-1] < paths[0][0] / 2


def test_dropout():
    def dropout(X, drop_prob):
        X = X.float()
        assert 0 <= drop_prob <= 1
        keep_prob = 1 - drop_prob
        if keep_prob == 0:
            return torch.zeros_like(X)
        mask = (torch.rand(X.shape) < keep_prob).float()
        return mask * X / keep_prob

    X = torch.arange(1600).view(2, 800)
    assert torch.equal(dropout(X, 0), X.float())
    assert not dropout(X, 1.0).any()
    kept = dropout(X, 0.5)
    assert torch.equal(torch.where(kept == 0, X.float() * 0, X.float() * 2), kept)
    assert 0.4 < (kept != 0).float().mean().item() < 0.6

    net = nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
    for param in net.parameters():
        init.normal_(param, mean=0, std=0.1)
    X = torch.rand(4, 2, 3)
    assert not torch.equal(net(X), net(X))
    net.eval()
    assert torch.equal(net(X), net(X))
    net.train()
    assert net.training


@pytest.mark.parametrize("theta", [1e-2, 1e3])
def test_gradient_clipping(theta):
    params = [torch.randn(3, 4, requires_grad=True), torch.randn(4, requires_grad=True)]
    (torch.mm(torch.ones(5, 3), params[0]) + params[1]).pow(2).sum().backward()
    before = [p.grad.clone() for p in params]
    norm = torch.tensor([0.0])
    for param in params:
        norm += (param.grad.data**2).sum()
    norm = norm.sqrt().item()
    assert norm == pytest.approx(math.sqrt(sum(g.norm().item() ** 2 for g in before)))
    if norm > theta:
        for param in params:
            param.grad.data *= theta / norm
    factor = min(1, theta / norm)
    for param, g in zip(params, before, strict=True):
        np.testing.assert_allclose(param.grad.numpy(), g.numpy() * factor, rtol=1e-6)


@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh"])
def test_activations(name):
    x = torch.arange(-8.0, 8.0, 0.1, requires_grad=True)
    slopes = {
        "relu": lambda x: (x > 0) * 1.0,
        "sigmoid": lambda x: np.exp(-x) / (1 + np.exp(-x)) ** 2,
        "tanh": lambda x: 1 - np.tanh(x) ** 2,
    }
    for _ in range(2):
        y = getattr(x, name)()
        if x.grad is not None:
            x.grad.zero_()
        y.sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), slopes[name](x.detach().numpy().astype(np.float64)), atol=1e-6)


def test_logistic_regression_and_a_split():
    """Sigmoid and BCELoss, xavier_normal_ with a gain, random_split, evaluation under no_grad."""
    x = torch.linspace(-2, 2, 200).view(-1, 1)
    X = torch.cat((x, x.pow(2)), dim=1)
    y = torch.FloatTensor([[1.0] if v > 0.5 else [0.0] for v in x.view(-1).tolist()])
    parts = torch.utils.data.random_split(torch.utils.data.TensorDataset(X, y), [150, 50])
    assert [len(part) for part in parts] == [150, 50]
    net = nn.Sequential(
        OrderedDict(
            [("hidden", nn.Linear(2, 8)), ("tanh", nn.Tanh()), ("output", nn.Linear(8, 1)), ("sigmoid", nn.Sigmoid())]
        )
    )
    init.xavier_normal_(net.hidden.weight, gain=init.calculate_gain("tanh"))
    init.zeros_(net.hidden.bias)
    loss, optimizer = nn.BCELoss(), torch.optim.Adam(net.parameters(), lr=0.05)

    def step(X, y):
        l = loss(net(X), y)
        optimizer.zero_grad()
        l.backward()
        optimizer.step()

    train(step, torch.utils.data.DataLoader(parts[0], batch_size=50, shuffle=True), 60)

    @torch.no_grad()
    def accuracy(data_iter):
        return np.mean([((net(X) > 0.5).float() == y).float().mean().item() for X, y in data_iter])

    with torch.no_grad():
        assert not net(X).requires_grad
    assert accuracy(torch.utils.data.DataLoader(parts[1], batch_size=50)) > 0.9


def test_tensors():
    """Making, reading and picking."""
    y_hat = torch.tensor([[0.1, 0.3, 0.6], [0.3, 0.2, 0.5]])
    y = torch.LongTensor([0, 2])
    np.testing.assert_allclose(y_hat.gather(1, y.view(-1, 1)).numpy(), [[0.1], [0.5]], rtol=1e-6)
    assert (y_hat.argmax(dim=1) == y).float().mean().item() == 0.5
    X = torch.tensor([[1, 2, 3], [4, 5, 6]])
    assert X.sum(dim=0, keepdim=True).tolist() == [[5, 7, 9]]
    assert X.sum(dim=1, keepdim=True).tolist() == [[6], [15]]
    x = torch.arange(12).view(3, 4)
    assert x[1:3].tolist() == x[[1, 2]].tolist() == x[torch.LongTensor([1, 2])].tolist()
    assert x.index_select(0, torch.LongTensor([1, 2])).tolist() == x[1:].tolist()
    assert x.size() == x.shape == (3, 4)
    array = np.ones(3)
    t = torch.from_numpy(array)
    t += 1
    assert array.tolist() == [2, 2, 2]
    torch.set_default_dtype(torch.float64)
    assert (
        torch.zeros(2).dtype == torch.ones(2).dtype == torch.rand(2).dtype == torch.tensor(0.5).dtype == torch.float64
    )


AIRFOIL = {
    "SGD": {"lr": 0.05},
    "SGD momentum": {"lr": 0.004, "momentum": 0.9},
    "Adagrad": {"lr": 0.1},
    "RMSprop": {"lr": 0.01, "alpha": 0.9},
    "Adadelta": {"rho": 0.9},
    "Adam": {"lr": 0.01},
}


@pytest.mark.parametrize("name", AIRFOIL)
def test_optimizers_on_airfoil_noise(data_root, name):
    """The chapter on optimization: a linear model of 1,500 rows, 2 epochs in batches of 10; PyTorch ends below .27."""
    path = data_root / "small" / "airfoil_self_noise.dat"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    data = np.genfromtxt(path, delimiter="\t")
    data = (data - data.mean(axis=0)) / data.std(axis=0)
    features = torch.tensor(data[:1500, :-1], dtype=torch.float32)
    labels = torch.tensor(data[:1500, -1], dtype=torch.float32)
    net = nn.Sequential(nn.Linear(features.shape[-1], 1))
    loss = nn.MSELoss()
    optimizer = getattr(torch.optim, name.split()[0])(net.parameters(), **AIRFOIL[name])

    def step(X, y):
        l = loss(net(X).view(-1), y) / 2
        optimizer.zero_grad()
        l.backward()
        optimizer.step()

    data_iter = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(features, labels), 10, shuffle=True)
    train(step, data_iter, 2)
    assert loss(net(features).view(-1), labels).item() / 2 < 0.275
