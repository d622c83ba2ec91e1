"""Calls everything tapegrad exports with arguments that make no sense: `python fuzz_calls.py SEED COUNT LOG`.

test_nonsense.py runs it in a process of its own. LOG always holds the call being made, for when the process dies.
"""

from __future__ import annotations

import mmap
import random
import sys

import numpy as np

import tapegrad as tg

PLAIN = (TypeError, ValueError, IndexError, RuntimeError, MemoryError, OverflowError, AttributeError, BufferError)
# Not functions of their arguments alone.
SKIPPED = {"set_num_threads", "set_default_dtype", "manual_seed", "fit", "evaluate", "set_grad_enabled"}


def values(rng: random.Random) -> list:
    x = tg.randn(3, 4)
    return [
        None, True, 0, 1, -1, 2, 3, 7, -5, 2**45, 2**63 - 1, 2**63, -(2**63), 10**30, 0.5, -1.5, float("nan"),
        float("inf"), 1j, "a", "", b"x", (), [], {}, (1,), (-1,), (2, 2), (0, 3), (3, -1), [1, 2], [[1], [2, 3]],
        (2**40, 2**40), [2**62, 4], (1,) * 65, slice(None), slice(1, None, 2), slice(None, None, -1), Ellipsis,
        object(), int, np.float32(2), np.int64(-3), np.zeros(3), np.zeros((3, 4), "f4"), np.zeros((2, 2), "c8"),
        np.array(["a"]), np.zeros(3, ">f4"), x, x.t(), x[::2], x[:, 1], tg.zeros(0), tg.zeros(0, 3), tg.tensor(1.5),
        tg.tensor(2), tg.tensor(True), tg.arange(3), tg.tensor([0, 2]), tg.tensor([5, -9]), x > 0, x.double(),
        tg.ones(1).expand(3, 4), tg.ones(1).expand(100, 1000), tg.randn(3, 4, requires_grad=True), tg.randn(4) *
        tg.ones(4, requires_grad=True), [x, x], (x, None), [x, tg.zeros(2)], tg.float32, tg.int64, "mean", "sum",
        "none",
    ]  # fmt: skip


KEYWORDS = [
    "dim",
    "keepdim",
    "dtype",
    "requires_grad",
    "generator",
    "other",
    "input",
    "reduction",
    "p",
    "out",
    "correction",
    "alpha",
    "bogus",
]


def names() -> list[tuple[object, str]]:
    functions = [(tg._core, n) for n in dir(tg._core) if not n.startswith("__") and n not in SKIPPED]
    dunders = [
        "__getitem__", "__setitem__", "__add__", "__radd__", "__matmul__", "__pow__", "__rpow__", "__iadd__",
        "__itruediv__", "__eq__", "__lt__", "__and__", "__array__", "__format__", "__contains__", "__init__",
        "__new__", "__setattr__", "__float__", "__index__", "__bool__", "__len__", "__iter__", "__repr__", "__neg__",
        "__invert__", "__hash__", "__reduce_ex__", "__copy__", "__deepcopy__", "__dlpack__", "__array_ufunc__",
        "__array_function__",
    ]  # fmt: skip
    methods = [(tg.Tensor, n) for n in dir(tg.Tensor) if not n.startswith("__")]
    return functions + methods + [(tg.Tensor, n) for n in dunders if hasattr(tg.Tensor, n)]


def use(result) -> None:
    """Reads a small result entirely, and goes back through it: a bad view would read past its memory."""
    if isinstance(result, tg.Tensor) and result.numel() < 10**6:
        result.sum() if result.dtype != tg.bool else result.any()
        repr(result)
        if result.requires_grad:
            result.sum().backward()
    elif isinstance(result, tuple):
        for item in result:
            use(item)


def main(seed: int, count: int, log) -> None:
    rng = random.Random(seed)
    targets = names()
    for _ in range(count):
        owner, name = rng.choice(targets)
        pool = values(rng)
        args = [rng.choice(pool) for _ in range(rng.choice([0, 1, 1, 2, 2, 3, 4]))]
        if owner is tg.Tensor and rng.random() < 0.9:
            args = [rng.choice([p for p in pool if isinstance(p, tg.Tensor)]), *args]
        kwargs = {rng.choice(KEYWORDS): rng.choice(pool) for _ in range(rng.choice([0, 0, 0, 1, 2]))}
        shown = [
            f"{a.dtype}{tuple(a.shape)}" if isinstance(a, tg.Tensor) else repr(a)[:60]
            for a in [*args, *kwargs.values()]
        ]
        line = f"{owner.__name__}.{name} {shown} {list(kwargs)}".encode()[:1023]
        log[: len(line) + 1] = line + b"\0"
        try:
            target = getattr(owner, name)
            use(target(*args, **kwargs) if callable(target) else target.__get__(args[0] if args else None))
        except PLAIN:
            pass


if __name__ == "__main__":
    with open(sys.argv[3], "w+b") as file:
        file.write(b"\0" * 1024)
        file.flush()
        main(int(sys.argv[1]), int(sys.argv[2]), mmap.mmap(file.fileno(), 1024))
