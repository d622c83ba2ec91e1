"""tapegrad.checkpoint: tensors by name as plain safetensors files, and Checkpoint: a run that goes on bit for bit."""

import os
from functools import partial

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn
from tapegrad.checkpoint import load, load_metadata, save
from tapegrad.utils.data import DataLoader, TensorDataset


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


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_weights_of_pytorch_load_by_name(tmp_path, dtype):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    layers = torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)
    theirs = torch.nn.Sequential(*layers).to(getattr(torch, dtype))
    save_file(theirs.state_dict(), tmp_path / "pytorch.safetensors")
    ours = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    loaded = load(tmp_path / "pytorch.safetensors")
    ours.load_state_dict(loaded)
    x = np.random.RandomState(0).randn(5, 3).astype(np.float32)
    expected = theirs.to(torch.float32)(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(ours(tg.tensor(x)).detach().numpy(), expected, rtol=1e-6, atol=1e-6)
    for name, value in theirs.state_dict().items():
        assert str(loaded[name].dtype) == ("tapegrad.float64" if dtype == "float64" else "tapegrad.float32")
        assert loaded[name].tolist() == value.tolist()


def test_our_files_load_in_pytorch(tmp_path):
    pytest.importorskip("torch")
    from safetensors.torch import load_file

    model = nn.Linear(3, 2)
    save(model.state_dict(), tmp_path / "plain")
    save({"model": model.state_dict(), "epoch": 3}, tmp_path / "nested")
    for path, prefix in (("plain", ""), ("nested", "model.")):
        theirs = load_file(tmp_path / path)
        assert {name: value.tolist() for name, value in theirs.items()} == {
            prefix + name: value.tolist() for name, value in model.state_dict().items()
        }


def test_all_half_precision_numbers_are_widened_exactly(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    bits = torch.arange(2**16, dtype=torch.int32).to(torch.uint16)
    halves = {
        "f16": bits.clone().view(torch.float16),
        "bf16": bits.view(torch.bfloat16).reshape(4, -1),
        "pad": torch.ones(3),
    }
    save_file(halves, tmp_path / "a")
    loaded = load(tmp_path / "a")
    for name, half in halves.items():
        assert loaded[name].dtype == tg.float32
        np.testing.assert_array_equal(loaded[name].numpy(), half.to(torch.float32).numpy(), strict=True)


class Run:
    """A training loop of everything that has a state: dropout, batch norm, momenta, schedule, shuffling, an average."""

    def __init__(self, optimizer, compiled):
        tg.manual_seed(3)
        self.model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1))
        if optimizer == "adam":
            self.optimizer = tg.optim.Adam(self.model.parameters(), lr=0.01, amsgrad=True)
        else:
            self.optimizer = tg.optim.SGD(self.model.parameters(), lr=0.05, momentum=0.9)
        self.scheduler = tg.optim.lr_scheduler.StepLR(self.optimizer, 3, gamma=0.7)
        self.average = tg.optim.swa_utils.AveragedModel(self.model)
        self.generator = tg.Generator().manual_seed(4)
        rng = np.random.RandomState(0)
        data = TensorDataset(*(tg.tensor(rng.randn(26, n).astype(np.float32)) for n in (5, 1)))
        self.loader = DataLoader(data, batch_size=4, shuffle=True, generator=self.generator)
        self.step = tg.compile(self.plain_step) if compiled else self.plain_step
        self.checkpoint = tg.Checkpoint(
            model=self.model,
            optimizer=self.optimizer,
            scheduler=self.scheduler,
            average=self.average,
            loader=self.loader,
            generator=self.generator,
            epoch=0,
            losses=[],
        )

    def plain_step(self, x, y):
        self.optimizer.zero_grad()
        loss = ((self.model(x) - y) ** 2).mean()
        loss.backward()
        self.optimizer.step()
        return loss

    def train(self, steps):
        """Takes up to so many steps of four epochs in all, also from the middle of one; whether there are more."""
        for epoch in range(self.checkpoint["epoch"], 4):
            for x, y in self.loader:
                self.checkpoint["losses"].append(self.step(x, y).item() + tg.randn(1).item())  # leaves a normal cached
                steps -= 1
                if steps == 0:
                    return
            self.scheduler.step()
            self.average.update_parameters(self.model)
            self.checkpoint["epoch"] = epoch + 1

    def result(self):
        states = self.model.state_dict(), self.average.state_dict(), self.optimizer.state_dict()["state"]
        flat = [*states[0].values(), *states[1].values(), *(v for s in states[2].values() for v in s.values())]
        rest = self.checkpoint["losses"], self.scheduler.state_dict(), tg.rand(3).tolist()
        return [v.numpy().tobytes() for v in flat], rest, tg.rand(2, generator=self.generator).tolist()


@pytest.mark.filterwarnings("error")  # such as of a scheduler that steps first after the load
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_run_goes_on_bit_for_bit(tmp_path, optimizer, compiled):
    path = tmp_path / "run.ckpt"
    whole = Run(optimizer, compiled)
    whole.train(100)
    expected = whole.result()
    for steps in (1, 7, 10, 27):  # the seventh is the last of the first epoch
        stopped = Run(optimizer, compiled)
        stopped.train(steps)
        stopped.checkpoint.save(path)
        fresh = Run(optimizer, compiled)
        tg.manual_seed(99)
        fresh.checkpoint.load(path)
        fresh.train(100)
        assert fresh.result() == expected, steps
        stopped.train(2)  # of other numbers: the step is captured by now, and what it holds is filled in again
        tg.randn(1)
        stopped.checkpoint.load(path)
        stopped.train(100)
        assert stopped.result() == expected, steps


OPTIMIZERS = [
    getattr(tg.optim, name) for name in tg.optim.__all__ if name not in ("Optimizer", "lr_scheduler", "swa_utils")
]


@pytest.mark.parametrize("make", OPTIMIZERS, ids=lambda make: make.__name__)
def test_every_optimizer_goes_on_bit_for_bit(tmp_path, make):
    """Steps, products and moments come back with their dtypes and bits, for parameters that differ in both."""

    def start():
        tg.manual_seed(0)
        params = [nn.Parameter(tg.randn(3, 4)), nn.Parameter(tg.randn(4, 3, dtype=tg.float64))]
        if make is tg.optim.LBFGS:
            params = params[:1]
        optimizer = make(params)
        return params, optimizer, tg.Checkpoint(params=dict(enumerate(params)), optimizer=optimizer)

    def train(params, optimizer, steps):
        def closure(step):
            optimizer.zero_grad()
            known = params[: 2 if step else 1]  # the second parameter joins later: it has other counts
            loss = sum(((p @ p.T - 1) ** 2).sum().to(tg.float64) for p in known)
            loss.backward()
            return loss

        for step in steps:
            optimizer.step(partial(closure, step))

    params, optimizer, checkpoint = start()
    train(params, optimizer, range(3))
    checkpoint.save(tmp_path / "a")
    train(params, optimizer, range(3, 6))
    expected = [p.tolist() for p in params]
    params, optimizer, checkpoint = start()
    checkpoint.load(tmp_path / "a")
    with tg.no_grad():
        for i, p in enumerate(params):
            p.copy_(checkpoint["params"][i])
    train(params, optimizer, range(3, 6))
    assert [p.tolist() for p in params] == expected


def test_a_checkpoint_is_a_dictionary_to_load(tmp_path):
    model = nn.Linear(2, 2)
    tg.Checkpoint(model=model, epoch=3, note={"who": ("me", None)}).save(tmp_path / "a")
    saved = load(tmp_path / "a")
    assert list(saved) == ["model", "epoch", "note", "default_generator"]
    assert saved["note"] == {"who": ("me", None)} and saved["model"]["weight"].tolist() == model.weight.tolist()
    assert load_metadata(tmp_path / "a") == {}


def test_plain_values_are_read_and_set(tmp_path):
    first = tg.Checkpoint(model=nn.Linear(1, 1), epoch=0)
    first["epoch"] = 5
    first["best"] = tg.tensor([1.5])
    first.save(tmp_path / "a")
    second = tg.Checkpoint(model=nn.Linear(1, 1), epoch=0, best=None)
    assert second["epoch"] == 0 and second["best"] is None
    second.load(tmp_path / "a")
    assert second["epoch"] == 5 and second["best"].tolist() == [1.5]
    assert "epoch" in second and "step" not in second and repr(second) == "Checkpoint(model, epoch, best)"
    assert second["model"].weight.tolist() == first["model"].weight.tolist()
    with pytest.raises(KeyError, match="no 'step'; it has best, epoch, model"):
        second["step"]
    with pytest.raises(TypeError, match="'model': a Linear is given when"):
        second["model"] = 3
    with pytest.raises(TypeError, match="'other': a Linear is given when"):
        second["other"] = nn.Linear(1, 1)
    with pytest.raises(ValueError, match="default_generator"):
        second["default_generator"] = b""


def test_generators_and_preprocessing_are_parts(tmp_path):
    generator, scale = tg.Generator().manual_seed(5), tg.tables.Standardize().fit(np.arange(6.0).reshape(3, 2))
    tg.randn(1)
    tg.randn(1, generator=generator)
    tg.Checkpoint(g=generator, scale=scale).save(tmp_path / "a")
    expected = tg.randn(5).tolist(), tg.randn(5, generator=generator).tolist()
    tg.manual_seed(1)
    generator, scale = tg.Generator(), tg.tables.Standardize()
    tg.Checkpoint(g=generator, scale=scale).load(tmp_path / "a")
    assert (tg.randn(5).tolist(), tg.randn(5, generator=generator).tolist()) == expected
    assert scale.mean.tolist() == [2.0, 3.0]


def test_what_cannot_be_a_part(tmp_path):
    class Half:
        def state_dict(self):
            return {}

    with pytest.raises(TypeError, match=r"x, a Half, needs both state_dict\(\) and load_state_dict\(\)"):
        tg.Checkpoint(x=Half())
    with pytest.raises(ValueError, match="default_generator is always a part"):
        tg.Checkpoint(default_generator=tg.default_generator)
    with pytest.raises(TypeError, match="save: x is a function, which cannot be saved"):
        tg.Checkpoint(x=lambda: 0).save(tmp_path / "a")


def test_files_that_do_not_fit_change_nothing(tmp_path):
    def parts(inputs, **more):
        model = nn.Linear(inputs, 1)
        optimizer = tg.optim.Adam(model.parameters())
        model(tg.ones(1, inputs)).sum().backward()
        optimizer.step()
        return {"model": model, "optimizer": optimizer, "epoch": inputs, **more}

    path = tmp_path / "run.ckpt"
    tg.Checkpoint(**parts(2), extra=1).save(path)
    ours = parts(2)
    checkpoint = tg.Checkpoint(**ours, scale=tg.tables.Standardize(), left=0)

    def state():
        optimizer = [v.tolist() for s in ours["optimizer"].state_dict()["state"].values() for v in s.values()]
        return ours["model"].weight.tolist(), optimizer, tg.default_generator.get_state(), checkpoint["epoch"]

    def refused(message, error=ValueError):
        before = state()
        with pytest.raises(error, match=f"(?s){message}"):
            checkpoint.load(path)
        assert state() == before

    refused(r"run\.ckpt: .*; missing in the file: left, scale; unexpected in the file: extra")
    for other, message in (
        ({**parts(3), "scale": 0}, r"run\.ckpt: model, a Linear, does not take its saved state: .*size mismatch"),
        ({**parts(2), "scale": {"mean": np.ones(1)}}, "scale, a Standardize, .* no std in the state"),
        ({**parts(2), "optimizer": {"state": {}, "param_groups": []}}, "optimizer, a Adam, .*number of param"),
        ({**parts(2), "optimizer": 3}, "optimizer, a Adam, does not take its saved state"),
    ):
        tg.Checkpoint(**{"scale": 0, **other}, left=0).save(path)
        refused(message)
    save(ours["model"].state_dict(), path)
    refused(r"not written by Checkpoint.save\(\); tapegrad.load\(\) reads it")
    path.unlink()
    refused("run.ckpt", FileNotFoundError)


def test_load_takes_what_pytorchs_load_is_given(tmp_path):
    save({"a": tg.ones(2)}, tmp_path / "m")
    for place in ("cpu", tg.device("cpu"), None):
        assert load(tmp_path / "m", map_location=place, weights_only=True)["a"].tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="map_location must be the CPU, got 'cuda'"):
        load(tmp_path / "m", map_location="cuda")
