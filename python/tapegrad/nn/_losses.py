"""Loss layers."""

from .. import _core
from ._module import Module

_mse_loss, _cross_entropy = _core.mse_loss, _core.cross_entropy


class _Loss(Module):
    def __init__(self, *, reduction="mean"):
        super().__init__()
        if reduction not in ("none", "mean", "sum"):
            raise ValueError(f"{reduction} is not a valid value for reduction; choose 'none', 'mean' or 'sum'")
        self.reduction = reduction


class MSELoss(_Loss):
    """Squared error (input - target)^2: its mean, its sum, or one per element (reduction "mean", "sum", "none").

    input and target: float tensors of the same shape. ValueError, naming both, where the shapes differ: (n, 1)
    against (n,) would otherwise broadcast to n x n.
    """

    def forward(self, input, target):
        return _mse_loss(input, target, reduction=self.reduction)


class CrossEntropyLoss(_Loss):
    """-log softmax(input)[target]: the mean over the batch, the sum, or one per row.

    input: scores (logits), float (N, C) or (C,). target: class numbers int64 (N,) or (), each in [0, C), or class
    probabilities of the shape of input. IndexError or ValueError where labels or shapes do not fit.
    """

    def forward(self, input, target):
        return _cross_entropy(input, target, reduction=self.reduction)
