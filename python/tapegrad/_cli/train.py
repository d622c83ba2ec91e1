"""tapegrad train: trains an MLP on the data that the options name and writes a run folder."""

from __future__ import annotations

import json
import math
import re
import sys
import time
from pathlib import Path

import numpy as np

from .. import _core, optim
from .._files.atomic import write_atomically
from .._history import History
from ..fit import find_optimizer, fit, predict
from .data import Problem, counted, load_problem
from .model import CHUNK, Architecture, save_model

# By the name of --optimizer: which of a problem's learning rates it takes; the others take their own.
_RATES = {"sgd": "sgd_lr", **dict.fromkeys(("adam", "adamax", "adamw", "nadam", "radam"), "adam_lr")}


def train(options) -> int:
    """Runs the command; returns the exit status: 0, or 130 when Ctrl-C cut the training short."""
    if options.momentum and options.optimizer != "sgd":
        raise ValueError("--momentum goes with --optimizer sgd")
    if options.threads is not None:
        _core.set_num_threads(options.threads)
    problem = load_problem(options)
    _fill_in(options, problem.defaults)
    say = (lambda line: None) if options.quiet else _say
    say(f"data      {problem.summary()}")
    for note in problem.notes:
        say(f"          {note}")
    _core.manual_seed(options.seed)
    architecture = Architecture(problem.inputs, options.hidden, problem.outputs, options.activation, options.dropout)
    model = architecture.build()
    optimizer = _optimizer(model, options)
    say(f"model     {architecture}, {sum(p.numel() for p in model.parameters())} parameters")
    say(f"training  {_settings(options)}")
    folder = _run_folder(options.out)
    start = time.perf_counter()
    history = _fit(model, problem, optimizer, options, say)
    seconds = time.perf_counter() - start
    if history.interrupted:
        _say(f"interrupted after {seconds:.1f} s; the model as it is:")
    results = _results(model, problem)
    _say(f"{_describe(results, problem)}; trained in {seconds:.1f} s")
    save_model(folder / "model.safetensors", model, architecture, problem.preprocessing)
    written = ["model.safetensors", *_write_history(folder, history, results, options)]
    say(f"wrote     {folder}: {', '.join(written)}")
    return 130 if history.interrupted else 0


def _fill_in(options, defaults: dict) -> None:
    """Sets the options that the user left out."""
    for name in ("hidden", "dropout", "batch_size", "epochs"):
        if getattr(options, name) is None:
            setattr(options, name, defaults[name])
    if options.lr is None:
        options.lr = defaults.get(_RATES.get(options.optimizer))


def _settings(options) -> str:
    parts = [f"{options.optimizer}, lr {options.lr:g} {options.schedule}"]
    parts += [
        f"{name.replace('_', ' ')} {v:g}" for name in ("momentum", "weight_decay") if (v := getattr(options, name))
    ]
    parts += [f"batch {options.batch_size}", counted(options.epochs, "epoch"), f"seed {options.seed}"]
    return ", ".join([*parts, counted(_core.get_num_threads(), "thread")])


def _optimizer(model, options) -> optim.Optimizer:
    """The optimizer that the options name; its learning rate becomes theirs where they have none."""
    given = {"weight_decay": options.weight_decay}
    if options.lr is not None:
        given["lr"] = options.lr
    if options.momentum:
        given["momentum"] = options.momentum
    optimizer = find_optimizer(options.optimizer)(model.parameters(), **given)
    options.lr = optimizer.param_groups[0]["lr"]
    return optimizer


def _fit(model, problem: Problem, optimizer, options, say) -> History:
    def on_epoch(history: History) -> None:
        if len(history) == 1:
            say(history.header())
        say(history.row(-1))
        if options.schedule == "cosine":
            share = len(history) / options.epochs
            optimizer.param_groups[0]["lr"] = options.lr * 0.5 * (1 + math.cos(math.pi * share))

    classify = problem.task == "classification"
    return fit(
        model,
        problem.train,
        loss="cross_entropy" if classify else "mse",
        optimizer=optimizer,
        epochs=options.epochs,
        validation=problem.test,
        metrics="accuracy" if classify else "r2",
        progress=not (options.no_progress or options.quiet),
        batch_size=options.batch_size,
        on_epoch=on_epoch,
    )


def _results(model, problem: Problem) -> dict[str, float]:
    """What the trained model reaches on the test rows; errors of a regression are in the target's own unit."""
    inputs, target = problem.test
    output = predict(model, inputs, batch_size=CHUNK)
    if problem.task == "classification":
        return {"accuracy": float((output.argmax(axis=1) == target).mean())}
    error = (output.astype(np.float64) - target) * problem.scale
    spread = np.square((target - target.mean(dtype=np.float64)) * problem.scale).mean()
    squared = float(np.square(error).mean())
    return {
        "r2": 1 - squared / float(spread) if spread else math.nan,
        "rmse": math.sqrt(squared),
        "mae": float(np.abs(error).mean()),
    }


def _describe(results: dict[str, float], problem: Problem) -> str:
    rows = f"on {len(problem.test[0])} held-out rows"
    if "accuracy" in results:
        return f"test accuracy {100 * results['accuracy']:.2f}% {rows}"
    name = problem.preprocessing["target"]["name"]
    errors = f"RMSE {results['rmse']:.6g}, MAE {results['mae']:.6g} in units of {name}"
    return f"test R^2 {results['r2']:.4f}, {errors} {rows}"


def _run_folder(out: str | None) -> Path:
    """The folder to write to: `out`, or the next free runs/train-N. Makes it."""
    if out is not None:
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    runs = Path("runs")
    runs.mkdir(exist_ok=True)
    taken = [int(match[1]) for entry in runs.iterdir() if (match := re.fullmatch(r"train-(\d+)", entry.name))]
    number = max(taken, default=0) + 1
    while True:
        folder = runs / f"train-{number}"
        try:
            folder.mkdir()
            return folder
        except FileExistsError:  # another run was faster
            number += 1


def _write_history(folder: Path, history: History, results: dict, options) -> list[str]:
    """Writes history.json, and history.png when matplotlib is there; returns their names."""
    settings = {k: v for k, v in vars(options).items() if isinstance(v, (int, float, str, list, type(None)))}
    record = {"settings": settings, "test": results, "interrupted": history.interrupted, "epochs": history.to_dict()}
    text = json.dumps(_without_nan(record), indent=1)
    write_atomically(folder / "history.json", lambda path: path.write_text(text + "\n", encoding="utf-8"))
    if len(history) == 0:
        return ["history.json"]
    try:
        write_atomically(folder / "history.png", history.plot)
    except ImportError:
        return ["history.json (no history.png: pip install matplotlib)"]
    return ["history.json", "history.png"]


def _without_nan(value):
    """JSON has no nan: None takes its place."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _say(line: str) -> None:
    """Prints a line above the progress bar, if there is one."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        tqdm.write(line)
    else:
        print(line, flush=True)
