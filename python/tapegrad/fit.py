"""fit() trains a model and evaluate() measures one, over batches of (input, target)."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager

import numpy as np

from . import _core, nn, optim
from ._fit_loop import Pass, Totals
from ._grad_mode import no_grad
from ._history import History
from ._metrics import metric_makers
from .utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

_LOSSES = {"cross_entropy": nn.CrossEntropyLoss, "mse": nn.MSELoss}
_OPTIMIZERS = {"sgd": optim.SGD, "adam": optim.Adam}
_ADVICE = "training has diverged: try a smaller learning rate, or inputs scaled to about 1"
_REFRESH = 0.1  # seconds between updates of the progress bar


def fit(
    model,
    train,
    *,
    loss: str | Callable,
    optimizer,
    epochs: int,
    validation=None,
    metrics: str | Callable | Sequence = (),
    progress: bool = True,
    batch_size: int = 64,
    shuffle: bool = True,
    lr: float | None = None,
    on_epoch: Callable[[History], None] | None = None,
    compile: bool | str = "auto",
) -> History:
    """Trains `model` and returns a History of loss, metrics, seconds and steps per epoch.

    model: an nn.Module. It is in train() mode for the training batches, in eval() mode for validation, and every module
        gets its own mode back at the end.
    train, validation: a DataLoader (or another re-iterable of (input, target) batches), a Dataset, or a pair (X, y) of
        tensors or arrays with samples along the first axis. Arrays are converted: X and floating y (any y for an MSE
        loss) to the dtype of the model's parameters, other y to int64.
    loss: "cross_entropy", "mse", or a callable `loss(output, target)` that returns a scalar tensor.
    optimizer: an optimizer over the model's parameters, or "sgd" or "adam" (then with `lr`, or its default).
    metrics: "accuracy", "mae", "mse", "rmse", "r2", or callables `f(output, target)` (averaged over samples). Those of
        the training data are measured while the model learns; validation values are named "val_loss" and so on.
    progress: shows a bar when standard error is a terminal or the program runs in a notebook.
    batch_size, shuffle: used when `train` is not already batches; shuffling follows `manual_seed`.
    on_epoch: called with the History after each epoch, e.g. to print it or to set `optimizer.param_groups[0]["lr"]`.
    compile: "auto" captures the step and replays it in C++ (see `compile`), whole epochs where `train` is tensors in
        memory, and warns once where it has to run as it is; True raises CaptureError there; False never captures.
        The numbers are the same. What the model, the loss and the metrics read from Python is then frozen from one
        `on_epoch` to the next, and the gradients are dropped at the end.

    The loss of an epoch is the mean over its samples. Ctrl-C ends the run cleanly: the History, with `interrupted` set,
    holds what there is, and the model stays usable.

    Raises FloatingPointError, with the History so far as its attribute `history`, as soon as a loss is nan or infinite;
    the parameters are those that gave this loss. Raises ValueError or TypeError for bad arguments.
    """
    _check_model(model)
    _check_count("epochs", epochs, least=0)
    loss = _loss(loss)
    optimizer = _optimizer(optimizer, model, lr)
    if compile not in (True, False, "auto"):
        raise ValueError(f'compile must be True, False or "auto", got {compile!r}')
    if compile == "auto" and not type(optimizer).__module__.startswith(optim.__name__):
        compile = False  # an optimizer of the user's may count its steps in Python
    makers = metric_makers(metrics)
    batches = _batches("train", train, model, loss, batch_size, shuffle)
    totals = Totals(loss, {name: make() for name, make in makers.items()})
    training, validating = Pass(_train_step(model, loss, optimizer), totals, compile), None
    names = ["loss", *makers]
    if validation is not None:
        held_out = _batches("validation", validation, model, loss, max(batch_size, 1024), False)
        names += [f"val_{name}" for name in names]
    history = History([*names, "seconds", "steps"])
    measured = True  # whether the totals are in the history
    with _restored_modes(model), _Bar(progress, epochs, batches) as bar:
        try:
            for epoch in range(1, epochs + 1):
                measured = False
                start = time.perf_counter()
                model.train()
                _train_epoch(training, batches, optimizer, bar, epoch)
                row = totals.values()
                if validation is not None:
                    if validating is None:
                        validating = _measuring(model, loss, makers, compile if training.captured else False)
                    row.update({f"val_{k}": v for k, v in _evaluate(model, held_out, validating).items()})
                history.append({**row, "seconds": time.perf_counter() - start, "steps": totals.steps})
                measured = True
                if not math.isfinite(row.get("val_loss", 0.0)):
                    raise FloatingPointError(f"validation loss is {row['val_loss']} after epoch {epoch}; {_ADVICE}")
                if on_epoch is not None:
                    on_epoch(history)
                    training.forget()
                    if validating is not None:
                        validating.forget()
        except KeyboardInterrupt:
            history.interrupted = True
            if not measured and totals.samples:
                history.append({**totals.values(), "seconds": time.perf_counter() - start, "steps": totals.steps})
        except FloatingPointError as error:
            error.history = history
            raise
        finally:
            if compile:
                optimizer.zero_grad()
    return history


def evaluate(model, data, *, loss: str | Callable, metrics=(), batch_size: int = 1024) -> dict[str, float]:
    """Measures `model` on `data` in eval() mode without gradients; returns {"loss": ..., metric: ...}.

    Arguments are those of fit(). Every module gets its own mode back.
    """
    _check_model(model)
    loss = _loss(loss)
    batches = _batches("data", data, model, loss, batch_size, False)
    with _restored_modes(model):
        return _evaluate(model, batches, _measuring(model, loss, metric_makers(metrics), False))


def _train_step(model, loss, optimizer):
    def step(x, y):
        optimizer.zero_grad()
        output = model(x)
        batch_loss = loss(output, y)
        value = _core._require_finite(batch_loss)
        batch_loss.backward()
        optimizer.step()
        return value, output

    return step


def _train_epoch(training, batches, optimizer, bar, epoch: int) -> None:
    totals = training.totals
    try:
        training.run(batches, lambda: bar.update(epoch, totals))
    except _core._NotFinite as error:
        raise FloatingPointError(
            _divergence(error.args[0], epoch, totals.steps + 1, *training.batch, optimizer)
        ) from None
    if totals.samples == 0:
        raise ValueError("train gave no samples; is the data set smaller than a batch, with drop_last=True?")


def _measuring(model, loss, makers, compile) -> Pass:
    """A pass that measures without training."""

    def step(x, y):
        output = model(x)
        value = loss(output, y)
        if value.numel() != 1:
            raise ValueError(f"the loss must be a scalar, got shape {tuple(value.shape)}; use reduction='mean'")
        return value.reshape(()), output

    return Pass(step, Totals(loss, {name: make() for name, make in makers.items()}), compile)


def _evaluate(model, batches, measuring: Pass) -> dict[str, float]:
    model.eval()
    with no_grad():
        measuring.run(batches)
    if measuring.totals.samples == 0:
        raise ValueError("validation gave no samples")
    return measuring.totals.values()


class _Bar:
    """One tqdm bar over all epochs, in samples; nothing at all when it is not wanted or nobody would see it."""

    def __init__(self, wanted: bool, epochs: int, batches):
        self.bar = None
        self.epochs = epochs
        if wanted and epochs and (sys.stderr.isatty() or "ipykernel" in sys.modules):
            from tqdm.auto import tqdm

            samples = _sample_count(batches)
            total = None if samples is None else samples * epochs
            self.bar = tqdm(total=total, unit=" samples", unit_scale=True, dynamic_ncols=True)
        self.shown = 0.0
        self.pending = 0
        self.seen = (0, 0)

    def update(self, epoch: int, totals: Totals) -> None:
        if self.bar is None:
            return
        self.pending += totals.samples - (self.seen[1] if self.seen[0] == epoch else 0)
        self.seen = (epoch, totals.samples)
        now = time.perf_counter()
        if now - self.shown >= _REFRESH:
            self.shown = now
            self._flush(epoch, totals)

    def _flush(self, epoch: int, totals: Totals) -> None:
        self.bar.set_description(f"epoch {epoch}/{self.epochs}", refresh=False)
        self.bar.set_postfix(loss=f"{totals.loss / totals.samples:.4g}", refresh=False)
        self.bar.update(self.pending)
        self.pending = 0

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.bar is not None:
            self.bar.update(self.pending)
            self.bar.close()


def _sample_count(batches) -> int | None:
    try:
        count = len(batches.dataset)
        return len(batches) * batches.batch_size if batches.drop_last else count
    except (AttributeError, TypeError):
        return None


def _divergence(value: float, epoch: int, step: int, x, y, optimizer) -> str:
    where = f"loss is {value} at epoch {epoch}, step {step}"
    for name, tensor in (("inputs", x), ("targets", y)):
        if not np.isfinite(tensor.detach().numpy()).all():
            return f"{where}: the {name} of this batch contain nan or inf; clean the data"
    groups = getattr(optimizer, "param_groups", None)
    rate = f" (lr is {groups[0]['lr']:g})" if groups and "lr" in groups[0] else ""
    return f"{where}{rate}; {_ADVICE}"


@contextmanager
def _restored_modes(model):
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _check_model(model) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be an nn.Module, got {type(model).__name__}")


def _check_count(name: str, value, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


def _loss(loss):
    if isinstance(loss, str):
        if loss not in _LOSSES:
            raise ValueError(f"unknown loss {loss!r}; known losses: {', '.join(_LOSSES)}, or pass a callable")
        return _LOSSES[loss]()
    if not callable(loss):
        raise TypeError(f"loss must be a name or a callable loss(output, target), got {type(loss).__name__}")
    return loss


def _optimizer(optimizer, model, lr: float | None):
    if isinstance(optimizer, str):
        if optimizer not in _OPTIMIZERS:
            raise ValueError(f"unknown optimizer {optimizer!r}; known optimizers: {', '.join(_OPTIMIZERS)}")
        options = {} if lr is None else {"lr": lr}
        return _OPTIMIZERS[optimizer](model.parameters(), **options)
    if not hasattr(optimizer, "step") or not hasattr(optimizer, "zero_grad"):
        raise TypeError(f"optimizer must be a name or an optimizer, got {type(optimizer).__name__}")
    if lr is not None:
        raise ValueError("lr goes with an optimizer given by name; set it where this optimizer is made")
    return optimizer


def _batches(name: str, data, model, loss, batch_size: int, shuffle: bool):
    """Something that yields (input, target) batches each time it is iterated."""
    _check_count("batch_size", batch_size, least=1)
    if isinstance(data, (tuple, list)) and len(data) == 2 and all(hasattr(part, "shape") for part in data):
        data = TensorDataset(*_tensors(name, *data, model, loss))
    elif isinstance(data, tuple):
        raise TypeError(f"{name} must be a pair (X, y) of tensors or arrays, got a tuple of {len(data)}")
    if isinstance(data, IterableDataset):
        return DataLoader(data, batch_size=int(batch_size))
    if isinstance(data, Dataset):
        if len(data) == 0:
            raise ValueError(f"{name} has no samples")
        return DataLoader(data, batch_size=int(batch_size), shuffle=shuffle)
    if not hasattr(data, "__iter__") or hasattr(data, "shape"):
        raise TypeError(f"{name} must be a DataLoader, a Dataset or a pair (X, y), got {type(data).__name__}")
    if hasattr(data, "__next__"):
        raise TypeError(f"{name} is an iterator, which can be read only once; pass a DataLoader or a list of batches")
    return data


def _tensors(name: str, x, y, model, loss):
    """The pair as tensors; arrays are converted to what the model's parameters and the loss need."""
    dtype = next((np.dtype(str(p.dtype).rpartition(".")[2]) for p in model.parameters()), np.dtype(np.float32))
    if isinstance(x, np.ndarray):
        x = _core.from_numpy(_plain(f"{name} X", x, dtype))
    if isinstance(y, np.ndarray):
        real = y.dtype.kind == "f" or isinstance(loss, nn.MSELoss)
        y = _core.from_numpy(_plain(f"{name} y", y, dtype if real else np.dtype(np.int64)))
    if x.ndim == 0 or y.ndim == 0 or x.shape[0] != y.shape[0]:
        raise ValueError(f"{name}: X {tuple(x.shape)} and y {tuple(y.shape)} must have as many samples as each other")
    return x, y


def _plain(name: str, array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be an array of numbers, got dtype {array.dtype}")
    array = np.ascontiguousarray(array, dtype=dtype)
    return array if array.flags.writeable else array.copy()
