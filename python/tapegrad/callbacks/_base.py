"""Callback: what fit() calls at each stage of a run, and a callback made of plain functions."""

from __future__ import annotations


class Callback:
    """Called by fit() as training goes on; a subclass defines the hooks it needs.

    Every hook gets the run: `run.model`, `run.optimizer`, `run.history`, `run.epochs`; `run.epoch` (the current one,
    from 1), `run.step` (optimizer steps so far over all epochs), `run.loss` (of the newest step, in `on_step`);
    `run.stop(reason)` ends training and `run.save(path)` writes the whole training state, for `fit(resume=path)`;
    `run.resumed` tells that it goes on from such a file.

    recapture: whether the hooks between epochs may change what model, loss or metrics read from Python, so that the
    step has to be captured anew; False saves some milliseconds an epoch. runs_last: whether the hooks come after those
    of the other callbacks, whose state they save.
    """

    recapture = True
    runs_last = False

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        for name in vars(cls):
            if name.startswith("on_") and name not in HOOKS:  # such as on_batch_end: it would never be called
                raise TypeError(f"{cls.__name__}: there is no hook {name!r}; hooks: {', '.join(HOOKS)}")

    def on_fit_begin(self, run) -> None:
        """Before the first epoch. A resumed run then calls load_state_dict(), and only after it fills the model."""

    def on_epoch_begin(self, run) -> None:
        """Before the batches of an epoch."""

    def on_gradients(self, run) -> None:
        """Between backward and the optimizer's step. It is captured with the step: tensor code, no values read."""

    def on_step(self, run) -> None:
        """After a step of the optimizer. Only where some callback defines it does every step return to Python."""

    def on_epoch_end(self, run) -> None:
        """After an epoch and its validation; `run.history` has its row."""

    def on_fit_end(self, run) -> None:
        """When training is over, also by Ctrl-C or `run.stop`; not after an exception. Last callback first."""

    def on_divergence(self, run) -> bool:
        """A loss is nan or infinite: True ends the run quietly instead of by FloatingPointError."""
        return False

    def state_dict(self) -> dict:
        """What has to survive in a saved run: nested plain values and tensors."""
        return {}

    def load_state_dict(self, state: dict) -> None:
        """Takes over what state_dict() gave."""


HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))


def defines(callback: Callback, name: str) -> bool:
    """Whether `callback`, by its class or itself, defines the hook `name`."""
    return getattr(type(callback), name) is not getattr(Callback, name) or name in vars(callback)


class LambdaCallback(Callback):
    """Functions as hooks: `LambdaCallback(on_epoch_end=lambda run: print(run.history.row(-1)))`.

    Takes any of the hooks of Callback by name; each gets the run. Raises TypeError for other names.
    """

    def __init__(self, **hooks):
        for name, function in hooks.items():
            if name not in HOOKS:
                raise TypeError(f"LambdaCallback has no hook {name!r}; hooks: {', '.join(HOOKS)}")
            if not callable(function):
                raise TypeError(f"{name} must be a function of the run, got {type(function).__name__}")
            setattr(self, name, function)
