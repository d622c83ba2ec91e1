"""fit() trains a model, evaluate() measures one, predict() applies one, over batches of data."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager

import numpy as np

from . import _core, nn, optim
from ._fit.batches import as_tensor, batches_of, check_count, dataset_of, dtype_of, split_off, targets_of
from ._fit.losses import BatchLoss, class_weights, find_loss
from ._fit.progress import Bar
from ._fit.run import Run, read_state
from ._fit.training import Training, measure, measuring
from ._grad_mode import no_grad
from ._history import History
from ._tree import flatten
from .metrics import metric_makers
from .utils.data import TensorDataset

_EVALUATED = 1024  # samples in a batch that is only measured, at least


def fit(
    model,
    train,
    *,
    loss: str | Callable,
    optimizer,
    epochs: int,
    validation=None,
    metrics: str | Callable | Sequence | None = (),
    callbacks: Sequence | None = (),
    class_weight=None,
    accumulate: int = 1,
    max_seconds: float | None = None,
    resume=None,
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
        tensors or arrays with samples along the first axis. Arrays are converted: X and floating y to the dtype of the
        model's parameters, whole numbers in y to int64, or for a loss of numbers such as MSE to that dtype too. A third
        part, of data and of batches, is one weight w per sample: the loss is then sum(w_i loss_i) / n.
        validation may also be a share of train, between 0 and 1: so many of its samples, drawn by the default
        generator, are kept out of training.
    loss: the name of a loss ("cross_entropy", "mse", "l1", "huber", "bce_with_logits", ...), or a callable
        `loss(output, target)` that returns a scalar tensor. With weights it is called with reduction="none" where it
        has such a parameter or attribute, and must return one loss per sample where it has not.
    optimizer: an optimizer over the model's parameters, or the name of one ("sgd", "adam", "adamw", "lion", ...), which
        is then made with `lr`, or its default.
    metrics: names ("accuracy", "f1", "auc", "rmse", "r2", ...), objects of tapegrad.metrics, or callables
        `f(output, target)` (averaged over samples). Those of the training data are measured while the model learns;
        validation values are named "val_loss" and so on. They do not see weights.
    callbacks: objects of tapegrad.callbacks, such as EarlyStopping() or ModelCheckpoint(path), called in this order.
    class_weight: weights of the classes in the training loss: {class: weight}, one per class, or "balanced", which is
        n / (classes * count).
    accumulate: batches to an optimizer step. Their gradients are added up to that of one batch of all their samples;
        what remains at an epoch's end makes a step of its own.
    max_seconds: ends the run after the step in which this time is over.
    resume: a file that ModelCheckpoint or `run.save` wrote. The run goes on from there, in the middle of an epoch too,
        with the same bits as one that was never interrupted, if model, data and arguments are the same. Where there is
        no such file yet, it starts from the beginning, so that one command begins and continues a run.
    progress: shows a bar when standard error is a terminal or the program runs in a notebook.
    batch_size, shuffle: used when `train` is not already batches; shuffling follows `manual_seed`.
    on_epoch: called with the History after each epoch, e.g. to print it or to set `optimizer.param_groups[0]["lr"]`.
    compile: "auto" captures the step and replays it in C++ (see `compile`), whole epochs where `train` is tensors in
        memory, and warns once where it has to run as it is; True raises CaptureError there; False never captures.
        The numbers are the same. What the model, the loss and the metrics read from Python is then frozen from one
        `on_epoch` to the next, and the gradients are dropped at the end.

    The loss of an epoch is the mean over its samples. Ctrl-C ends the run cleanly: the History, with `interrupted` set,
    holds what there is, and the model stays usable. `history.stopped` says why a run ended before its last epoch.

    Raises FloatingPointError, with the History so far as its attribute `history`, as soon as a loss is nan or infinite;
    the parameters are those that gave this loss. Raises ValueError or TypeError for bad arguments.
    """
    start = time.perf_counter()
    _check_model(model)
    check_count("epochs", epochs, least=0)
    check_count("accumulate", accumulate, least=1)
    if max_seconds is not None and not max_seconds > 0:
        raise ValueError(f"max_seconds must be positive, got {max_seconds!r}")
    state = None if resume is None else read_state(resume)
    if state is not None:
        _core.default_generator.set_state(state["begun"])
    begun = _core.default_generator.get_state()
    loss = find_loss(loss)
    optimizer = _optimizer(optimizer, model, lr, accumulate)
    makers = metric_makers(metrics)
    train, validation = dataset_of("train", train, model, loss), dataset_of("validation", validation, model, loss)
    if isinstance(validation, (int, float, np.floating)):
        train, validation = split_off(train, validation)
    batches = batches_of("train", train, batch_size, shuffle)
    names = ["loss", *makers]
    if validation is not None:
        validation = batches_of("validation", validation, max(batch_size, _EVALUATED), False)
        names += [f"val_{name}" for name in names]
    history = History([*names, "seconds", "steps"])
    targets = None if class_weight is None else targets_of(batches)
    weights = class_weights(class_weight, targets, getattr(_core, dtype_of(model).name))
    callbacks = _callbacks(callbacks, on_epoch)
    run = Run(model, optimizer, history, epochs, callbacks, batches, begun)
    with _restored_modes(model), Bar(progress, epochs, batches) as bar:
        Training(
            run,
            BatchLoss(loss, weights),
            makers,
            batches,
            validation,
            accumulate=accumulate,
            deadline=None if max_seconds is None else start + max_seconds,
            compile=_compiled(compile, optimizer),
            bar=bar,
        ).train(state)
    return history


def evaluate(model, data, *, loss: str | Callable, metrics=(), batch_size: int = _EVALUATED) -> dict[str, float]:
    """Measures `model` on `data` in eval() mode without gradients; returns {"loss": ..., metric: ...}.

    Arguments are those of fit(). Every module gets its own mode back.
    """
    _check_model(model)
    loss = find_loss(loss)
    batches = batches_of("data", dataset_of("data", data, model, loss), batch_size, False, once=True)
    with _restored_modes(model):
        return measure(model, batches, measuring(model, BatchLoss(loss), metric_makers(metrics), False))


def predict(model, data, *, batch_size: int = _EVALUATED):
    """The outputs of `model` for `data`, in eval() mode without gradients, joined along the first axis.

    data: inputs as a tensor or an array (which is converted to the dtype of the model's parameters); or a Dataset, a
        DataLoader or another iterable of batches, of which only the inputs are used. batch_size: for what is not
        batches yet.

    Returns what the model returns for one batch, a NumPy array for each tensor where `data` is an array. Every module
    gets its own mode back.
    """
    _check_model(model)
    array = not isinstance(data, _core.Tensor) and hasattr(data, "shape")
    if array:
        data = as_tensor("data", np.asarray(data), dtype_of(model))
    if isinstance(data, _core.Tensor):
        if data.ndim == 0:
            raise ValueError("data must have samples along its first axis, got shape ()")
        data = TensorDataset(data)
    if isinstance(data, tuple):
        raise TypeError("data must be inputs alone, as a tensor or an array, or batches; got a tuple")
    batches = [data.tensors] if _is_empty(data) else batches_of("data", data, batch_size, False, once=True)
    outputs, rebuild = [], None
    with _restored_modes(model), no_grad():
        model.eval()
        for batch in batches:
            leaves, rebuild = flatten(model(batch[0] if isinstance(batch, (tuple, list)) else batch))
            outputs.append(leaves)
    if rebuild is None:
        raise ValueError("data gave no samples")
    joined = [_core.cat(parts) for parts in zip(*outputs, strict=True)]
    return rebuild([one.numpy() for one in joined] if array else joined)


def _is_empty(data) -> bool:
    return isinstance(data, TensorDataset) and len(data) == 0


def _compiled(compile, optimizer):
    if compile not in (True, False, "auto"):
        raise ValueError(f'compile must be True, False or "auto", got {compile!r}')
    if isinstance(optimizer, optim.LBFGS):  # which evaluates the loss as often as it needs to
        return False
    if compile == "auto" and not type(optimizer).__module__.startswith(optim.__name__):
        return False  # an optimizer of the user's may count its steps in Python
    return compile


def _callbacks(callbacks, on_epoch) -> list:
    from .callbacks import Callback, LambdaCallback

    callbacks = [callbacks] if isinstance(callbacks, Callback) else list(callbacks or ())
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks must be objects of tapegrad.callbacks.Callback, got {callback!r}")
    if on_epoch is not None and not callable(on_epoch):
        raise TypeError(f"on_epoch must be a function of the History, got {type(on_epoch).__name__}")
    if on_epoch is not None:
        callbacks.insert(0, LambdaCallback(on_epoch_end=lambda run: on_epoch(run.history)))
    return callbacks


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


def _optimizer(optimizer, model, lr: float | None, accumulate: int):
    if isinstance(optimizer, str):
        options = {} if lr is None else {"lr": lr}
        optimizer = find_optimizer(optimizer)(model.parameters(), **options)
    elif isinstance(optimizer, type) or not hasattr(optimizer, "step") or not hasattr(optimizer, "zero_grad"):
        raise TypeError(f"optimizer must be a name, or an optimizer made with model.parameters(), got {optimizer!r}")
    elif lr is not None:
        raise ValueError("lr goes with an optimizer given by name; set it where this optimizer is made")
    groups, own = getattr(optimizer, "param_groups", ()), {id(param) for param in model.parameters()}
    if groups and own.isdisjoint(id(param) for group in groups for param in group["params"]):
        warnings.warn("the optimizer has none of the model's parameters, which stay as they are", stacklevel=3)
    if accumulate > 1 and isinstance(optimizer, optim.LBFGS):
        raise ValueError("accumulate does not go with LBFGS, which evaluates a batch several times; use larger batches")
    return optimizer


def find_optimizer(name: str) -> type[optim.Optimizer]:
    """The class of tapegrad.optim that has this name, in letters of any case."""
    kinds = (kind for kind in vars(optim).values() if isinstance(kind, type) and issubclass(kind, optim.Optimizer))
    known = {kind.__name__.lower(): kind for kind in kinds if kind is not optim.Optimizer}
    if name.lower() not in known:
        raise ValueError(f"unknown optimizer {name!r}; known optimizers: {', '.join(sorted(known))}")
    return known[name.lower()]
