"""PyTorch with its training step compiled by `torch.compile` (C++ by inductor), in the faster of two ways for each net.

Either the whole step is one graph, with gradients by torch.func and Adam's update written out, or the graph ends with
the gradients and the fused optimizer follows. A compiled step that calls backward() and optimizer.step() is broken into
several graphs: it was slower than PyTorch without compilation for 2-16-16-2 and 784-256-10.
"""

from __future__ import annotations

from time import perf_counter

from cases import BETA1, BETA2, EPSILON, LEARNING_RATES, TrainStep
from data import TrainData

from . import Unable, _eager, torch_peer
from .torch_peer import versions  # noqa: F401


def start(threads: int) -> None:
    global torch
    torch_peer.start(threads)
    import torch
    import torch._inductor.config

    torch._inductor.config.compile_threads = 1  # no processes beside this one


class Step(_eager.Step):
    """Parameters and moments are updated in place."""

    def __init__(self, case: TrainStep, data: TrainData) -> None:
        super().__init__(torch, case, data, torch_peer.FUSED)
        torch.compiler.reset()
        self.adam_step = torch.compile(self.adam_step, fullgraph=True)
        self.gradients = torch.compile(self.gradients, fullgraph=True)
        self.train = min((self.whole, self.split), key=self.seconds)

    def seconds(self, train) -> float:
        """The shortest run, of as many as fit into 0.1 s; the first ones, which compile, come before."""
        runs, end = [], 0.0
        for _ in range(3):
            train(self.x, self.y)
        while len(runs) < 3 or perf_counter() < end:
            end = end or perf_counter() + 0.1
            begin = perf_counter()
            train(self.x, self.y)
            runs.append(perf_counter() - begin)
        return min(runs)

    def reset(self) -> None:
        super().reset()
        self.params = {name: param.detach() for name, param in self.model.named_parameters()}
        zeros = lambda: {name: torch.zeros_like(param) for name, param in self.params.items()}  # noqa: E731
        self.m, self.v, self.count = zeros(), zeros(), torch.zeros(())

    def whole(self, x, y):
        with torch.no_grad():
            return self.adam_step(self.params, self.m, self.v, self.count, x, y)

    def split(self, x, y):
        with torch.no_grad():
            grads, loss = self.gradients(self.params, x, y)
        for name, param in self.model.named_parameters():
            param.grad = grads[name]
        self.optimizer.step()
        return loss

    def gradients(self, params, x, y):
        return torch.func.grad_and_value(self.loss_of)(params, x, y)

    def adam_step(self, params, m, v, count, x, y):
        grads, loss = torch.func.grad_and_value(self.loss_of)(params, x, y)
        count += 1
        correction = torch.sqrt(1 - BETA2**count)
        step_size = LEARNING_RATES["adam"] * correction / (1 - BETA1**count)
        for name, grad in grads.items():
            m[name].mul_(BETA1).add_(grad, alpha=1 - BETA1)
            v[name].mul_(BETA2).addcmul_(grad, grad, value=1 - BETA2)
            params[name].sub_(step_size * m[name] / (torch.sqrt(v[name]) + EPSILON * correction))
        return loss

    def loss_of(self, params, x, y):
        return self.criterion(torch.func.functional_call(self.model, params, (x,)), y)


def train_step(case: TrainStep, data: TrainData) -> Step:
    """Compiles, which needs a C++ compiler, so that no step that is timed does."""
    try:
        step = Step(case, data)
    except Exception as error:  # of many kinds: no compiler, one that fails, a processor inductor does not know
        raise Unable(f"{type(error).__name__}: {str(error).strip().splitlines()[0]}") from error
    step.reset()
    return step
