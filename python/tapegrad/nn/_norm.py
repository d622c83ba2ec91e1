"""Normalisation layers: LayerNorm, RMSNorm, GroupNorm, BatchNorm1d."""

from operator import index

from .. import _core
from . import functional as F
from . import init
from ._module import Module
from ._parameter import Parameter


class _Affine(Module):
    """Multiplies by a weight and adds a bias, at first ones and zeros, either of which may be None."""

    def _make_affine(self, shape, device, dtype, **wanted):
        for name, there in wanted.items():
            value = Parameter(_core.empty(shape, dtype=dtype, device=device)) if there else None
            self.register_parameter(name, value)
        self.reset_parameters()

    def reset_parameters(self):
        """Set weight to ones and bias to zeros."""
        if self.weight is not None:
            init.ones_(self.weight)
        if getattr(self, "bias", None) is not None:
            init.zeros_(self.bias)


def _sizes(layer, normalized_shape):
    sizes = normalized_shape if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
    if not sizes:
        raise ValueError(f"{layer}: normalized_shape needs at least one size, got ()")
    return tuple(index(n) for n in sizes)


class LayerNorm(_Affine):
    """(x - mean) / sqrt(var + eps) * weight + bias, mean and variance over the last dimensions of each sample.

    normalized_shape: the sizes of these dimensions, an int for the last one alone. The input ends in them.
    weight, bias: of that shape, at first ones and zeros; both None with elementwise_affine=False, bias with bias=False.
    Source: Ba, Kiros and Hinton, "Layer Normalization", 2016, https://arxiv.org/abs/1607.06450.
    """

    def __init__(self, normalized_shape, eps=1e-5, elementwise_affine=True, bias=True, device=None, dtype=None):
        super().__init__()
        self.normalized_shape = _sizes("LayerNorm", normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        affine = {"weight": elementwise_affine, "bias": elementwise_affine and bias}
        self._make_affine(self.normalized_shape, device, dtype, **affine)

    def forward(self, input):
        return _core.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self):
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(_Affine):
    """x / sqrt(mean(x^2) + eps) * weight, the mean over the last dimensions of each sample (see functional.rms_norm).

    normalized_shape: the sizes of these dimensions. eps: None for the rounding unit of the dtype.
    """

    def __init__(self, normalized_shape, eps=None, elementwise_affine=True, device=None, dtype=None):
        super().__init__()
        self.normalized_shape = _sizes("RMSNorm", normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self._make_affine(self.normalized_shape, device, dtype, weight=elementwise_affine)

    def forward(self, input):
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self):
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(_Affine):
    """LayerNorm over each of num_groups groups of channels, weight and bias per channel (see functional.group_norm)."""

    def __init__(self, num_groups, num_channels, eps=1e-5, affine=True, device=None, dtype=None, *, bias=True):
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(f"num_channels must be divisible by num_groups, got {num_channels} and {num_groups}")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self._make_affine((num_channels,), device, dtype, weight=affine, bias=affine and bias)

    def forward(self, input):
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self):
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class BatchNorm1d(_Affine):
    """(x - mean) / sqrt(var + eps) * weight + bias per channel, over the batch (see functional.batch_norm).

    While training, mean and variance are those of the batch, and the buffers running_mean and running_var follow them
    by the factor momentum (None: the mean over all batches, counted in num_batches_tracked); eval() uses the buffers.
    Without track_running_stats there are none, and both modes use the batch.
    Input (N, num_features) or (N, num_features, L), else ValueError.
    """

    def __init__(
        self,
        num_features,
        eps=1e-5,
        momentum=0.1,
        affine=True,
        track_running_stats=True,
        device=None,
        dtype=None,
        *,
        bias=True,
    ):
        super().__init__()
        self.num_features, self.eps, self.momentum, self.affine = num_features, eps, momentum, affine
        self.track_running_stats = track_running_stats
        self._make_affine((num_features,), device, dtype, weight=affine, bias=affine and bias)
        buffers = {
            "running_mean": _core.zeros(num_features, dtype=dtype, device=device),
            "running_var": _core.ones(num_features, dtype=dtype, device=device),
            "num_batches_tracked": _core.tensor(0),
        }
        for name, value in buffers.items():
            self.register_buffer(name, value if track_running_stats else None)

    def reset_running_stats(self):
        """Forget the batches seen."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self):
        """Set weight to ones, bias to zeros, and forget the batches seen."""
        super().reset_parameters()
        if "running_mean" in self._kinds:
            self.reset_running_stats()

    def forward(self, input):
        if input.dim() not in (2, 3):
            raise ValueError(f"expected 2D or 3D input (got {input.dim()}D input)")
        momentum = self.momentum
        tracking = self.training and self.track_running_stats
        if tracking:
            self.num_batches_tracked.add_(1)
            if momentum is None:
                momentum = 1.0 / self.num_batches_tracked.to(self.running_mean.dtype)
        use_buffers = tracking or not self.training
        return F.batch_norm(
            input,
            self.running_mean if use_buffers else None,
            self.running_var if use_buffers else None,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            momentum,
            self.eps,
        )

    def extra_repr(self):
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )
