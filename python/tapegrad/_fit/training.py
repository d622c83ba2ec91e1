"""The loop of fit(): epochs of captured steps, their measurement, and the callbacks between them."""

from __future__ import annotations

import math
import time

import numpy as np

from .. import _core, optim
from .._compile import Compiled
from .._grad_mode import no_grad
from ..utils.data import DataLoader
from .losses import BatchLoss
from .passes import Pass, Totals
from .run import Run

_ADVICE = "training has diverged: try a smaller learning rate, or inputs scaled to about 1"


class _Stopped(Exception):
    """Ends the run in the middle of an epoch."""


class Training:
    """Trains the model of a run.

    loss: a BatchLoss. makers: of metrics, by name. batches, held_out: to train and to validate on (None: do not).
    accumulate: batches to an optimizer step. deadline: when to stop, on the clock of time.perf_counter(), or None.
    """

    def __init__(self, run: Run, loss: BatchLoss, makers, batches, held_out, *, accumulate, deadline, compile, bar):
        self.run = run
        self._loss = loss
        self._batches = batches
        self._held_out = held_out
        self._accumulate = accumulate
        self._deadline = deadline
        self._compile = compile
        self._bar = bar
        self._makers = makers
        self._plain_loss = BatchLoss(loss.function)  # weights of classes are for training alone
        self._recorded = True  # whether the history has what the totals hold
        self._totals = run.totals = Totals(loss.summed, {name: make() for name, make in makers.items()})
        step = self._part_of_step if accumulate > 1 else self._whole_step
        chunk = accumulate if accumulate > 1 or run.has("on_step") else None
        self._training = Pass(step, self._totals, compile, chunk)
        self._updating = Compiled(self._update, True, compile == "auto") if compile else self._update
        self._validating = None

    def train(self, state: dict | None) -> None:
        """Runs the epochs, from the state of an interrupted run on if there is one."""
        run, reason = self.run, None
        try:
            run.resumed = state is not None
            run.call("on_fit_begin")
            if state is not None:
                run.load_state_dict(state)
            while run.completed < run.epochs and run.ended is None:
                self._epoch(state if state is not None and state["totals"] is not None else None)
                state = None
        except _Stopped as stopped:
            self._record_cut()
            reason = str(stopped)
        except KeyboardInterrupt:
            run.history.interrupted = True
            self._record_cut()
        except FloatingPointError as error:
            handled = [callback.on_divergence(run) for callback in run.callbacks]
            if not any(handled):
                error.history = run.history
                raise
            run.ended = run.ended or str(error)
        finally:
            if self._compile or self._accumulate > 1:
                run.optimizer.zero_grad()
        run.history.stopped = reason or run.ended
        run.call("on_fit_end")

    def _epoch(self, state: dict | None) -> None:
        """One epoch: the rest of it, where a state says how far it was."""
        run = self.run
        self._recorded = False
        self._begin_epoch(state)
        run.model.train()
        self._train_batches(state is not None)
        row = self._totals.values()
        if self._held_out is not None:
            if self._validating is None:
                self._validating = measuring(run.model, self._plain_loss, self._makers, self._still_captured())
            row.update({f"val_{k}": v for k, v in measure(run.model, self._held_out, self._validating).items()})
        self._record(row)
        run.completed = run.epoch
        if not math.isfinite(row.get("val_loss", 0.0)):
            raise FloatingPointError(f"validation loss is {row['val_loss']} after epoch {run.epoch}; {_ADVICE}")
        run.call("on_epoch_end")
        if run.needs_recapture:
            self._training.forget()
            if self._compile:
                self._updating.forget()
            if self._validating is not None:
                self._validating.forget()

    def _begin_epoch(self, state: dict | None) -> None:
        run, totals = self.run, self._totals
        totals.reset()
        run.epoch = run.completed + 1
        self._start = time.perf_counter()
        if state is None:
            run.pass_begun = _core.default_generator.get_state()
            run.call("on_epoch_begin")
        else:
            totals.load_state_dict(state["totals"])
            run.pass_begun = state["pass"]
            self._start -= state["seconds"]
        run.drawn = state is not None and state["drawn"]
        self._updated = totals.samples
        self._steps_before = run.step - self._steps()

    def _train_batches(self, resumed: bool) -> None:
        run, totals, batches = self.run, self._totals, self._batches
        if resumed and not isinstance(batches, DataLoader):  # a DataLoader knows where it was
            batches = _rest(batches, totals.batches, run.pass_begun)
        try:
            if not run.drawn:
                self._training.run(batches, self._after)
        except _core._NotFinite as error:
            raise FloatingPointError(self._divergence(error.args[0])) from None
        run.drawn = True
        if totals.samples == 0:
            raise ValueError("train gave no samples; is the data set smaller than a batch, with drop_last=True?")
        if self._accumulate > 1 and self._updated < totals.samples:
            self._after()

    def _steps(self) -> int:
        """Optimizer steps of this epoch."""
        return -(-self._totals.batches // self._accumulate)

    def _after(self) -> None:
        """Behind a chunk of batches."""
        run = self.run
        if self._accumulate > 1:
            samples, self._updated = self._totals.samples - self._updated, self._totals.samples
            self._updating(1.0 if self._loss.summed else 1.0 / samples)
        run.step = self._steps_before + self._steps()
        run.seconds = time.perf_counter() - self._start
        self._bar.update(run.epoch, self._totals)
        run.call("on_step")
        if run.ended is not None:
            raise _Stopped(run.ended)
        if self._deadline is not None and time.perf_counter() >= self._deadline:
            raise _Stopped("max_seconds are over")

    # The step: as a whole, or its gradients and, after some batches, the update.

    def _whole_step(self, x, y, *weight):
        optimizer = self.run.optimizer
        if isinstance(optimizer, optim.LBFGS):
            first = []

            def closure():
                optimizer.zero_grad()
                loss, *measured = self._forward(x, y, *weight)
                loss.backward()
                self.run.call("on_gradients")
                first[:] = first or measured
                return loss

            optimizer.step(closure)
            return first
        optimizer.zero_grad()
        loss, value, output = self._forward(x, y, *weight)
        loss.backward()
        self.run.call("on_gradients")
        optimizer.step()
        return value, output

    def _part_of_step(self, x, y, *weight):
        loss, value, output = self._forward(x, y, *weight)
        (loss if self._loss.summed else loss * y.shape[0]).backward()
        return value, output

    def _forward(self, x, y, *weight):
        output = self.run.model(x)
        loss = self._loss(output, y, *weight)
        if not isinstance(loss, _core.Tensor):
            raise TypeError(f"the loss must be a scalar tensor, made of the output by tensor operations, got {loss!r}")
        return loss, _core._require_finite(loss), output

    def _update(self, share: float) -> None:
        """A step with the gradients that parts have added up, times `share`: those of one large batch."""
        with no_grad():
            for gradient in self._gradients() if share != 1.0 else ():
                gradient.mul_(share)
        self.run.call("on_gradients")
        self.run.optimizer.step()
        with no_grad():
            for gradient in self._gradients():  # in place: what adds to them is captured with their memory
                gradient.zero_()

    def _gradients(self):
        groups = self.run.optimizer.param_groups
        return [p.grad for group in groups for p in group["params"] if p.grad is not None]

    # The record.

    def _record(self, row: dict) -> None:
        steps = self.run.step - self._steps_before
        self.run.history.append({**row, "seconds": time.perf_counter() - self._start, "steps": steps})
        self._recorded = True

    def _record_cut(self) -> None:
        """The epoch that was cut short, over the batches it has had."""
        if not self._recorded and self._totals.samples:
            self.run.step = self._steps_before + self._steps()
            self._record(self._totals.values())

    def _still_captured(self):
        return self._compile if self._training.captured else False

    def _divergence(self, value: float) -> str:
        where = f"loss is {value} at epoch {self.run.epoch}, step {self._totals.batches // self._accumulate + 1}"
        for name, tensor in zip(("inputs", "targets"), self._training.batch, strict=True):
            if not np.isfinite(tensor.detach().numpy()).all():
                return f"{where}: the {name} of this batch contain nan or inf; clean the data"
        groups = getattr(self.run.optimizer, "param_groups", None)
        rate = f" (lr is {groups[0]['lr']:g})" if groups and "lr" in groups[0] else ""
        return f"{where}{rate}; {_ADVICE}"


def _rest(batches, behind: int, begun: bytes):
    """The batches of a pass after the first ones, which are drawn once more as they were."""
    generator = _core.default_generator
    now = generator.get_state()
    generator.set_state(begun)
    rest = iter(batches)
    for _ in range(behind):
        next(rest, None)
    generator.set_state(now)
    return rest


def measuring(model, loss: BatchLoss, makers, compile) -> Pass:
    """A pass that measures without training."""

    def step(x, y, *weight):
        output = model(x)
        value = loss(output, y, *weight)
        if value.numel() != 1:
            raise ValueError(f"the loss must be a scalar, got shape {tuple(value.shape)}; use reduction='mean'")
        return value.reshape(()), output

    return Pass(step, Totals(loss.summed, {name: make() for name, make in makers.items()}), compile)


def measure(model, batches, measuring: Pass) -> dict[str, float]:
    """Loss and metrics of the model over the batches, in eval() mode."""
    model.eval()
    measuring.totals.reset()
    with no_grad():
        measuring.run(batches)
    if measuring.totals.samples == 0:
        raise ValueError("the data that is to be measured has no samples")
    return measuring.totals.values()
