"""tapegrad.checkpoint: tensors by name as plain safetensors files, also between tapegrad and PyTorch."""

import os

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn
from tapegrad.checkpoint import load, load_metadata, save


def test_round_trip_of_every_dtype_and_odd_layouts(tmp_path):
    base = tg.arange(12, dtype=tg.float32).reshape(3, 4)
    state = {
        "float32": base,
        "view": base[:, 1:3],
        "transposed": base.T,
        "float64": tg.tensor([1e300, -0.0], dtype=tg.float64),
        "int64": tg.tensor([-(2**62), 3]),
        "int32": tg.tensor([1, -2], dtype=tg.int32),
        "uint8": tg.tensor([0, 255], dtype=tg.uint8),
        "bool": tg.tensor([True, False]),
        "scalar": tg.tensor(3.5),
        "empty": tg.zeros(0, 3),
    }
    path = tmp_path / "state.safetensors"
    save(state, path, metadata={"note": "für alle", "n": "1"})
    loaded = load(path)
    assert set(loaded) == set(state)
    for name, tensor in state.items():
        assert loaded[name].dtype == tensor.dtype, name
        np.testing.assert_array_equal(loaded[name].numpy(), tensor.numpy(), err_msg=name, strict=True)
    assert load_metadata(path) == {"note": "für alle", "n": "1"}
    assert os.listdir(tmp_path) == ["state.safetensors"]


def test_model_round_trip(tmp_path):
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    save(model.state_dict(), tmp_path / "m.safetensors")
    other = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    other.load_state_dict(load(tmp_path / "m.safetensors"))
    x = tg.randn(5, 3)
    np.testing.assert_array_equal(model(x).detach().numpy(), other(x).detach().numpy())
    assert load_metadata(tmp_path / "m.safetensors") == {}


def test_file_mode_follows_the_umask(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"")
    expected = path.stat().st_mode
    save({"a": tg.zeros(1)}, path)
    assert path.stat().st_mode == expected


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    save({"a": tg.ones(2)}, path)

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        save({"a": tg.zeros(2)}, path)
    monkeypatch.undo()
    assert load(path)["a"].tolist() == [1.0, 1.0]
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_bad_arguments(tmp_path):
    path = tmp_path / "a"
    with pytest.raises(TypeError, match=r"save: the object is a Linear; save its state_dict\(\)"):
        save(nn.Linear(1, 1), path)
    with pytest.raises(TypeError, match="metadata must be texts"):
        save({"a": tg.zeros(1)}, path, metadata={"n": 1})
    with pytest.raises(ValueError, match=r"'tapegrad\.structure' is tapegrad's own"):
        save({"a": tg.zeros(1)}, path, metadata={"tapegrad.structure": ""})
    with pytest.raises(FileNotFoundError, match="nowhere"):
        save({"a": tg.zeros(1)}, tmp_path / "nowhere" / "a")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        save({"a": tg.zeros(1)}, tmp_path)
    assert not path.exists()
