"""vmap: a function of one sample, applied to all samples of a batch at once."""

import functools

from .. import _core
from .._core import Tensor
from .._tree import flatten
from . import _rules  # noqa: F401  (the rules that operations on batched tensors look up)
from ._batched import Batched, Frame, frames, inside, spread


def vmap(func, in_dims=0, out_dims=0, randomness="error", *, chunk_size=None):
    """The function, mapped over a dimension of its arguments.

    func: takes tensors without that dimension and returns tensors, also in tuples, lists and dicts. in_dims: which
    dimension of each argument, in the arguments' structure; None for what is the same for all samples; keyword
    arguments are mapped over dimension 0. out_dims: where it goes in the results; None for a result that is the same
    for all. randomness: what draws do: "error", "different" or "same" for all samples. chunk_size: samples at a time.
    ValueError where the sizes differ.

    Elementwise operations, reductions, views, products and the losses run on all samples at once; others run sample by
    sample, with the same results. Control flow on values is an error.
    """
    if randomness not in ("error", "different", "same"):
        raise ValueError(f"vmap: randomness must be 'error', 'different' or 'same', got {randomness!r}")

    @functools.wraps(func)
    def mapped(*args, **kwargs):
        leaves, rebuild = flatten((args, kwargs))
        dims = _spread_dims(in_dims, args) + [0] * len(flatten(kwargs)[0])
        size = _size(leaves, dims)
        front = [t if d is None else _first(t, d) for t, d in zip(leaves, dims, strict=True)]
        if chunk_size is None or chunk_size >= size:
            return _run(func, front, dims, rebuild, size, out_dims, randomness)
        parts = []
        for at in range(0, size, chunk_size):
            some = [t if d is None else t[at : at + chunk_size] for t, d in zip(front, dims, strict=True)]
            n = min(chunk_size, size - at)
            parts.append(_run(func, some, dims, rebuild, n, out_dims, randomness))
        _, rebuild_out = flatten(parts[0])
        columns = zip(*(flatten(p)[0] for p in parts), strict=True)
        places = _spread_dims(out_dims, parts[0], whole=True)
        return rebuild_out([c[0] if d is None else _core.cat(list(c), d) for c, d in zip(columns, places, strict=True)])

    return mapped


def _spread_dims(dims, tree, whole=False):
    """One entry for each leaf of the tree, from an int for all or a structure like the tree's first levels."""
    if dims is None or isinstance(dims, int):
        return [dims] * len(flatten(tree)[0])
    if isinstance(tree, dict) and isinstance(dims, dict):
        pairs = [(dims[key], tree[key]) for key in tree]
    elif isinstance(tree, (tuple, list)) and isinstance(dims, (tuple, list)) and len(dims) == len(tree):
        pairs = list(zip(dims, tree, strict=True))
    elif whole and isinstance(dims, (tuple, list)) and len(dims) == 1:
        return _spread_dims(dims[0], tree)
    else:
        raise ValueError(f"vmap: the dims {dims!r} do not have the structure of what they are for")
    return [d for dim, part in pairs for d in _spread_dims(dim, part)]


def _size(leaves, dims):
    sizes = set()
    for t, d in zip(leaves, dims, strict=True):
        if d is None:
            continue
        if not isinstance(t, (Tensor, Batched)):
            raise ValueError(f"vmap: a {type(t).__name__} cannot be mapped over; give it None in in_dims")
        if not -t.ndim <= d < t.ndim:
            raise ValueError(f"vmap: dimension {d} of in_dims is not one of a tensor of shape {tuple(t.shape)}")
        sizes.add(t.shape[d])
    if len(sizes) != 1:
        raise ValueError(f"vmap: expected one size for the mapped dimension, got {sorted(sizes) or 'no mapped tensor'}")
    return sizes.pop()


def _first(t, dim):
    """The tensor with this dimension moved to the front."""
    dim %= t.ndim
    return t.permute(dim, *(d for d in range(t.ndim) if d != dim)) if dim else t


def _run(func, leaves, dims, rebuild, size, out_dims, randomness):
    frame = Frame(len(frames.running) + 1, size, randomness)
    args, kwargs = rebuild([t if d is None else Batched(t, frame) for t, d in zip(leaves, dims, strict=True)])
    state = _core.default_generator.get_state() if randomness == "error" else None
    frames.running.append(frame)
    try:
        result = func(*args, **kwargs)
    finally:
        frames.running.pop()
    if state is not None and _core.default_generator.get_state() != state:
        raise RuntimeError("vmap: the function draws random numbers; pass randomness='different' or 'same'")
    outputs, rebuild_out = flatten(result)
    places = _spread_dims(out_dims, result, whole=True)
    return rebuild_out([_out(t, d, frame) for t, d in zip(outputs, places, strict=True)])


def _out(t, dim, frame):
    if not isinstance(t, (Tensor, Batched)):
        raise ValueError(f"vmap: the function must return tensors, got {type(t).__name__}")
    value, batched = inside(t, frame)
    if dim is None:
        if batched:
            raise ValueError("vmap: out_dims is None for a result that differs from sample to sample")
        return t
    if not batched:
        value = spread(t, frame)
    dim %= value.ndim
    return value.permute(*range(1, dim + 1), 0, *range(dim + 1, value.ndim)) if dim else value
