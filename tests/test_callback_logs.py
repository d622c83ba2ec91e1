"""CSVLogger and TensorBoard: what they write, read back."""

import csv
import math
import struct
import sys

import pytest

import tapegrad as tg
from callback_runs import Run
from tapegrad.callbacks import CSVLogger, TensorBoard


def _rows(path, delimiter=","):
    with open(path, newline="") as file:
        return list(csv.reader(file, delimiter=delimiter))


def test_csv_has_a_row_per_epoch_at_once(tmp_path):
    path = tmp_path / "new" / "log.csv"
    run, callback = Run(["loss", "val_loss"]), CSVLogger(path, delimiter=";")
    callback.on_fit_begin(run)
    assert _rows(path, ";") == [["epoch", "loss", "val_loss", "seconds", "steps"]]
    values = [1 / 3, 1e-300, math.inf]
    for i, value in enumerate(values, start=1):
        run.step = i  # epochs_of() does not begin again
        run.epochs_of(callback, "loss", [value])
        rows = _rows(path, ";")
        assert len(rows) == 1 + i and rows[-1][0] == str(i) and rows[-1][4] == "5"
        assert float(rows[-1][1]) == value and math.isnan(float(rows[-1][2]))


def test_csv_has_the_epoch_that_was_cut_short(tmp_path):
    run, callback = Run(["loss"]), CSVLogger(tmp_path / "log.csv")
    run.epochs_of(callback, "loss", [1.0])
    run.history.append({"loss": 0.5})
    callback.on_fit_end(run)
    assert [row[:2] for row in _rows(tmp_path / "log.csv")] == [["epoch", "loss"], ["1", "1.0"], ["2", "0.5"]]


def test_csv_replaces_or_appends(tmp_path):
    path = tmp_path / "log.csv"
    for append, epochs in ((False, "12"), (False, "12"), (True, "1212"), (True, "121212")):
        callback = CSVLogger(path, append=append)
        Run(["loss"]).epochs_of(callback, "loss", [1.0, 2.0])
        rows = _rows(path)
        assert rows[0][0] == "epoch" and "".join(row[0] for row in rows[1:]) == epochs
    with pytest.raises(ValueError, match=r"has the columns .*'loss', 'seconds'.*this run .*'mae'.*append=False"):
        CSVLogger(path, append=True).on_fit_begin(Run(["loss", "mae"]))
    assert len(_rows(path)) == 7


@pytest.mark.parametrize("append", [False, True])
def test_csv_of_a_resumed_run_has_no_double_rows(tmp_path, append):
    path = tmp_path / "log.csv"
    Run(["loss"]).epochs_of(CSVLogger(path), "loss", [9.0])  # an earlier run
    run, callback = Run(["loss"]), CSVLogger(path, append=append)
    run.epochs_of(callback, "loss", [1.0, 2.0])
    state = callback.state_dict()
    run.epochs_of(callback, "loss", [3.0, 4.0])  # lost: the state is that after two epochs
    resumed, again = Run(["loss"]), CSVLogger(path, append=append)
    resumed.resume(again, "loss", [1.0, 2.0], state)
    resumed.epochs_of(again, "loss", [3.5])
    expected = [["1", "1.0"], ["2", "2.0"], ["3", "3.5"]]
    assert [row[:2] for row in _rows(path)] == [["epoch", "loss"], *([["1", "9.0"]] if append else []), *expected]


def _events(folder):
    """The events of all files in a folder: records of length, its checksum, data, its checksum."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    for path in sorted(folder.iterdir()):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            yield event_pb2.Event.FromString(data[at + 12 : at + 12 + length])
            at += 16 + length


def _scalars(folder):
    found = {}
    for event in _events(folder):
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value))
    return found


def test_tensorboard_groups_training_and_validation(tmp_path):
    pytest.importorskip("tensorboardX")
    run, callback = Run(), TensorBoard(tmp_path / "runs", histograms=True)
    run.epochs_of(callback, "val_loss", [0.5, 0.25])
    callback.on_fit_end(run)
    found = _scalars(tmp_path / "runs")
    assert set(found) == {"loss/validation", "learning_rate", "steps", "parameters/weight"}
    assert [(step, value.simple_value) for step, value in found["loss/validation"]] == [(1, 0.5), (2, 0.25)]
    assert [value.simple_value for _, value in found["learning_rate"]] == [1.0, 1.0]
    assert [value.histo.max for _, value in found["parameters/weight"]] == [1.0, 2.0]


def test_tensorboard_names_the_groups_and_skips_what_is_not_finite(tmp_path):
    pytest.importorskip("tensorboardX")
    run, callback = Run(["loss"]), TensorBoard(tmp_path / "runs", histograms=True)
    run.optimizer.add_param_group({"params": [tg.zeros(2, requires_grad=True)], "lr": 0.5})
    run.set_weights = lambda value: run.model.weight.data.fill_(math.nan)
    run.epochs_of(callback, "loss", [1.0])
    callback.on_fit_end(run)
    found = _scalars(tmp_path / "runs")
    assert found["learning_rate/group_1"][0][1].simple_value == 0.5
    assert "parameters/weight" not in found


def test_tensorboard_of_a_resumed_run_replaces_later_epochs(tmp_path):
    pytest.importorskip("tensorboardX")
    run, callback = Run(["loss"]), TensorBoard(tmp_path / "runs")
    run.resume(callback, "loss", [1.0, 1.0], {})
    run.epochs_of(callback, "loss", [0.5])
    callback.on_fit_end(run)
    purged = [event.step for event in _events(tmp_path / "runs") if event.HasField("session_log")]
    assert purged == [3]


def test_tensorboard_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match="pip install tensorboardX"):
        TensorBoard(tmp_path)
    assert list(tmp_path.iterdir()) == []
