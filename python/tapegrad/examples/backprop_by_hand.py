"""Backpropagation through a ReLU network written out in NumPy, against the tape.

    python -m tapegrad.examples.backprop_by_hand [--sizes 784,1024,1024,10]

For layers Z_k = A_{k-1} W_k + b_k, A_k = relu(Z_k) (none after the last, Y = Z_L) and err = mean((Y - T)^2):

    DZ_L = 2 (Y - T) / size(Y)
    DW_k = A_{k-1}^T DZ_k,  Db_k = sum of DZ_k over rows,  DZ_{k-1} = (DZ_k W_k^T) * (Z_{k-1} > 0)
"""

import argparse
from itertools import pairwise

import numpy as np

import tapegrad as torch
from tapegrad import nn

SEED = 2024  # of numpy.random.RandomState: X, T, then W_1, b_1, W_2, ... , normal, W_k divided by sqrt(rows)


def make_problem(sizes=(4, 6, 6, 6, 1), rows: int = 20):
    """(X, T, [W_k], [b_k]), float64 arrays.

    Inputs (rows, sizes[0]), targets (rows, sizes[-1]), weights (in, out), biases (out,).
    """
    rng = np.random.RandomState(SEED)
    X, T = rng.randn(rows, sizes[0]), rng.randn(rows, sizes[-1])
    W, b = [], []
    for fan_in, fan_out in pairwise(sizes):
        W.append(rng.randn(fan_in, fan_out) / np.sqrt(fan_in))
        b.append(0.1 * rng.randn(fan_out))
    return X, T, W, b


def by_hand(X, T, W, b):
    """(err, [DW_k], [Db_k]) by the formulas above, in the arrays' own dtype."""
    A, Z = [X], []
    for k, (w, c) in enumerate(zip(W, b, strict=True)):
        Z.append(A[-1] @ w + c)
        A.append(np.maximum(Z[-1], 0) if k < len(W) - 1 else Z[-1])
    Y = A[-1]
    err = np.mean((Y - T) ** 2)
    DZ = 2 * (Y - T) / Y.size
    DW, Db = [None] * len(W), [None] * len(b)
    for k in reversed(range(len(W))):
        DW[k] = A[k].T @ DZ
        Db[k] = DZ.sum(axis=0)
        if k > 0:
            DZ = (DZ @ W[k].T) * (Z[k - 1] > 0)
    return err, DW, Db


def tape_step(W, b):
    """step(X, T): err by the tape for Parameters W and b, whose .grad it leaves."""

    def step(X, T):
        for p in [*W, *b]:
            p.grad = None
        A = X
        for k, (w, c) in enumerate(zip(W, b, strict=True)):
            A = A @ w + c
            if k < len(W) - 1:
                A = A.relu()
        err = ((A - T) ** 2).mean()
        err.backward()
        return err

    return step


def by_tape(X, T, W, b, make=None):
    """The same by the tape; `make` turns an array into a tensor (default torch.Tensor: float32)."""
    make = make or torch.Tensor
    W = [nn.Parameter(make(w)) for w in W]
    b = [nn.Parameter(make(c)) for c in b]
    err = tape_step(W, b)(make(X), make(T))
    return err.item(), [w.grad for w in W], [c.grad for c in b]


def difference(ours, theirs) -> float:
    """Largest norm(ours - theirs) / norm(theirs) over the list."""
    return max(np.linalg.norm(np.asarray(a) - c) / np.linalg.norm(c) for a, c in zip(ours, theirs, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="4,6,6,6,1", help="widths of the layers, input first")
    parser.add_argument("--rows", type=int, default=20)
    options = parser.parse_args()
    problem = make_problem([int(n) for n in options.sizes.split(",")], options.rows)
    err, DW, Db = by_hand(*problem)
    print(f"by hand, float64:  err {err:.15f}  DW1[0, 0] {DW[0][0, 0]:.15f}  |DW1| {np.linalg.norm(DW[0]):.15f}")
    for name, make in [("float64", torch.tensor), ("float32", torch.Tensor)]:
        err, GW, Gb = by_tape(*problem, make=make)
        print(f"by tape, {name}:  err {err:.15f}  DW1[0, 0] {GW[0][0, 0]:.15f}  |DW1| {np.linalg.norm(GW[0]):.15f}")
        print(f"  largest relative difference of a gradient: {difference(GW + Gb, DW + Db):.1e}")


if __name__ == "__main__":
    main()
