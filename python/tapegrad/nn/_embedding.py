"""Embedding and EmbeddingBag: tables of vectors, looked up by integers."""

from .. import _core
from .._grad_mode import no_grad
from . import functional as F
from . import init
from ._module import Module
from ._parameter import Parameter


class _Table(Module):
    """What both have: the weight, its padding row, and from_pretrained."""

    def _make_weight(self, weight, frozen, device, dtype):
        shape, i = (self.num_embeddings, self.embedding_dim), self.padding_idx
        if i is not None and not -shape[0] <= i < shape[0]:
            raise ValueError(f"{type(self).__name__}: padding_idx {i} is out of range for {shape[0]} rows")
        self.padding_idx = i % shape[0] if i is not None else None
        if weight is not None and tuple(weight.shape) != shape:
            raise ValueError(f"{type(self).__name__}: expected a weight of shape {shape}, got {tuple(weight.shape)}")
        self.weight = Parameter(
            _core.empty(shape, dtype=dtype, device=device) if weight is None else weight, not frozen
        )
        if weight is None:
            self.reset_parameters()

    def reset_parameters(self):
        """Draw the weight from N(0, 1) anew; the row padding_idx is 0."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx].fill_(0)

    def _renormalizing(self):
        """What repr shows of the options that both have."""
        shown = "" if self.max_norm is None else f", max_norm={self.max_norm!r}"
        shown += f", norm_type={self.norm_type!r}" if self.norm_type != 2 else ""
        return shown + (f", scale_grad_by_freq={self.scale_grad_by_freq}" if self.scale_grad_by_freq else "")

    @classmethod
    def from_pretrained(cls, embeddings, freeze=True, **options):
        """The layer whose weight is this tensor (num_embeddings, embedding_dim), not trained if freeze."""
        if embeddings.dim() != 2:
            raise ValueError(f"{cls.__name__}: expected embeddings (n, d), got {tuple(embeddings.shape)}")
        layer = cls(*embeddings.shape, _weight=embeddings, **options)
        layer.weight.requires_grad_(not freeze)
        return layer


class Embedding(_Table):
    """The rows of weight (num_embeddings, embedding_dim) at the integers of the input (see functional.embedding).

    padding_idx: a row that starts as 0 and is not trained. max_norm: rows with a larger norm_type-norm are scaled down
    to it, in place, when they are looked up. scale_grad_by_freq: the gradient of a row is divided by how often it was
    looked up. sparse is accepted; gradients are dense.
    """

    def __init__(
        self,
        num_embeddings,
        embedding_dim,
        padding_idx=None,
        max_norm=None,
        norm_type=2.0,
        scale_grad_by_freq=False,
        sparse=False,
        _weight=None,
        _freeze=False,
        device=None,
        dtype=None,
    ):
        super().__init__()
        self.num_embeddings, self.embedding_dim, self.padding_idx = num_embeddings, embedding_dim, padding_idx
        self.max_norm, self.norm_type, self.scale_grad_by_freq = max_norm, norm_type, scale_grad_by_freq
        self.sparse = sparse
        self._make_weight(_weight, _freeze, device, dtype)

    def forward(self, input):
        return F.embedding(
            input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse
        )

    def extra_repr(self):
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        sparse = ", sparse=True" if self.sparse else ""
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}{self._renormalizing()}{sparse}"


class EmbeddingBag(_Table):
    """Sum, mean or max (mode) of the rows of each bag of integers (see functional.embedding_bag).

    Called with input (B, N), or with input (N,) and offsets (B,), where each bag begins; per_sample_weights with "sum".
    The other arguments as in Embedding.
    """

    def __init__(
        self,
        num_embeddings,
        embedding_dim,
        max_norm=None,
        norm_type=2.0,
        scale_grad_by_freq=False,
        mode="mean",
        sparse=False,
        _weight=None,
        include_last_offset=False,
        padding_idx=None,
        device=None,
        dtype=None,
    ):
        super().__init__()
        self.num_embeddings, self.embedding_dim, self.padding_idx = num_embeddings, embedding_dim, padding_idx
        self.max_norm, self.norm_type, self.scale_grad_by_freq = max_norm, norm_type, scale_grad_by_freq
        self.mode, self.sparse, self.include_last_offset = mode, sparse, include_last_offset
        self._make_weight(_weight, False, device, dtype)

    def forward(self, input, offsets=None, per_sample_weights=None):
        return F.embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            self.sparse,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
        )

    def extra_repr(self):
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{self._renormalizing()}, mode={self.mode!r}{padding}"
