"""A line search for the strong Wolfe conditions: cubic interpolation within a bracket."""

import math


class Point:
    """A place along the line: t, the value there, its gradient, and its derivative along the line."""

    __slots__ = ("gradient", "slope", "t", "value")

    def __init__(self, t, value, gradient, slope):
        self.t, self.value, self.gradient, self.slope = t, value, gradient, slope


def cubic_minimum(a, b, bounds=None):
    """Where the cubic with the values and slopes of two points is least, within bounds (else between the points)."""
    if a.t > b.t:
        a, b = b, a
    low, high = bounds or (a.t, b.t)
    d1 = a.slope + b.slope - 3 * (a.value - b.value) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2
    d2 = math.sqrt(square)
    divisor = b.slope - a.slope + 2 * d2
    if divisor == 0:
        return (low + high) / 2
    return min(max(b.t - (b.t - a.t) * ((b.slope + d2 - d1) / divisor), low), high)


def strong_wolfe(evaluate, start, t, longest, iterations, c1=1e-4, c2=0.9, tolerance=1e-9):
    """The first point found, from t on, that lies low enough (c1) and is flat enough (c2); else the lowest one.

    evaluate(t) gives the Point at t; start: that at 0. longest: the largest component of the direction; a bracket in
    which no component changes by more than tolerance is not searched.
    Source: Nocedal and Wright, "Numerical optimization", algorithms 3.5 and 3.6, in the form of torch.optim.LBFGS.
    """

    def too_high(point):
        return point.value > start.value + c1 * point.t * start.slope

    def flat(point):
        return abs(point.slope) <= -c2 * start.slope

    previous, point, done = start, evaluate(t), 0
    while done < iterations:
        if too_high(point) or (done > 1 and point.value >= previous.value):
            break
        if flat(point):
            return point
        if point.slope >= 0:
            break
        t = cubic_minimum(previous, point, (point.t + 0.01 * (point.t - previous.t), 10 * point.t))
        previous, point, done = point, evaluate(t), done + 1
    else:
        previous = start

    low, high = (previous, point) if previous.value <= point.value else (point, previous)
    near_edge = False
    while done < iterations and abs(high.t - low.t) * longest >= tolerance:
        left, right = min(low.t, high.t), max(low.t, high.t)
        t, margin = cubic_minimum(low, high), 0.1 * (right - left)
        if min(right - t, t - left) >= margin:
            near_edge = False
        elif near_edge or not left < t < right:  # the second time in a row: no progress
            t = right - margin if abs(t - right) < abs(t - left) else left + margin
            near_edge = False
        else:
            near_edge = True
        point, done = evaluate(t), done + 1
        if too_high(point) or point.value >= low.value:
            high = point
            if high.value < low.value:
                low, high = high, low
        elif flat(point):
            return point
        else:
            if point.slope * (high.t - low.t) >= 0:
                high = low
            low = point
    return low
