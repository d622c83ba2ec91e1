"""Loss layers: the losses of nn.functional, whose arguments after the tensors are those of the layer."""

from .. import _core
from . import functional as F
from ._module import Module

_mse_loss, _cross_entropy = _core.mse_loss, _core.cross_entropy


class _Signature:
    """The signature of a loss layer, made when first asked for, as reading that of its function takes a while."""

    def __get__(self, layer, cls):
        import inspect

        function, inputs, without = cls._made_of
        parameters = list(inspect.signature(function).parameters.values())[inputs:]
        cls.__signature__ = inspect.Signature([p for p in parameters if p.name not in without])
        return cls.__signature__


class _Loss(Module):
    """Calls `function` with its arguments, which are attributes; tensors among them are buffers."""

    __signature__ = _Signature()
    _reductions = ("none", "mean", "sum")

    def __init_subclass__(cls, function, inputs=2, without=()):
        cls._function, cls._made_of = staticmethod(function), (function, inputs, without)

    def __init__(self, *args, **kwargs):
        super().__init__()
        given = self.__signature__.bind(*args, **kwargs)
        given.apply_defaults()
        for name, value in given.arguments.items():
            if name in ("weight", "pos_weight"):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)
        if self.reduction not in self._reductions:
            raise ValueError(f"{self.reduction} is not a valid value for reduction; choose one of {self._reductions}")

    def forward(self, *inputs):
        return self._function(*inputs, **{name: getattr(self, name) for name in self.__signature__.parameters})


class MSELoss(_Loss, function=_core.mse_loss, without=("weight",)):
    """Squared error (input - target)^2: its mean, its sum, or one per element (reduction "mean", "sum", "none").

    input and target: float tensors of the same shape. ValueError, naming both, where the shapes differ: (n, 1)
    against (n,) would otherwise broadcast to n x n.
    """

    def forward(self, input, target):
        return _mse_loss(input, target, reduction=self.reduction)


class CrossEntropyLoss(_Loss, function=_core.cross_entropy):
    """-log softmax(input)[target]: the mean over the batch, the sum, or one per row.

    input: scores (logits), float (N, C) or (C,). target: class numbers int64 (N,) or (), each in [0, C), or class
    probabilities of the shape of input. weight: of each class. Class numbers equal to ignore_index do not count.
    IndexError or ValueError where labels or shapes do not fit.
    """

    def forward(self, input, target):
        return _cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(_Loss, function=_core.nll_loss):
    """-input[target], input holding log-probabilities (see functional.nll_loss)."""


class MultiMarginLoss(_Loss, function=_core.multi_margin_loss):
    """max(0, margin - input[target] + input[i]) ** p, over the other classes i (see functional.multi_margin_loss)."""


class BCELoss(_Loss, function=_core.binary_cross_entropy):
    """-(t log(x) + (1 - t) log(1 - x)) for a probability x (see functional.binary_cross_entropy)."""


class BCEWithLogitsLoss(_Loss, function=_core.binary_cross_entropy_with_logits):
    """BCELoss of sigmoid(x), without overflow (see functional.binary_cross_entropy_with_logits)."""


class L1Loss(_Loss, function=F.l1_loss, without=("weight",)):
    """|input - target|."""


class SmoothL1Loss(_Loss, function=_core.smooth_l1_loss):
    """Quadratic where |input - target| < beta (see functional.smooth_l1_loss)."""


class HuberLoss(_Loss, function=_core.huber_loss, without=("weight",)):
    """Quadratic where |input - target| <= delta, linear beyond (see functional.huber_loss)."""


class KLDivLoss(_Loss, function=F.kl_div):
    """Kullback-Leibler divergence of log-probabilities from the target (see functional.kl_div)."""

    _reductions = (*_Loss._reductions, "batchmean")


class GaussianNLLLoss(_Loss, function=F.gaussian_nll_loss, inputs=3):
    """-log of a normal density, called with input, target and variance (see functional.gaussian_nll_loss)."""


class PoissonNLLLoss(_Loss, function=F.poisson_nll_loss):
    """-log of a Poisson probability, of the logarithm of its rate (see functional.poisson_nll_loss)."""


class HingeEmbeddingLoss(_Loss, function=F.hinge_embedding_loss):
    """Distances, small where target is 1 and beyond a margin where it is -1 (see functional.hinge_embedding_loss)."""


class MarginRankingLoss(_Loss, function=F.margin_ranking_loss, inputs=3):
    """Called with input1, input2 and target 1 or -1 (see functional.margin_ranking_loss)."""


class CosineEmbeddingLoss(_Loss, function=F.cosine_embedding_loss, inputs=3):
    """Called with input1, input2 and target 1 or -1 (see functional.cosine_embedding_loss)."""


class TripletMarginLoss(_Loss, function=F.triplet_margin_loss, inputs=3):
    """Called with anchor, positive and negative (see functional.triplet_margin_loss)."""


class SoftMarginLoss(_Loss, function=F.soft_margin_loss):
    """log(1 + exp(-target input)), target 1 or -1."""


class MultiLabelSoftMarginLoss(_Loss, function=F.multilabel_soft_margin_loss):
    """The mean over the classes of BCEWithLogitsLoss."""
