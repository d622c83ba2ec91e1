"""Softmax regression and a perceptron with one hidden layer on Fashion-MNIST, each from scratch and with nn and optim.

    python -m tapegrad.examples.fashion_mnist [--data FOLDER] [--epochs 5] [--compile] [PROGRAM ...]

The programs are those of "Dive into Deep Learning" (Zhang, Lipton, Li and Smola, https://d2l.ai), chapters 3 and 4, in
PyTorch's words: only the import line is another. FOLDER holds the four files of Fashion-MNIST; it may also stand in the
environment variable TAPEGRAD_DATA.
"""

import argparse
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import tapegrad as torch
from tapegrad import nn
from tapegrad.nn import init

NUM_INPUTS, NUM_HIDDENS, NUM_OUTPUTS = 784, 256, 10
BATCH_SIZE = 256


class Program(NamedTuple):
    """A net, its loss and what updates it: an optimizer, or `sgd` with these parameters and this learning rate."""

    net: Callable
    loss: Callable
    params: list | None = None
    lr: float | None = None
    optimizer: torch.optim.Optimizer | None = None


# From scratch


def softmax(X):
    X_exp = X.exp()
    partition = X_exp.sum(dim=1, keepdim=True)
    return X_exp / partition


def cross_entropy(y_hat, y):
    return -torch.log(y_hat.gather(1, y.view(-1, 1)))


def relu(X):
    return torch.max(input=X, other=torch.tensor(0.0))


def sgd(params, lr, batch_size):
    for param in params:
        param.data -= lr * param.grad / batch_size


def normal_weight(num_inputs, num_outputs):
    return torch.tensor(np.random.normal(0, 0.01, (num_inputs, num_outputs)), dtype=torch.float)


def softmax_from_scratch() -> Program:
    """Softmax, cross-entropy and gradient descent written out; the loss of a batch is a sum."""
    W = normal_weight(NUM_INPUTS, NUM_OUTPUTS)
    b = torch.zeros(NUM_OUTPUTS, dtype=torch.float)
    W.requires_grad_(requires_grad=True)
    b.requires_grad_(requires_grad=True)

    def net(X):
        return softmax(torch.mm(X.view((-1, NUM_INPUTS)), W) + b)

    return Program(net, cross_entropy, [W, b], lr=0.1)


def mlp_from_scratch() -> Program:
    """The loss of a batch is a mean and sgd divides by the batch size once more: hence the learning rate."""
    W1 = normal_weight(NUM_INPUTS, NUM_HIDDENS)
    b1 = torch.zeros(NUM_HIDDENS, dtype=torch.float)
    W2 = normal_weight(NUM_HIDDENS, NUM_OUTPUTS)
    b2 = torch.zeros(NUM_OUTPUTS, dtype=torch.float)
    params = [W1, b1, W2, b2]
    for param in params:
        param.requires_grad_(requires_grad=True)

    def net(X):
        X = X.view((-1, NUM_INPUTS))
        H = relu(torch.matmul(X, W1) + b1)
        return torch.matmul(H, W2) + b2

    return Program(net, torch.nn.CrossEntropyLoss(), params, lr=100.0)


# With nn and optim


class FlattenLayer(nn.Module):
    def forward(self, x):
        return x.view(x.shape[0], -1)


def softmax_concise() -> Program:
    net = nn.Sequential(OrderedDict([("flatten", FlattenLayer()), ("linear", nn.Linear(NUM_INPUTS, NUM_OUTPUTS))]))
    init.normal_(net.linear.weight, mean=0, std=0.01)
    init.constant_(net.linear.bias, val=0)
    return Program(net, nn.CrossEntropyLoss(), optimizer=torch.optim.SGD(net.parameters(), lr=0.1))


def mlp_concise() -> Program:
    net = nn.Sequential(
        FlattenLayer(),
        nn.Linear(NUM_INPUTS, NUM_HIDDENS),
        nn.ReLU(),
        nn.Linear(NUM_HIDDENS, NUM_OUTPUTS),
    )
    for params in net.parameters():
        init.normal_(params, mean=0, std=0.01)
    return Program(net, torch.nn.CrossEntropyLoss(), optimizer=torch.optim.SGD(net.parameters(), lr=0.5))


PROGRAMS = {make.__name__: make for make in (softmax_from_scratch, softmax_concise, mlp_from_scratch, mlp_concise)}


# Training


def make_step(program: Program, batch_size: int = BATCH_SIZE):
    """step(X, y): one update from a batch; (the loss before it, the scores)."""
    net, loss, params, lr, optimizer = program

    def step(X, y):
        y_hat = net(X)
        l = loss(y_hat, y).sum()
        if optimizer is not None:
            optimizer.zero_grad()
        elif params[0].grad is not None:
            for param in params:
                param.grad.data.zero_()
        l.backward()
        if optimizer is None:
            sgd(params, lr, batch_size)
        else:
            optimizer.step()
        return l, y_hat

    return step


@torch.no_grad()
def evaluate_accuracy(data_iter, net) -> float:
    acc_sum, n = 0.0, 0
    for X, y in data_iter:
        acc_sum += (net(X).argmax(dim=1) == y).float().sum().item()
        n += y.shape[0]
    return acc_sum / n


def train(program: Program, step, train_iter, test_iter, num_epochs: int = 5) -> list[tuple[float, float, float]]:
    """Trains and prints; per epoch (sum of the batches' losses / images, train accuracy, test accuracy)."""
    history = []
    for epoch in range(num_epochs):
        train_l_sum, train_acc_sum, n = 0.0, 0.0, 0
        for X, y in train_iter:
            l, y_hat = step(X, y)
            train_l_sum += l.item()
            train_acc_sum += (y_hat.argmax(dim=1) == y).sum().item()
            n += y.shape[0]
        history.append((train_l_sum / n, train_acc_sum / n, evaluate_accuracy(test_iter, program.net)))
        l, train_acc, test_acc = history[-1]
        print(f"epoch {epoch + 1}, loss {l:.4f}, train acc {train_acc:.3f}, test acc {test_acc:.3f}")
    return history


def load_data_fashion_mnist(root=None, batch_size: int = BATCH_SIZE):
    """(train, test) batches: images (batch, 1, 28, 28) in [0, 1] and labels (batch,)."""
    return tuple(
        torch.utils.data.DataLoader(
            torch.datasets.FashionMNIST(root, train=part == "train"), batch_size=batch_size, shuffle=part == "train"
        )
        for part in ("train", "test")
    )


def run(name: str, train_iter, test_iter, num_epochs: int = 5, *, compiled: bool = False, seed: int = 0):
    """Builds a program of PROGRAMS from a seed and trains it; `compiled` replays its captured step."""
    np.random.seed(seed)
    torch.manual_seed(seed)
    program = PROGRAMS[name]()
    step = make_step(program, train_iter.batch_size)
    return train(program, torch.compile(step) if compiled else step, train_iter, test_iter, num_epochs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help=f"of {', '.join(PROGRAMS)}; default: all")
    parser.add_argument("--data", help="folder with the files of Fashion-MNIST")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="capture the training step and replay it")
    options = parser.parse_args()
    for name in options.programs:
        if name not in PROGRAMS:
            parser.error(f"no program {name}; choose of {', '.join(PROGRAMS)}")
    try:
        data = load_data_fashion_mnist(options.data)
    except FileNotFoundError as error:
        parser.error(str(error))
    for name in options.programs or PROGRAMS:
        print(name)
        run(name, *data, options.epochs, compiled=options.compile)


if __name__ == "__main__":
    main()
