"""Norms of vectors and matrices, under the names of torch.linalg."""

from . import _core

__all__ = ["matrix_norm", "norm", "vector_norm"]

_INF = float("inf")


def vector_norm(x, ord=2, dim=None, keepdim=False, *, dtype=None):
    """sum(|x|^ord)^(1/ord) over all elements or over the dimensions dim; the gradient at 0 is 0.

    ord: a number, inf (the largest |x|), -inf (the smallest) or 0 (how many are not 0). x: float, or give dtype.
    """
    return _core.norm(x, ord, dim, keepdim, dtype)


def matrix_norm(A, ord="fro", dim=(-2, -1), keepdim=False, *, dtype=None):
    """Norm of the matrices in the dimensions dim of A.

    ord: "fro" (root of the sum of squares), 1 or -1 (largest or smallest sum of |A| down a column), inf or -inf (along
    a row). ValueError for 2, -2 and "nuc", which need singular values.
    """
    if A.ndim < 2:
        raise ValueError(f"matrix_norm: expected at least 2 dimensions, got shape {tuple(A.shape)}")
    if isinstance(dim, int) or len(dim) != 2 or dim[0] % A.ndim == dim[1] % A.ndim:
        raise ValueError(f"matrix_norm: dim must be two different dimensions, got {dim}")
    if ord == "fro":
        return _core.norm(A, 2, dim, keepdim, dtype)
    if ord in (2, -2, "nuc"):
        raise ValueError(f"matrix_norm: the norm {ord!r} needs singular values, which are not supported")
    if ord not in (1, -1, _INF, -_INF):
        raise ValueError(f"matrix_norm: ord must be 'fro', 1, -1, inf or -inf, got {ord!r}")
    summed, compared = (dim[0], dim[1]) if abs(ord) == 1 else (dim[1], dim[0])
    sums = _core.norm(A, 1, summed, True, dtype)
    result = (_core.amax if ord > 0 else _core.amin)(sums, compared, True)
    return result if keepdim else result.squeeze(dim)


def norm(A, ord=None, dim=None, keepdim=False, *, dtype=None):
    """vector_norm of all elements (neither ord nor dim given), of a 1-d A or over one dim; else matrix_norm."""
    one = dim is not None and (isinstance(dim, int) or len(dim) == 1)
    if ord is None or one or (dim is None and A.ndim == 1):
        if isinstance(ord, str):
            raise ValueError(f"norm: {ord!r} is a norm of matrices; got one dimension")
        return vector_norm(A, 2 if ord is None else ord, dim, keepdim, dtype=dtype)
    if dim is None and A.ndim != 2:
        raise ValueError(f"norm: with ord and no dim, A must have 1 or 2 dimensions, got shape {tuple(A.shape)}")
    return matrix_norm(A, ord, (0, 1) if dim is None else dim, keepdim, dtype=dtype)
