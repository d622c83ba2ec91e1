"""Linear regression from scratch and with nn and optim, on points made from known weights.

    python -m tapegrad.examples.linear_regression

The programs of "Dive into Deep Learning" (Zhang, Lipton, Li and Smola, https://d2l.ai), chapter 3, in PyTorch's words:
only the import line is another. y = X w + b + noise, 1000 x 2 normal features, w = [2, -3.4], b = 4.2, noise .01.
"""

import random
from collections import OrderedDict

import numpy as np

import tapegrad as torch
from tapegrad import nn
from tapegrad.nn import init
from tapegrad.utils import data as Data

TRUE_W, TRUE_B = [2, -3.4], 4.2
LR, NUM_EPOCHS, BATCH_SIZE = 0.03, 3, 10


def make_data(num_examples: int = 1000):
    """features (num_examples, 2) and labels (num_examples,), float32."""
    features = torch.randn(num_examples, len(TRUE_W), dtype=torch.float32)
    labels = TRUE_W[0] * features[:, 0] + TRUE_W[1] * features[:, 1] + TRUE_B
    labels += torch.tensor(np.random.normal(0, 0.01, size=labels.size()), dtype=torch.float32)
    return features, labels


def data_iter(batch_size, features, labels):
    num_examples = len(features)
    indices = list(range(num_examples))
    random.shuffle(indices)
    for i in range(0, num_examples, batch_size):
        j = torch.LongTensor(indices[i : min(i + batch_size, num_examples)])
        yield features.index_select(0, j), labels.index_select(0, j)


def linreg(X, w, b):
    return torch.mm(X, w) + b


def squared_loss(y_hat, y):
    return (y_hat - y.view(y_hat.size())) ** 2 / 2


def sgd(params, lr, batch_size):
    for param in params:
        param.data -= lr * param.grad / batch_size


def scratch_step(w, b, lr: float = LR, batch_size: int = BATCH_SIZE):
    """step(X, y): the sum of a batch's losses before the update of w (2, 1) and b (1,)."""

    def step(X, y):
        l = squared_loss(linreg(X, w, b), y).sum()
        l.backward()
        sgd([w, b], lr, batch_size)
        w.grad.data.zero_()
        b.grad.data.zero_()
        return l

    return step


def from_scratch(features, labels):
    """(mean loss after each epoch, w as a list, b)."""
    w = torch.tensor(np.random.normal(0, 0.01, (len(TRUE_W), 1)), dtype=torch.float32)
    b = torch.zeros(1, dtype=torch.float32)
    w.requires_grad_(requires_grad=True)
    b.requires_grad_(requires_grad=True)
    step, losses = scratch_step(w, b), []
    for _ in range(NUM_EPOCHS):
        for X, y in data_iter(BATCH_SIZE, features, labels):
            step(X, y)
        train_l = squared_loss(linreg(features, w, b), labels)
        losses.append(train_l.mean().item())
    return losses, w.view(-1).tolist(), b.item()


class LinearNet(nn.Module):
    def __init__(self, n_feature):
        super().__init__()
        self.linear = nn.Linear(n_feature, 1)

    def forward(self, x):
        return self.linear(x)


def by_add_module(num_inputs):
    net = nn.Sequential()
    net.add_module("linear", nn.Linear(num_inputs, 1))
    return net


# The book's four ways to write the net; the layer is `linear` in all but the second.
NETS = {
    "Module": LinearNet,
    "Sequential": lambda num_inputs: nn.Sequential(nn.Linear(num_inputs, 1)),
    "add_module": by_add_module,
    "OrderedDict": lambda num_inputs: nn.Sequential(OrderedDict([("linear", nn.Linear(num_inputs, 1))])),
}


def concise_step(net, lr: float = LR):
    """step(X, y): the mean squared error of a batch before the update."""
    loss = nn.MSELoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)

    def step(X, y):
        output = net(X)
        l = loss(output, y.view(-1, 1))
        optimizer.zero_grad()
        l.backward()
        optimizer.step()
        return l

    return step


def concise(features, labels, kind: str = "Sequential"):
    """(mean squared error after each epoch, w as a list, b); `kind` of NETS."""
    net = NETS[kind](features.shape[1])
    layer = net[0] if kind == "Sequential" else net.linear
    init.normal_(layer.weight, mean=0, std=0.01)
    init.constant_(layer.bias, val=0)
    loader = Data.DataLoader(Data.TensorDataset(features, labels), BATCH_SIZE, shuffle=True)
    step, losses = concise_step(net), []
    for _ in range(NUM_EPOCHS):
        for X, y in loader:
            step(X, y)
        losses.append(nn.MSELoss()(net(features), labels.view(-1, 1)).item())
    return losses, layer.weight.view(-1).tolist(), layer.bias.item()


def main() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    features, labels = make_data()
    for title, program in [("from scratch", from_scratch), ("with nn and optim", concise)]:
        losses, w, b = program(features, labels)
        print(title)
        for epoch, l in enumerate(losses, start=1):
            print(f"epoch {epoch}, loss {l:f}")
        print(f"w = [{w[0]:.4f}, {w[1]:.4f}], b = {b:.4f}; the points were made from w = {TRUE_W}, b = {TRUE_B}")


if __name__ == "__main__":
    main()
