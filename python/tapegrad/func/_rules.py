"""Batching rules: what an operation on samples is as an operation on all of them. NotImplemented: sample by sample."""

from .. import _core
from ._batched import RULES, Batched, batched_in, call, inside, spread, wrap

# Elementwise, with operands that broadcast; and what concerns one tensor and keeps its shape.
_ELEMENTWISE = [
    *_core._elementwise_names(), "where", "clamp", "clamp_min", "clamp_max", "lerp", "addcmul", "addcdiv", "isnan",
    "isinf", "isfinite", "logical_not", "logical_and", "logical_or", "logical_xor", "true_divide", "floor_divide",
    "remainder", "fmax", "fmin", "atan2", "to", "type", "float", "double", "long", "int", "bool", "clone", "contiguous",
    "detach", "zeros_like", "ones_like", "nan_to_num", "masked_fill",
]  # fmt: skip


def _align(x, frame, rank):
    """Samples of fewer dimensions than others get ones behind the dimension that counts them."""
    value, batched = inside(x, frame)
    missing = rank - (value.ndim - 1) if batched else 0
    return value.reshape(frame.size, *[1] * missing, *value.shape[1:]) if missing > 0 else value


def _elementwise(name):
    def rule(frame, *args, **kwargs):
        rank = max([a.ndim for a in (*args, *kwargs.values()) if hasattr(a, "ndim")])
        aligned = [_align(a, frame, rank) for a in args]
        named = {key: _align(a, frame, rank) for key, a in kwargs.items()}
        return wrap(call(name, *aligned, **named), frame)

    return rule


def _in_place(name):
    def rule(frame, self, *args, **kwargs):
        value, batched = inside(self, frame)
        if not batched:
            raise RuntimeError(f"vmap: {name} would write different values for each sample into one tensor")
        call(name, value, *[_align(a, frame, value.ndim - 1) for a in args], **kwargs)
        return self

    return rule


def _shift(dim):
    """Dimensions count from the front behind that of the samples; from the end as they are."""
    return tuple(map(_shift, dim)) if isinstance(dim, (tuple, list)) else dim + 1 if dim >= 0 else dim


def _along(name):
    """Reductions and the like, over dim or all dimensions."""

    def rule(frame, x, dim=None, *args, **kwargs):
        if hasattr(dim, "ndim"):  # max(other)
            return _elementwise("maximum" if name == "max" else "minimum")(frame, x, dim)
        if "axis" in kwargs:
            dim = kwargs.pop("axis")
        value, batched = inside(x, frame)
        if not batched or "other" in kwargs or (value.ndim == 1 and dim is not None):
            return NotImplemented
        if dim is None or dim == ():
            if args or kwargs.get("keepdim") or name in _NEED_DIM:
                return NotImplemented
            result = call(name, value.reshape(frame.size, -1), 1, **kwargs)
            return wrap(result[0] if name in ("max", "min") else result, frame)
        return wrap(call(name, value, _shift(dim), *args, **kwargs), frame)

    return rule


_ALONG = (
    "sum", "mean", "amax", "amin", "max", "min", "prod", "any", "all", "var", "std", "logsumexp", "argmax", "argmin",
    "softmax", "log_softmax", "cumsum", "cumprod", "sort", "argsort", "flip",
)  # fmt: skip
_NEED_DIM = ("softmax", "log_softmax", "cumsum", "cumprod", "sort", "argsort", "prod", "flip")


def _with_dim(name, at, default=None):
    """Operations on one tensor whose argument number `at` is a dimension."""

    def rule(frame, x, *args, **kwargs):
        value, batched = inside(x, frame)
        args = list(args)
        if not batched or "dim" in kwargs or batched_in(frame, *args):
            return NotImplemented
        if len(args) < at:
            if default is None:
                return NotImplemented
            kwargs["dim"] = _shift(default)
        else:
            args[at - 1] = _shift(args[at - 1])
        return wrap(call(name, value, *args, **kwargs), frame)

    return rule


def _view(function):
    """Views of one tensor: function(value, size, *arguments)."""

    def rule(frame, x, *args, **kwargs):
        value, batched = inside(x, frame)
        if not batched:
            return NotImplemented
        return Batched(function(value, frame.size, *args, **kwargs), frame)

    return rule


def _sizes(sizes):
    return sizes[0] if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes


def _reshape(v, n, *shape):
    return v.reshape(n, *_sizes(shape))


def _flatten(v, n, start_dim=0, end_dim=-1):
    rank = v.ndim - 1
    if rank == 0:
        return v.reshape(n, 1)
    return v.flatten(start_dim % rank + 1, end_dim % rank + 1)


def _squeeze(v, n, dim=None):
    rank = v.ndim - 1
    if dim is None:
        dim = tuple(d for d in range(rank) if v.shape[d + 1] == 1)
    return v.squeeze(_shift(dim)) if dim != () else v


def _permute(v, n, *dims):
    return v.permute(0, *(d % (v.ndim - 1) + 1 for d in _sizes(dims)))


def _t(v, n):
    return v.transpose(1, 2) if v.ndim == 3 else v


def _expand(v, n, *size):
    size = _sizes(size)
    return v.reshape(n, *[1] * (len(size) - v.ndim + 1), *v.shape[1:]).expand(n, *size)


def _getitem(frame, x, key):
    value, batched = inside(x, frame)
    keys = key if isinstance(key, tuple) else (key,)
    plain = all(k is None or k is Ellipsis or (isinstance(k, (int, slice)) and not isinstance(k, bool)) for k in keys)
    if batched and plain:
        return Batched(value[(slice(None), *keys)], frame)
    index, by_sample = inside(key, frame)
    if not batched and by_sample and index.dtype is _core.int64:  # rows of a common table
        return Batched(x[index], frame)
    return NotImplemented


def _gather(frame, x, dim, index):
    if x.ndim != index.ndim or x.ndim == 0:
        return NotImplemented
    parts = [v if batched else spread(v, frame) for v, batched in (inside(x, frame), inside(index, frame))]
    return Batched(call("gather", parts[0], _shift(dim), parts[1]), frame)


def _joined(name):
    """cat and stack."""

    def rule(frame, tensors, dim=0):
        parts = [inside(t, frame) for t in tensors]
        return Batched(call(name, [v if b else spread(v, frame) for v, b in parts], _shift(dim)), frame)

    return rule


def _matmul(frame, a, b):
    rank_a, rank_b = a.ndim, b.ndim
    (x, batched), (y, other) = inside(a, frame), inside(b, frame)
    if batched and not other and rank_b == 2 and rank_a >= 1:
        return Batched(call("matmul", x, y), frame)  # one product of all samples
    if rank_a == 1:
        x = x.unsqueeze(-2)
    if rank_b == 1:
        y = y.unsqueeze(-1)
    rank = max(rank_a, rank_b, 2)
    x = _align(Batched(x, frame), frame, rank) if batched else x
    y = _align(Batched(y, frame), frame, rank) if other else y
    out = call("matmul", x, y)
    if rank_b == 1:
        out = out.squeeze(-1)
    if rank_a == 1:
        out = out.squeeze(-1 if rank_b == 1 else -2)
    return Batched(out, frame)


def _linear(frame, x, weight, bias=None, *, activation=None):
    if not batched_in(frame, weight, bias):
        return Batched(call("linear", inside(x, frame)[0], weight, bias, activation=activation), frame)
    out = call("matmul", x, weight.mT)
    out = out if bias is None else out + bias
    return out if activation is None else call(activation, out)


def _layer_norm(frame, x, normalized_shape, weight=None, bias=None, eps=1e-5):
    value, batched = inside(x, frame)
    value = value if batched else spread(x, frame)
    if not batched_in(frame, weight, bias):
        return Batched(call("layer_norm", value, normalized_shape, weight, bias, eps), frame)
    out = Batched(call("layer_norm", value, normalized_shape, None, None, eps), frame)
    out = out if weight is None else out * weight
    return out if bias is None else out + bias


def _reduced(losses, reduction):
    return losses if reduction == "none" else losses.mean() if reduction == "mean" else losses.sum()


def _mse_loss(frame, input, target, reduction="mean"):
    if tuple(input.shape) != tuple(target.shape):
        return NotImplemented  # refuses, with its own message
    return _reduced((input - target).square(), reduction)


def _cross_entropy(frame, input, target, *, reduction="mean", **options):
    (x, batched), (y, by_sample) = inside(input, frame), inside(target, frame)
    if options or input.ndim > 2 or input.ndim == 0:
        return NotImplemented
    x, y = x if batched else spread(x, frame), y if by_sample else spread(y, frame)
    rows = x.reshape(-1, x.shape[-1])
    labels = y.reshape(rows.shape) if y.ndim == x.ndim else y.reshape(-1)
    losses = call("cross_entropy", rows, labels, reduction="none")
    return _reduced(Batched(losses.reshape(x.shape[:-1]), frame), reduction)


def _dropout(frame, input, p=0.5, training=True):
    if not training:
        return input
    if frame.randomness == "error":
        raise RuntimeError("vmap: the function draws random numbers; pass randomness='different' or 'same'")
    value = inside(input, frame)[0]
    if frame.randomness == "different":
        return Batched(call("dropout", value, p, True), frame)
    return input * call("dropout", call("ones_like", value[0]).detach(), p, True)


RULES |= {name: _elementwise(name) for name in _ELEMENTWISE}
RULES |= {f"{name}_": _in_place(f"{name}_") for name in (*_core._elementwise_names(), "copy", "fill", "zero")}
RULES |= {name: _along(name) for name in _ALONG}
RULES |= {
    name: _with_dim(name, at, default)
    for name, at, default in [
        ("unsqueeze", 1, None), ("select", 1, None), ("narrow", 1, None), ("unbind", 1, 0), ("split", 2, 0),
        ("chunk", 2, 0), ("index_select", 1, None),
    ]
}  # fmt: skip
RULES |= {
    name: _view(function)
    for name, function in [
        ("reshape", _reshape), ("view", _reshape), ("flatten", _flatten), ("squeeze", _squeeze), ("permute", _permute),
        ("transpose", lambda v, n, a, b: v.transpose(_shift(a), _shift(b))), ("t", _t), ("expand", _expand),
        ("tril", lambda v, n, *a, **k: v.tril(*a, **k)), ("triu", lambda v, n, *a, **k: v.triu(*a, **k)),
    ]
}  # fmt: skip
RULES |= {
    "__getitem__": _getitem,
    "gather": _gather,
    "cat": _joined("cat"),
    "stack": _joined("stack"),
    "linear": _linear,
    "layer_norm": _layer_norm,
    "mse_loss": _mse_loss,
    "cross_entropy": _cross_entropy,
    "dropout": _dropout,
}
RULES |= dict.fromkeys(("matmul", "mm", "mv", "bmm", "dot"), _matmul)
