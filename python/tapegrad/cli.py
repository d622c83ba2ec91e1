"""The command line: tapegrad train, tapegrad predict and tapegrad info.

Exit status: 0; 1 when training diverged; 2 for bad usage, files or data (one line on standard error); 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import math
import os
import sys

from . import _core

_EPILOG = """examples:
  tapegrad train
  tapegrad train --data fashion-mnist/ --hidden 256 --epochs 5
  tapegrad train --data housing.csv --target median_house_value --out runs/housing
  tapegrad predict runs/housing/model.safetensors new.csv -o predictions.csv"""

OPTIMIZERS = ("adadelta", "adagrad", "adam", "adamax", "adamw", "lion", "nadam", "radam", "rmsprop", "sgd")


def main(argv: list[str] | None = None) -> int:
    """Runs the command line `argv` (default: sys.argv) and returns the exit status."""
    options = _parser().parse_args(argv)
    try:
        status = options.command(options)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:  # the reader of our output, such as `head`, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except FloatingPointError as error:
        return _fail(str(error), 1)
    except MemoryError as error:
        return _fail(f"not enough memory: {error}", 2)
    except OSError as error:
        named = error.filename is not None and error.strerror
        return _fail(f"{error.filename}: {error.strerror}" if named else str(error), 2)
    except (ValueError, OverflowError) as error:
        return _fail(str(error), 2)


def _fail(message: str, status: int) -> int:
    print(f"tapegrad: {' '.join(message.split())}", file=sys.stderr)
    return status


class _Parser(argparse.ArgumentParser):
    """Reports bad usage in one line."""

    def error(self, message: str):
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="tapegrad", description="Train multilayer perceptrons on this machine's CPU.", epilog=_EPILOG)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--version", action="version", version=f"tapegrad {_core.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_train(commands)
    predict = commands.add_parser(
        "predict",
        help="apply a saved model to a CSV file or IDX images",
        description="Apply a saved model to a CSV file or IDX images; writes CSV with a column `prediction`.",
    )
    predict.add_argument("model", metavar="MODEL", help="model.safetensors of a run folder")
    predict.add_argument("file", metavar="FILE", help="CSV file with the model's columns, or an IDX file of images")
    predict.add_argument("-o", "--output", metavar="OUT", help="write to this file instead of standard output")
    predict.add_argument("--proba", action="store_true", help="also write the probability of each class")
    predict.set_defaults(command=_predict)
    info = commands.add_parser("info", help="print version, ISA levels and threads", description="Describe this build.")
    info.set_defaults(command=_info)
    return parser


def _add_train(commands) -> None:
    train = commands.add_parser(
        "train",
        help="train a model; without --data on the built-in handwritten digits",
        description="Train a model and write it to a run folder. Without --data: the built-in handwritten digits.",
    )
    train.set_defaults(command=_train)
    data = train.add_argument_group("data")
    data.add_argument(
        "--data", metavar="PATH", help="a folder of IDX files (train-images-idx3-ubyte, ...) or a CSV file"
    )
    data.add_argument("--target", metavar="COLUMN", help="CSV: the column to predict")
    data.add_argument("--task", choices=("classification", "regression"), help="CSV: default: found from the target")
    data.add_argument(
        "--drop", metavar="COLUMN", action="append", default=[], help="CSV: leave a column out (repeatable)"
    )
    data.add_argument("--test-size", metavar="SHARE", type=_share, help="CSV: share of rows held out (default 0.2)")
    data.add_argument(
        "--max-categories",
        metavar="N",
        type=_positive_int,
        default=50,
        help="CSV: categories kept per text column (50)",
    )
    model = train.add_argument_group("model (defaults depend on the data)")
    model.add_argument("--hidden", metavar="SIZES", type=_sizes, nargs="+", help="hidden sizes: 256,128 or `none`")
    model.add_argument("--activation", choices=("relu", "tanh", "sigmoid"), default="relu")
    model.add_argument("--dropout", metavar="P", type=_probability, help="share of hidden units dropped in training")
    training = train.add_argument_group("training (defaults depend on the data)")
    training.add_argument("--epochs", metavar="N", type=_natural)
    training.add_argument("--batch-size", metavar="N", type=_positive_int)
    training.add_argument("--optimizer", choices=OPTIMIZERS, default="adam")
    training.add_argument("--lr", metavar="RATE", type=_positive, help="learning rate of the first epoch")
    training.add_argument(
        "--schedule", choices=("cosine", "constant"), default="cosine", help="of the learning rate (default cosine)"
    )
    training.add_argument("--momentum", metavar="M", type=_probability, default=0.0, help="with --optimizer sgd")
    training.add_argument("--weight-decay", metavar="W", type=_nonnegative, default=0.0)
    training.add_argument(
        "--seed", metavar="N", type=_natural, default=0, help="of weights, order and held-out rows (0)"
    )
    training.add_argument("--threads", metavar="N", type=_positive_int)
    output = train.add_argument_group("output")
    output.add_argument("--out", metavar="FOLDER", help="run folder (default: a new runs/train-N)")
    output.add_argument("--no-progress", action="store_true", help="no progress bar")
    output.add_argument("--quiet", action="store_true", help="print the result only")


def _train(options) -> int:
    from ._cli.train import train

    if options.hidden is not None:
        options.hidden = [size for sizes in options.hidden for size in sizes]
    return train(options)


def _predict(options) -> int:
    from ._cli.predict import predict_file

    return predict_file(options)


def _info(options) -> int:
    import platform

    import numpy

    lines = {
        "tapegrad": _core.__version__,
        "ISA levels": ", ".join(_core.isa_levels()),
        "active level": _core.active_isa(),
        "threads": _core.get_num_threads(),
        "default dtype": str(_core.get_default_dtype()).rpartition(".")[2],
        "numpy": numpy.__version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
    }
    for name, value in lines.items():
        print(f"{name:<14}{value}")
    return 0


def _number_type(convert, accepts, wanted: str):
    """An argparse type: converts, and refuses what `accepts` does not."""

    def parse(text: str):
        try:
            value = convert(text)
        except ValueError:
            value = None
        if value is None or not math.isfinite(value) or not accepts(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
        return value

    return parse


_positive_int = _number_type(int, lambda n: 0 < n < 2**31, "a positive integer")
_natural = _number_type(int, lambda n: 0 <= n < 2**63, "an integer of at least 0")
_positive = _number_type(float, lambda x: x > 0, "a positive number")
_nonnegative = _number_type(float, lambda x: x >= 0, "a number of at least 0")
_probability = _number_type(float, lambda x: 0 <= x < 1, "a number from 0 to less than 1")
_share = _number_type(float, lambda x: 0 < x < 1, "a number between 0 and 1")


def _sizes(text: str) -> list[int]:
    return [] if text == "none" else [_positive_int(part) for part in text.split(",")]
