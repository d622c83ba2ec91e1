"""The table of the optimizers: options to be tested with, and their rules as the papers have them, in NumPy."""

from __future__ import annotations

import numpy as np

# name: options, beside the defaults.
OPTIONS = {
    "SGD": [
        {},
        {"weight_decay": 0.1},
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
        {"momentum": 0.5, "maximize": True},
    ],
    "Adam": [
        {},
        {"betas": (0.8, 0.9), "eps": 1e-4},
        {"betas": (0.3, 0.9), "weight_decay": 0.1},
        {"amsgrad": True, "betas": (0.9, 0.6), "weight_decay": 0.01},
        {"maximize": True},
        {"decoupled_weight_decay": True, "weight_decay": 0.2},
    ],
    "AdamW": [{}, {"weight_decay": 0.2}, {"amsgrad": True, "betas": (0.9, 0.6)}, {"maximize": True}],
    "NAdam": [
        {},
        {"betas": (0.8, 0.9), "momentum_decay": 0.1, "weight_decay": 0.1},
        {"decoupled_weight_decay": True, "weight_decay": 0.2},
        {"betas": (0.0, 0.9), "maximize": True},
    ],
    "RAdam": [
        {},
        {"betas": (0.8, 0.9), "eps": 1e-4, "weight_decay": 0.1},
        {"decoupled_weight_decay": True, "weight_decay": 0.2},
        {"betas": (0.9, 0.5), "maximize": True},
    ],
    "Adamax": [{}, {"betas": (0.8, 0.9), "eps": 1e-4, "weight_decay": 0.1}, {"maximize": True}],
    "Adagrad": [
        {},
        {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5, "eps": 1e-4},
        {"maximize": True},
    ],
    "RMSprop": [
        {},
        {"alpha": 0.8, "eps": 1e-4, "weight_decay": 0.1},
        {"momentum": 0.9},
        {"centered": True},
        {"centered": True, "momentum": 0.5, "maximize": True},
    ],
    "Adadelta": [{}, {"rho": 0.7, "eps": 1e-4, "weight_decay": 0.1}, {"maximize": True}],
    "Rprop": [{}, {"etas": (0.3, 1.5), "step_sizes": (1e-2, 0.2)}, {"maximize": True}],
    "Lion": [{}, {"betas": (0.8, 0.95), "weight_decay": 0.1}, {"maximize": True}],
    "Muon": [
        {},
        {"nesterov": False, "weight_decay": 0.3, "momentum": 0.5},
        {"adjust_lr_fn": "match_rms_adamw", "ns_steps": 3, "ns_coefficients": (2.0, -1.5, 0.5)},
    ],
}
CASES = [(name, options) for name, cases in OPTIONS.items() for options in cases]
IDS = [" ".join([name, *(f"{key}={value}" for key, value in options.items())]) for name, options in CASES]
NOT_IN_TORCH = {"Lion"}


def reference(name, p, grads, lr, *, maximize=False, weight_decay=None, decoupled_weight_decay=False, **options):
    """A parameter after steps with these gradients."""
    if weight_decay is None:
        weight_decay = {"AdamW": 1e-2, "Muon": 0.1}.get(name, 0)
    decoupled = decoupled_weight_decay or name in ("AdamW", "Lion", "Muon")
    update = RULES[name](p, lr, **options)
    for t, g in enumerate(grads, 1):
        g = -g if maximize else g
        if decoupled:
            p = p * (1 - lr * weight_decay)
        else:
            g = g + weight_decay * p
        p = p - update(g, t)
    return p


def sgd(p, lr, momentum=0, dampening=0, nesterov=False):
    b = None

    def update(g, t):
        nonlocal b
        if not momentum:
            return lr * g
        b = g if b is None else momentum * b + (1 - dampening) * g
        return lr * (g + momentum * b if nesterov else b)

    return update


def moments(p, betas):
    m, v = np.zeros_like(p), np.zeros_like(p)

    def step(g):
        nonlocal m, v
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        return m, v

    return step


def adam(p, lr, betas=(0.9, 0.999), eps=1e-8, amsgrad=False):
    step, largest = moments(p, betas), np.zeros_like(p)

    def update(g, t):
        nonlocal largest
        m, v = step(g)
        largest = np.maximum(largest, v) if amsgrad else v
        return lr * (m / (1 - betas[0] ** t)) / (np.sqrt(largest / (1 - betas[1] ** t)) + eps)

    return update


def nadam(p, lr, betas=(0.9, 0.999), eps=1e-8, momentum_decay=4e-3):
    step, product = moments(p, betas), 1.0

    def mu(t):
        return betas[0] * (1 - 0.5 * 0.96 ** (t * momentum_decay))

    def update(g, t):
        nonlocal product
        m, v = step(g)
        product *= mu(t)
        mean = mu(t + 1) * m / (1 - product * mu(t + 1)) + (1 - mu(t)) * g / (1 - product)
        return lr * mean / (np.sqrt(v / (1 - betas[1] ** t)) + eps)

    return update


def radam(p, lr, betas=(0.9, 0.999), eps=1e-8):
    step, most = moments(p, betas), 2 / (1 - betas[1]) - 1

    def update(g, t):
        m, v = step(g)
        m = m / (1 - betas[0] ** t)
        length = most - 2 * t * betas[1] ** t / (1 - betas[1] ** t)
        if length <= 5:
            return lr * m
        r = np.sqrt((length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length))
        return lr * r * m * np.sqrt(1 - betas[1] ** t) / (np.sqrt(v) + eps)

    return update


def adamax(p, lr, betas=(0.9, 0.999), eps=1e-8):
    m, u = np.zeros_like(p), np.zeros_like(p)

    def update(g, t):
        nonlocal m, u
        m = betas[0] * m + (1 - betas[0]) * g
        u = np.maximum(betas[1] * u, np.abs(g) + eps)
        return lr / (1 - betas[0] ** t) * m / u

    return update


def adagrad(p, lr, lr_decay=0, initial_accumulator_value=0, eps=1e-10):
    s = np.full_like(p, initial_accumulator_value)

    def update(g, t):
        nonlocal s
        s = s + g * g
        return lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(s) + eps)

    return update


def rmsprop(p, lr, alpha=0.99, eps=1e-8, momentum=0, centered=False):
    v, a, b = np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)

    def update(g, t):
        nonlocal v, a, b
        v = alpha * v + (1 - alpha) * g * g
        a = alpha * a + (1 - alpha) * g
        b = momentum * b + g / (np.sqrt(v - a * a if centered else v) + eps)
        return lr * b

    return update


def adadelta(p, lr, rho=0.9, eps=1e-6):
    v, u = np.zeros_like(p), np.zeros_like(p)

    def update(g, t):
        nonlocal v, u
        v = rho * v + (1 - rho) * g * g
        d = np.sqrt(u + eps) / np.sqrt(v + eps) * g
        u = rho * u + (1 - rho) * d * d
        return lr * d

    return update


def rprop(p, lr, etas=(0.5, 1.2), step_sizes=(1e-6, 50)):
    last, size = np.zeros_like(p), np.full_like(p, lr)

    def update(g, t):
        nonlocal last, size
        turned = g * last < 0
        size = np.clip(np.where(turned, etas[0], np.where(g * last > 0, etas[1], 1.0)) * size, *step_sizes)
        last = np.where(turned, 0.0, g)
        return np.sign(last) * size

    return update


def lion(p, lr, betas=(0.9, 0.99)):
    m = np.zeros_like(p)

    def update(g, t):
        nonlocal m
        direction = np.sign(betas[0] * m + (1 - betas[0]) * g)
        m = betas[1] * m + (1 - betas[1]) * g
        return lr * direction

    return update


def muon(p, lr, momentum=0.95, nesterov=True, ns_coefficients=(3.4445, -4.7750, 2.0315), ns_steps=5, adjust_lr_fn=None):
    buf = np.zeros_like(p)
    rows, cols = p.shape
    ratio = (
        0.2 * np.sqrt(max(rows, cols)) if adjust_lr_fn == "match_rms_adamw" else np.sqrt(max(1, rows / max(cols, 1)))
    )
    a, b, c = ns_coefficients

    def update(g, t):
        nonlocal buf
        buf = momentum * buf + (1 - momentum) * g
        x = (1 - momentum) * g + momentum * buf if nesterov else buf
        x = x / max(np.linalg.norm(x), 1e-7)
        for _ in range(ns_steps):
            gram = x @ x.T
            x = a * x + (b * gram + c * gram @ gram) @ x
        return lr * ratio * x

    return update


RULES = {
    "SGD": sgd,
    "Adam": adam,
    "AdamW": adam,
    "NAdam": nadam,
    "RAdam": radam,
    "Adamax": adamax,
    "Adagrad": adagrad,
    "RMSprop": rmsprop,
    "Adadelta": adadelta,
    "Rprop": rprop,
    "Lion": lion,
    "Muon": muon,
}
