"""What several test files share: a model with one of every layer, and its values as arrays."""

from collections import OrderedDict

from tapegrad import nn


def array(tensor):
    return tensor.detach().numpy()


def mlp(nn=nn):
    return nn.Sequential(
        nn.Linear(4, 8),
        nn.ReLU(),
        nn.Sequential(OrderedDict(inner=nn.Linear(8, 6, bias=False), act=nn.Tanh())),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Identity(),
        nn.Linear(6, 3),
        nn.Sigmoid(),
    )
