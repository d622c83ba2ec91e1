"""Data sets that are read from files on disk; nothing is downloaded."""

from ._digits import load_digits
from ._idx import read_idx
from ._mnist import MNIST, FashionMNIST, IdxImages

__all__ = ["MNIST", "FashionMNIST", "IdxImages", "load_digits", "read_idx"]
