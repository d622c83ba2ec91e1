"""embedding and embedding_bag: rows of a table, looked up by integers."""

from .. import _core
from .._grad_mode import no_grad


def embedding(input, weight, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, sparse=False):
    """Rows of weight (n, d) at the integers of input, of shape (*input.shape, d). IndexError outside 0 .. n - 1.

    padding_idx: the row that gets no gradient; counted from the end where negative. max_norm: rows with a larger
    norm_type-norm are first scaled down to it, in place. scale_grad_by_freq: the gradient of a row is divided by how
    often it is looked up. sparse is accepted; gradients are dense.
    """
    return _rows("embedding", input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq)


def _rows(name, input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq):
    if weight.dim() != 2:
        raise ValueError(f"{name}: weight must be (n, d), got {tuple(weight.shape)}")
    if padding_idx is not None and not -weight.size(0) <= padding_idx < weight.size(0):
        raise ValueError(f"{name}: padding_idx {padding_idx} is out of range for {weight.size(0)} rows")
    flat = input.reshape(-1)
    try:
        if max_norm is not None:
            _renormalize(weight, flat, max_norm, norm_type)
        rows = weight.index_select(0, flat)
    except IndexError as error:
        raise IndexError(f"{name}: {error}") from None
    if scale_grad_by_freq:
        ones = _core.ones(flat.numel(), dtype=weight.dtype)
        counts = _core.zeros(weight.size(0), dtype=weight.dtype).index_add(0, flat, ones)
        scaled = rows / counts.index_select(0, flat).unsqueeze(1)
        rows = rows.detach() + (scaled - scaled.detach())  # the value of rows, the gradient of scaled
    rows = rows.reshape(*input.shape, weight.size(1))
    if padding_idx is None:
        return rows
    return _core.where((input == padding_idx % weight.size(0)).unsqueeze(-1), rows.detach(), rows)


@no_grad
def _renormalize(weight, indices, max_norm, norm_type):
    rows = weight.index_select(0, indices)
    norm = _core.norm(rows, norm_type, 1, True)
    weight.index_copy_(0, indices, rows * _core.where(norm > max_norm, max_norm / (norm + 1e-7), 1.0))


def embedding_bag(
    input,
    weight,
    offsets=None,
    max_norm=None,
    norm_type=2,
    scale_grad_by_freq=False,
    mode="mean",
    sparse=False,
    per_sample_weights=None,
    include_last_offset=False,
    padding_idx=None,
):
    """Sum, mean or maximum (mode) of the rows of weight (n, d) at each bag of integers, of shape (B, d).

    input: (B, N), a bag per row; or (N,), where bag i begins at offsets[i] (with include_last_offset, the last offset
    is where the last bag ends). An empty bag gives zeros. per_sample_weights: a factor for each integer, with mode
    "sum". padding_idx: this row does not count. Other arguments as in `embedding`.
    With offsets, mode "max" reads the length of the longest bag, which a compiled function cannot do.
    """
    bag, place, count = _bags(input, offsets, include_last_offset)
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"embedding_bag: mode must be 'sum', 'mean' or 'max', got {mode!r}")
    if per_sample_weights is not None and (mode != "sum" or per_sample_weights.shape != input.shape):
        raise ValueError(
            f"embedding_bag: per_sample_weights {tuple(per_sample_weights.shape)} go with mode 'sum' and an input of "
            f"the same shape, got mode {mode!r} and {tuple(input.shape)}"
        )
    flat = input.reshape(-1)
    rows = _rows("embedding_bag", flat, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq)
    kept = _core.ones_like(flat) if padding_idx is None else (flat != padding_idx % weight.size(0)).long()
    sizes = _core.zeros(count, dtype=_core.int64).index_add(0, bag, kept.long()).unsqueeze(1)
    if mode == "max":
        return _largest(rows, bag, place, kept, sizes, input)
    factor = kept.to(weight.dtype) if per_sample_weights is None else per_sample_weights.reshape(-1) * kept
    plain = padding_idx is None and per_sample_weights is None
    rows = rows if plain else rows * factor.unsqueeze(1)
    sums = _core.zeros(count, weight.size(1), dtype=weight.dtype).index_add(0, bag, rows)
    return sums if mode == "sum" else sums / _core.maximum(sizes, 1).to(weight.dtype)


def _bags(input, offsets, include_last_offset):
    """(the bag of each integer, its place there, how many bags)."""
    if input.dim() == 2 and offsets is None:
        count, length = input.shape
        numbers = _core.arange(count * length)
        return numbers // max(length, 1), numbers % max(length, 1), count
    if input.dim() != 1 or offsets is None or offsets.dim() != 1:
        raise ValueError(
            "embedding_bag: expected an input (B, N) without offsets, or (N,) with offsets (B,), got "
            f"{tuple(input.shape)} and {None if offsets is None else tuple(offsets.shape)}"
        )
    numbers = _core.arange(input.numel())
    bag = _core.searchsorted(offsets, numbers, right=True) - 1
    return bag, numbers - offsets[bag], offsets.numel() - bool(include_last_offset)


def _largest(rows, bag, place, kept, sizes, input):
    """The maximum of each bag, by a table (B, longest bag) of row numbers filled up with that of a row of -inf."""
    length = input.size(1) if input.dim() == 2 else int((place + 1).max().item()) if rows.size(0) else 0
    if length == 0:
        return _core.zeros(sizes.size(0), rows.size(1), dtype=rows.dtype)
    none = rows.size(0)
    numbers = _core.where(kept != 0, _core.arange(none), none)
    table = _core.full((sizes.size(0) * length,), none).index_copy(0, bag * length + place, numbers)
    rows = _core.cat([rows, _core.full((1, rows.size(1)), float("-inf"), dtype=rows.dtype)])
    largest = rows.index_select(0, table).reshape(-1, length, rows.size(1)).max(1).values
    return _core.where(sizes == 0, 0.0, largest)
