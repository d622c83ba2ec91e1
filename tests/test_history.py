"""History: its table as text and HTML, names, plain values, plots, and its state."""

import json
import math
import re
import sys

import pytest

import tapegrad as tg


def _history(epochs, names=("loss", "val_loss", "seconds", "steps")):
    """Epochs whose values are told apart, the first without validation."""
    history = tg.History(names)
    for epoch in range(epochs):
        row = {name: epoch + (1 + i) / 8 for i, name in enumerate(names)}
        if epoch == 0:
            row.pop("val_loss", None)
        history.append(row)
    return history


def test_text_and_names():
    history = _history(30)
    lines = repr(history).splitlines()
    assert lines[0].split() == ["epoch", "loss", "val_loss", "seconds"]
    assert lines[1].split() == ["1", "0.1250", "-", "0.38"]
    assert len(lines) == 17 and lines[6].strip() == "..." and lines[-1].split()[0] == "30"
    assert history.row(-1) == history.row(29) == lines[-1]
    assert len({len(line) for line in lines if "..." not in line}) == 1
    assert "val_loss" in history and "accuracy" not in history
    with pytest.raises(KeyError, match="recorded: loss, val_loss"):
        history["accuracy"]
    with pytest.raises(IndexError):
        history.row(30)


@pytest.mark.parametrize(("epochs", "rows"), [(0, 0), (20, 20), (21, 16), (500, 16)])
def test_html_has_the_cells_of_the_text(epochs, rows):
    history = _history(epochs)
    html = history._repr_html_().splitlines()
    cells = [re.findall(r"<t[hd]>(.*?)</t[hd]>", line) for line in html[1:-1]]
    assert html[0] == "<table>" and html[-1] == "</table>" and len(cells) == rows + 1
    for line, row in zip(repr(history).splitlines(), cells, strict=True):
        assert line.split() == row if "..." not in line else row == ["..."] * 4


def test_html_is_escaped():
    history = _history(2, ["loss", "<b>&"])
    history.stopped = "loss < 0 & 'done'"
    html = history._repr_html_()
    assert "<th>&lt;b&gt;&amp;</th>" in html and "<b>" not in html
    assert html.endswith("<p>stopped: loss &lt; 0 &amp; &#x27;done&#x27;</p>")


def test_how_it_ended_stands_last():
    history = _history(2)
    assert history.stopped is None and not history.interrupted
    assert "stopped" not in repr(history) and "<p>" not in history._repr_html_()
    history.stopped = "early stopping: val_loss has not improved for 3 epochs"
    assert repr(history).splitlines()[-1] == f"stopped: {history.stopped}"
    history.interrupted = True
    assert repr(history).splitlines()[-2:] == ["interrupted", f"stopped: {history.stopped}"]
    assert history._repr_html_().count("<p>") == 2


def test_state_goes_through_json():
    history = _history(3)
    history.interrupted, history.stopped = True, "max_seconds"
    state = json.loads(json.dumps(history.state_dict()))
    assert state["epochs"]["steps"] == history["steps"] == [0.5, 1.5, 2.5]
    other = _history(0)
    other.load_state_dict(state)
    assert repr(other) == repr(history) and other.interrupted and other.stopped == "max_seconds"
    assert math.isnan(other["val_loss"][0]) and other["val_loss"][1:] == history["val_loss"][1:]
    other.append({"loss": 1.0})
    assert len(other) == 4 and len(history) == 3 and len(state["epochs"]["loss"]) == 3


def test_the_state_of_another_run_is_refused():
    with pytest.raises(ValueError, match="has recorded loss, val_loss, seconds, steps, but this one records loss, mae"):
        tg.History(["loss", "mae"]).load_state_dict(_history(3).state_dict())


def test_plot(tmp_path):
    pytest.importorskip("matplotlib", reason="draws with matplotlib")
    figure = _history(3, ["loss", "mae", "val_loss", "val_mae", "seconds", "steps"]).plot(tmp_path / "h.png")
    assert [axes.get_title() for axes in figure.axes] == ["loss", "mae"]
    assert [len(axes.lines) for axes in figure.axes] == [2, 2]
    assert (tmp_path / "h.png").read_bytes().startswith(b"\x89PNG")


def test_plot_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        _history(3).plot()
