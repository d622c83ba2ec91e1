"""JAX: the whole step, update included, is one jitted function whose parameters and state are donated."""

from __future__ import annotations

import numpy as np

from cases import BETA1, BETA2, EPSILON, LEARNING_RATES, MOMENTUM, Epoch, TrainStep
from data import TrainData


def start(threads: int) -> None:
    """XLA sizes its pool by the CPUs this process may run on, which the worker has limited to `threads`."""
    global jax, jnp
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_platforms", "cpu")


def versions() -> dict[str, str]:
    return {"jax": jax.__version__}


def _loss(params, x, y):
    for w, b in params[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = params[-1]
    log_p = jax.nn.log_softmax(x @ w + b)
    return -jnp.take_along_axis(log_p, y[:, None], axis=1).mean()


def _adam_step(params, state, x, y):
    m, v, count = state
    loss, grads = jax.value_and_grad(_loss)(params, x, y)
    count = count + 1
    correction = jnp.sqrt(1 - BETA2**count)
    step_size = LEARNING_RATES["adam"] * correction / (1 - BETA1**count)
    m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, grads)
    v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, grads)
    update = lambda p, m, v: p - step_size * m / (jnp.sqrt(v) + EPSILON * correction)  # noqa: E731
    return jax.tree.map(update, params, m, v), (m, v, count), loss


def _sgd_step(params, m, x, y):
    loss, grads = jax.value_and_grad(_loss)(params, x, y)
    m = jax.tree.map(lambda m, g: MOMENTUM * m + g, m, grads)
    return jax.tree.map(lambda p, m: p - LEARNING_RATES["sgd"] * m, params, m), m, loss


class Step:
    def __init__(self, case: TrainStep, data: TrainData) -> None:
        self.data = data
        self.adam = case.optimizer == "adam"
        self.compiled = jax.jit(_adam_step if self.adam else _sgd_step, donate_argnums=(0, 1))
        self.x, self.y = jnp.asarray(data.x), jnp.asarray(data.y, jnp.int32)
        self.reset()

    def reset(self) -> None:
        pairs = zip(self.data.weights, self.data.biases, strict=True)
        self.params = [(jnp.array(np.ascontiguousarray(w.T)), jnp.array(b)) for w, b in pairs]
        zeros = lambda: jax.tree.map(jnp.zeros_like, self.params)  # noqa: E731
        self.state = (zeros(), zeros(), jnp.zeros((), jnp.float32)) if self.adam else zeros()

    def step(self) -> None:
        self.train(self.x, self.y)

    def train(self, x, y):
        self.params, self.state, self.last_loss = self.compiled(self.params, self.state, x, y)
        return self.last_loss

    def loss(self) -> float:
        return float(self.last_loss)

    def wait(self) -> None:
        jax.block_until_ready((self.params, self.state, self.last_loss))


class EpochOfSteps:
    """A loop over batches that were made, in shuffled order, before the time is taken; losses are read at the end."""

    def __init__(self, step: Step, x: np.ndarray, y: np.ndarray, batch: int) -> None:
        self.step = step
        starts = range(0, len(y), batch)
        self.batches = [(jnp.asarray(x[i : i + batch]), jnp.asarray(y[i : i + batch], jnp.int32)) for i in starts]
        self.counts = [len(y) for _, y in self.batches]

    def reset(self) -> None:
        self.step.reset()

    def run(self) -> float:
        losses = [self.step.train(x, y) for x, y in self.batches]
        self.step.wait()
        return float(np.average(jax.device_get(losses), weights=self.counts))


def train_step(case: TrainStep, data: TrainData) -> Step:
    return Step(case, data)


def epoch(case: Epoch, data: TrainData, x: np.ndarray, y: np.ndarray) -> EpochOfSteps:
    return EpochOfSteps(Step(case.step, data), x, y, case.step.batch)
