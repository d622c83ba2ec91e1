"""PyTorch with the whole step, Adam's update included, as one graph compiled by `torch.compile` (C++ by inductor)."""

from __future__ import annotations

from cases import BETA1, BETA2, EPSILON, LEARNING_RATES, TrainStep
from data import TrainData

from . import Unable, _eager, torch_peer
from .torch_peer import versions  # noqa: F401

# Of what torch.compile offers this was the fastest way for every net but where SETTINGS says otherwise: gradients by
# torch.func and the update written out, which makes one graph and thus one call from Python. A step that calls
# backward() and optimizer.step() is broken into several, each with a call of its own.
SETTINGS: dict[str, dict] = {}


def start(threads: int) -> None:
    global torch
    torch_peer.start(threads)
    import torch
    import torch._inductor.config

    torch._inductor.config.compile_threads = 1  # no processes beside this one


class Step(_eager.Step):
    """Parameters and moments are updated in place."""

    def __init__(self, case: TrainStep, data: TrainData) -> None:
        super().__init__(torch, case, data, {})
        torch.compiler.reset()
        self.compiled = torch.compile(self.adam_step, fullgraph=True, options=SETTINGS.get(case.name))

    def reset(self) -> None:
        super().reset()
        self.params = {name: param.detach() for name, param in self.model.named_parameters()}
        zeros = lambda: {name: torch.zeros_like(param) for name, param in self.params.items()}  # noqa: E731
        self.m, self.v, self.count = zeros(), zeros(), torch.zeros(())

    def train(self, x, y):
        with torch.no_grad():
            return self.compiled(self.params, self.m, self.v, self.count, x, y)

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
    """Compiles, which needs a C++ compiler, so that a first step takes no longer than others."""
    step = Step(case, data)
    try:
        step.step()
    except Exception as error:  # of many kinds: no compiler, one that fails, a processor inductor does not know
        raise Unable(f"{type(error).__name__}: {str(error).strip().splitlines()[0]}") from error
    step.reset()
    return step
