"""Deferred expressions: values and gradients of formulas, a parabola and a line fitted to seven points.

python -m tapegrad.examples.expressions
"""

from tapegrad.expr import Expr, V, fit

POINTS = [(-2, 2.7), (-1, 3), (0, 1.3), (1, 2.4), (3, 5.5), (4, 6.2), (5, 9.1)]


def squared_error(model, params: list[V]) -> tuple[Expr, tuple[V, V], list[V]]:
    """(the loss of a point, its inputs x and y, params) for the formula model(x, *params)."""
    vx, vy = V(0), V(0)
    oy = model(vx, *params)
    return (vy - oy) * (vy - oy), (vx, vy), params


def parabola():
    return squared_error(lambda x, a, b, c: a * x * x + b * x + c, [V(0), V(0), V(0)])


def line():
    return squared_error(lambda x, a, b: a * x + b, [V(1), V(1)])


def main() -> None:
    vx, vw, vz = V(1), V(3), V(4)
    e = (vx + vw) * (vz + 3)
    print(f"(x + w) * (z + 3) at x = 1, w = 3, z = 4: {e.compute():g}")
    e.compute_gradient()
    print(f"its derivative by x: {vx.gradient:g}, by z: {vz.gradient:g}")
    vx.assign(2)
    print(f"at x = 2: {e.compute():g}")

    for problem in (parabola, line):
        loss, inputs, params = problem()
        last = fit(loss, POINTS, params, inputs=inputs, report=lambda iteration, loss: None)
        numbers = ", ".join(f"{p.value:.4f}" for p in params)
        print(f"{problem.__name__}: {numbers}, sum of squared errors {last}")


if __name__ == "__main__":
    main()
