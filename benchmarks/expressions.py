"""Benchmark lines that are one statement: per-call cost, elementwise operations, reductions, matrix products."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Expression:
    """A statement timed with `timeit`. `eager` is for PyTorch and tapegrad, to which `torch` is tapegrad.

    `arrays` are the shapes of the float32 arrays it works on: NumPy arrays, or tensors that share their memory. `setup`
    and `numpy_setup` run once before. `value` is compared between the peers (default: the statement's own value).
    """

    name: str
    arrays: dict[str, Shape]
    eager: str
    numpy: str = ""
    setup: str = ""
    numpy_setup: str = ""
    value: str = ""
    flops: int = 0
    goals: dict[str, float] = field(default_factory=dict)
    tolerance = 1e-3

    @property
    def peers(self) -> tuple[str, ...]:
        return ("numpy", "torch", "tapegrad") if self.numpy else ("torch", "tapegrad")


ONE = {"a": (1,), "b": (1,), "c": (1,)}
WANT_GRAD = "for t in (a, b, c): t.requires_grad_()"
FIFTY = "params = [torch.nn.Parameter(w[i]) for i in range(50)]\nfor p in params: p.grad = torch.ones_like(p)\n"
LAYER = "layer = torch.nn.Linear(16, 16)\nwith torch.no_grad():\n    layer.weight.copy_(w)\n    layer.bias.copy_(bias)"

OUT = "y, column = np.empty_like(x), np.empty((len(x), 1), np.float32)"

# One element: dearer than NumPy's, or than a quarter of PyTorch's with a graph, is too dear.
ONE_ELEMENT = {
    "a / b": ("a / b", "a / b"),
    "a ** 2": ("a ** 2", "a ** 2"),
    "tanh": ("a.tanh()", "np.tanh(a)"),
    "floor": ("a.floor()", "np.floor(a)"),
    "maximum": ("torch.maximum(a, b)", "np.maximum(a, b)"),
    "clamp": ("a.clamp(0.0, 1.0)", "np.clip(a, 0.0, 1.0)"),
    "where": ("torch.where(a > 0, a, b)", "np.where(a > 0, a, b)"),
    "mean": ("a.mean()", "a.mean()"),
    "max": ("a.max()", "a.max()"),
    "cumsum": ("a.cumsum(0)", "np.cumsum(a, 0)"),
    "sort": ("a.sort().values", "np.sort(a)"),
    "cat": ("torch.cat((a, b))", "np.concatenate((a, b))"),
    "reshape": ("a.reshape(1, 1)", "a.reshape(1, 1)"),
}
CALLS_OF_ONE = tuple(
    line
    for name, (eager, numpy) in ONE_ELEMENT.items()
    for line in (
        Expression(name, ONE, eager, numpy, goals={"numpy": 1}),
        Expression(
            f"{name} with a graph", ONE, eager, setup=WANT_GRAD, value=f"({eager}).detach()", goals={"torch": 4}
        ),
    )
)
CALLS = (
    Expression("a + b", ONE, "a + b", "a + b", goals={"numpy": 1.8, "torch": 8}),
    Expression("a + b with a graph", ONE, "a + b", setup=WANT_GRAD, goals={"torch": 6}),
    Expression(
        "forward and backward of *, +, tanh",
        ONE,
        "(a * b + c).tanh().backward()",
        setup=WANT_GRAD,
        value="a * b + c",
        goals={"torch": 15},
    ),
    Expression("a * 2.0", ONE, "a * 2.0", "a * 2.0", goals={"numpy": 1}),
    Expression("exp", ONE, "a.exp()", "np.exp(a)", goals={"numpy": 1}),
    Expression("sum", ONE, "a.sum()", "a.sum()", goals={"numpy": 1}),
    *CALLS_OF_ONE,
    Expression("softmax of 10", {"x": (1, 10)}, "torch.softmax(x, 1)", "softmax(x, y, column)", "", OUT),
    Expression("x[0] of 4x4", {"x": (4, 4)}, "x[0]", "x[0]"),
    Expression("x.shape", {"x": (4, 4)}, "x.shape", "x.shape"),
    Expression("nn.Linear(16, 16), one row", {"x": (1, 16), "w": (16, 16), "bias": (16,)}, "layer(x)", setup=LAYER),
    Expression(
        "SGD step, 50 parameters of 10",
        {"w": (50, 10)},
        "optimizer.step()",
        setup=FIFTY + "optimizer = torch.optim.SGD(params, lr=0.0, momentum=0.9, **fused)",
        value="params[0]",
    ),
    Expression(
        "Adam step, 50 parameters of 10",
        {"w": (50, 10)},
        "optimizer.step()",
        setup=FIFTY + "optimizer = torch.optim.Adam(params, lr=0.0, **fused)",
        value="params[0]",
    ),
    Expression(
        "zero_grad, 50 parameters of 10",
        {"w": (50, 10)},
        "optimizer.zero_grad()",
        setup=FIFTY + "optimizer = torch.optim.SGD(params, lr=0.0)",
        value="params[0]",
    ),
)

SIZES = {"1e3": (10, 100), "1e5": (1000, 100), "4e6": (4000, 1000)}


def _at_all_sizes(make) -> tuple[Expression, ...]:
    """Every line of make(rows, columns) at every size, with the goal that no line falls behind."""
    return tuple(
        replace(line, name=f"{line.name} {size}", goals={"torch": 0.95, "numpy": 0.95})
        for lines in zip(*(make(*shape) for shape in SIZES.values()), strict=True)
        for size, line in zip(SIZES, lines, strict=True)
    )


def _elementwise(rows: int, columns: int) -> list[Expression]:
    n = rows * columns
    out = "y = np.empty_like(a)"
    two, one = {"a": (n,), "b": (n,)}, {"a": (n,)}
    row = {"a": (rows, columns), "b": (columns,)}
    every_other = "a, b = a[::2], b[::2]"
    return [
        Expression("add", two, "a + b", "np.add(a, b, out=y)", "", out),
        Expression("mul", two, "a * b", "np.multiply(a, b, out=y)", "", out),
        Expression("exp", one, "torch.exp(a)", "np.exp(a, out=y)", "", out),
        Expression("tanh", one, "torch.tanh(a)", "np.tanh(a, out=y)", "", out),
        Expression("relu", one, "torch.relu(a)", "np.maximum(a, 0, out=y)", "", out),
        Expression("add a row", row, "a + b", "np.add(a, b, out=y)", "", out),
        Expression(
            "add every other",
            {"a": (2 * n,), "b": (2 * n,)},
            "a + b",
            "np.add(a, b, out=y)",
            every_other,
            f"{every_other}; {out}",
        ),
    ]


def _reductions(rows: int, columns: int) -> list[Expression]:
    x = {"x": (rows, columns)}
    affine = {"x": (rows, columns), "w": (columns,), "b": (columns,)}
    return [
        Expression("sum", x, "x.sum()", "x.sum()"),
        Expression("sum dim 0", x, "x.sum(0)", "x.sum(0)"),
        Expression("sum dim 1", x, "x.sum(1)", "x.sum(1)"),
        Expression("max", x, "x.max()", "x.max()"),
        Expression("argmax dim 1", x, "x.argmax(1)", "x.argmax(1)"),
        Expression("mean", x, "x.mean()", "x.mean()"),
        Expression("var dim 1", x, "x.var(1)", "x.var(1, ddof=1)"),
        Expression("softmax dim 1", x, "torch.softmax(x, 1)", "softmax(x, y, column)", "", OUT),
        Expression("log_softmax dim 1", x, "torch.log_softmax(x, 1)", "log_softmax(x, y, column)", "", OUT),
        Expression(
            "layer_norm",
            affine,
            "torch.nn.functional.layer_norm(x, w.shape, w, b)",
            "layer_norm(x, w, b, y, column)",
            "",
            OUT,
        ),
    ]


ELEMENTWISE = _at_all_sizes(_elementwise)
REDUCTIONS = _at_all_sizes(_reductions)

PRODUCTS = (  # rows, inner, columns
    (32, 32, 32),
    (128, 128, 128),
    (64, 784, 256),
    (64, 256, 256),
    (256, 784, 512),
    (256, 512, 512),
    (512, 1024, 1024),
    (1024, 1024, 1024),
    (2048, 2048, 2048),
)


def _gemm(m: int, k: int, n: int, layout: str) -> Expression:
    """The product of (m, k) and (k, n); an operand marked T in `layout` lies in memory transposed."""
    a, b = ("a.T" if layout[0] == "T" else "a"), ("b.T" if layout[1] == "T" else "b")
    return Expression(
        f"{m}x{k}x{n} {layout}",
        {"a": (m, k) if layout[0] == "N" else (k, m), "b": (k, n) if layout[1] == "N" else (n, k)},
        f"{a} @ {b}",
        f"np.dot({a}, {b}, out=y)",
        numpy_setup=f"y = np.empty(({m}, {n}), np.float32)",
        flops=2 * m * k * n,
        goals={"best": 0.97} | ({"peak": 0.9} if min(m, k, n) >= 1024 else {}),
    )


GEMM = tuple(_gemm(*product, layout) for product in PRODUCTS for layout in ("NN", "NT", "TN"))
