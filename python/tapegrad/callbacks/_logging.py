"""CSVLogger and TensorBoard: the history written to files, an epoch at a time."""

from __future__ import annotations

import csv
import math
import os
from pathlib import Path

import numpy as np

from ._base import Callback


class CSVLogger(Callback):
    """Writes the history to a file, a row per epoch, readable by others as soon as the epoch is over.

    path: the file; its folders are made. append: goes on behind what is there, without a second header; else the file
    is replaced. A resumed run goes on behind the epochs that it takes over; rows of later ones, written before the run
    was cut short, are replaced. The columns are "epoch", from 1, and the names of the history; numbers have all digits.
    Raises ValueError, before the first epoch, where `append` finds other columns.
    """

    recapture = False

    def __init__(self, path: str | os.PathLike, append: bool = False, delimiter: str = ","):
        self.path = Path(path)
        self.append = append
        self.delimiter = delimiter
        self._start = 0  # where the file's part of this run begins, in bytes
        self._written = None  # rows; None: the file has not been cut there yet

    def on_fit_begin(self, run) -> None:
        self._header = ["epoch", *run.history.names]
        self._written = None
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not run.resumed:  # else load_state_dict() comes next
            self._start = self._end_of_others() if self.append and self.path.exists() else 0
            self._write(run)

    def _end_of_others(self) -> int:
        """The length of the file; ValueError where its header is not this run's."""
        with open(self.path, newline="") as file:
            header = next(csv.reader(file, delimiter=self.delimiter), None)
        if header not in (None, self._header):
            raise ValueError(f"{self.path} has the columns {header}, this run {self._header}: pass append=False")
        return self.path.stat().st_size

    def on_epoch_end(self, run) -> None:
        self._write(run)

    def on_fit_end(self, run) -> None:
        self._write(run)  # an epoch that was cut short has a row, too

    def _write(self, run) -> None:
        """Brings the file up to the history."""
        with open(self.path, "a", newline="") as file:
            writer = csv.writer(file, delimiter=self.delimiter, lineterminator="\n")
            if self._written is None:
                file.truncate(self._start)
                self._written = 0
                if self._start == 0:
                    writer.writerow(self._header)
            columns = [run.history[name] for name in run.history.names]
            for index in range(self._written, len(run.history)):
                writer.writerow([index + 1, *(column[index] for column in columns)])
            self._written = len(run.history)

    def state_dict(self) -> dict:
        return {"start": self._start}

    def load_state_dict(self, state: dict) -> None:
        self._start = state["start"]


class TensorBoard(Callback):
    """Writes the history for TensorBoard: `tensorboard --logdir FOLDER` shows it, a second later at most.

    folder: of the event files; one for each run. Scalars per epoch: "loss/train" and "loss/validation", and so on for
    each metric; "learning_rate" (of each group where there are several); "seconds" and "steps". histograms: also the
    values of each parameter. A resumed run replaces the epochs that it trains again.
    Raises ImportError, when made, unless tensorboardX is installed.
    """

    recapture = False

    def __init__(self, folder: str | os.PathLike, histograms: bool = False):
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError("TensorBoard needs tensorboardX: pip install tensorboardX") from error
        self.folder = Path(folder)
        self.histograms = histograms
        self._new_writer = SummaryWriter

    def on_fit_begin(self, run) -> None:
        self._writer = None

    def on_epoch_end(self, run) -> None:
        if self._writer is None:  # by now it is known where a resumed run goes on
            purge = run.epoch if run.resumed else None
            self._writer = self._new_writer(str(self.folder), purge_step=purge, flush_secs=1)
        for name in run.history.names:
            if not math.isnan(run.history[name][-1]):
                self._writer.add_scalar(_tag(name), run.history[name][-1], run.epoch)
        groups = run.optimizer.param_groups
        for i, group in enumerate(groups):
            tag = "learning_rate" if len(groups) == 1 else f"learning_rate/group_{i}"
            self._writer.add_scalar(tag, float(group["lr"]), run.epoch)
        if self.histograms:
            for name, parameter in run.model.named_parameters():
                values = parameter.detach().numpy()
                values = values[np.isfinite(values)]
                if values.size:
                    self._writer.add_histogram(f"parameters/{name}", values, run.epoch)

    def on_fit_end(self, run) -> None:
        if self._writer is not None:
            self._writer.close()


def _tag(name: str) -> str:
    if name in ("seconds", "steps"):
        return name
    return f"{name.removeprefix('val_')}/validation" if name.startswith("val_") else f"{name}/train"
