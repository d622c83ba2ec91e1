"""NumPy by hand: no allocation in the step, in-place ufuncs, BLAS for products and column sums, updates in blocks."""

from __future__ import annotations

import numpy as np

from cases import BETA1, BETA2, EPSILON, LEARNING_RATES, MOMENTUM, TrainStep
from data import TrainData

BLOCK = 65536  # elements; the five arrays of a block stay in the second-level cache over Adam's dozen passes


def start(threads: int) -> None:
    """The thread count is in the environment already (OPENBLAS_NUM_THREADS and its kin)."""


def versions() -> dict[str, str]:
    return {"numpy": np.__version__}


class Step:
    def __init__(self, case: TrainStep, data: TrainData) -> None:
        self.data = data
        self.update = self._adam if case.optimizer == "adam" else self._sgd
        pairs = list(zip(case.sizes[:-1], case.sizes[1:], strict=True))
        count = sum(i * o + o for i, o in pairs)
        # All parameters in one vector, so that an update costs the same number of calls for any number of layers.
        self.params, self.grads, self.m, self.v = (np.zeros(count, np.float32) for _ in range(4))
        self.scratch = np.empty(min(count, BLOCK), np.float32)
        self.weights, self.biases = _views(self.params, pairs)
        self.weight_grads, self.bias_grads = _views(self.grads, pairs)
        self.blocks = [
            (*(a[i : i + BLOCK] for a in (self.params, self.grads, self.m, self.v)), self.scratch[: count - i])
            for i in range(0, count, BLOCK)
        ]
        self.outputs = [np.empty((case.batch, o), np.float32) for _, o in pairs]
        self.deltas = [np.empty((case.batch, o), np.float32) for _, o in pairs[:-1]]
        self.masks = [np.empty((case.batch, o), bool) for _, o in pairs[:-1]]
        self.column = np.empty((case.batch, 1), np.float32)
        self.ones = np.ones(case.batch, np.float32)
        self.logits = self.outputs[-1].reshape(-1)
        self.picked = np.arange(case.batch) * case.sizes[-1] + data.y  # places of the labels' logits
        self.reset()

    def reset(self) -> None:
        for mine, given in zip(self.weights + self.biases, self.data.weights + self.data.biases, strict=True):
            mine[...] = given.T  # weights are kept (inputs, outputs)
        self.m.fill(0)
        self.v.fill(0)
        self.steps = 0

    def step(self) -> None:
        self._forward()
        self._backward()
        self.update()

    def loss(self) -> float:
        return float(self.last_loss)

    def wait(self) -> None:
        """Nothing runs behind the caller's back."""

    def _forward(self) -> None:
        a = self.data.x
        last = self.outputs[-1]
        for w, b, z in zip(self.weights, self.biases, self.outputs, strict=True):
            np.dot(a, w, out=z)
            z += b
            if z is not last:
                np.maximum(z, 0, out=z)
            a = z

    def _backward(self) -> None:
        # Softmax in place: the logits become probabilities, then the gradient of the mean loss.
        p, column = self.outputs[-1], self.column
        p -= np.maximum.reduce(p, axis=1, keepdims=True, out=column)
        picked = self.logits[self.picked]
        np.exp(p, out=p)
        np.add.reduce(p, axis=1, keepdims=True, out=column)
        p /= column
        self.last_loss = (np.log(column).sum() - picked.sum()) / len(picked)
        self.logits[self.picked] -= 1
        p *= np.float32(1 / len(picked))
        delta = p
        for i in range(len(self.weights) - 1, -1, -1):
            below = self.outputs[i - 1] if i else self.data.x
            np.dot(below.T, delta, out=self.weight_grads[i])
            np.dot(self.ones, delta, out=self.bias_grads[i])
            if i:
                mask = np.greater(below, 0, out=self.masks[i - 1])
                delta = np.dot(delta, self.weights[i].T, out=self.deltas[i - 1])
                delta *= mask

    def _adam(self) -> None:
        self.steps += 1
        # sqrt(1 - beta2^t) is moved into the step size and epsilon, which saves a pass.
        correction = (1 - BETA2**self.steps) ** 0.5
        step_size = LEARNING_RATES["adam"] * correction / (1 - BETA1**self.steps)
        epsilon = EPSILON * correction
        for p, g, m, v, t in self.blocks:
            np.subtract(g, m, out=t)
            t *= 1 - BETA1
            m += t
            np.multiply(g, g, out=t)
            t -= v
            t *= 1 - BETA2
            v += t
            np.sqrt(v, out=t)
            t += epsilon
            np.divide(m, t, out=t)
            t *= step_size
            p -= t

    def _sgd(self) -> None:
        for p, g, m, _, t in self.blocks:
            m *= MOMENTUM
            m += g
            np.multiply(m, LEARNING_RATES["sgd"], out=t)
            p -= t


def _views(flat: np.ndarray, pairs: list[tuple[int, int]]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    weights, biases, at = [], [], 0
    for i, o in pairs:
        weights.append(flat[at : at + i * o].reshape(i, o))
        biases.append(flat[at + i * o : at + i * o + o])
        at += i * o + o
    return weights, biases


def train_step(case: TrainStep, data: TrainData) -> Step:
    return Step(case, data)


def namespace(arrays: dict[str, np.ndarray]) -> dict:
    return {"np": np, "softmax": softmax, "log_softmax": log_softmax, "layer_norm": layer_norm, **arrays}


def softmax(x: np.ndarray, out: np.ndarray, column: np.ndarray) -> np.ndarray:
    np.subtract(x, np.maximum.reduce(x, axis=1, keepdims=True, out=column), out=out)
    np.exp(out, out=out)
    out /= np.add.reduce(out, axis=1, keepdims=True, out=column)
    return out


def log_softmax(x: np.ndarray, out: np.ndarray, column: np.ndarray) -> np.ndarray:
    np.maximum.reduce(x, axis=1, keepdims=True, out=column)
    np.exp(np.subtract(x, column, out=out), out=out)
    column += np.log(np.add.reduce(out, axis=1, keepdims=True))
    return np.subtract(x, column, out=out)


def layer_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, out: np.ndarray, column: np.ndarray) -> np.ndarray:
    np.subtract(x, np.mean(x, axis=1, keepdims=True, out=column), out=out)
    np.vecdot(out, out, out=column[:, 0])
    column /= x.shape[1]
    column += 1e-5
    out /= np.sqrt(column, out=column)
    out *= weight
    out += bias
    return out
