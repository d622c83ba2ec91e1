"""The command line, run in process: results, files written, predictions, exit statuses and one-line errors."""

import csv
import gzip
import json
import re
import signal
import struct
import subprocess
import sys

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import cli, datasets
from tapegrad._cli.model import load_model
from tapegrad.checkpoint import load_metadata, save


@pytest.fixture(autouse=True)
def _in_a_fresh_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(capsys, *arguments):
    """(exit status, standard output, standard error) of a command."""
    try:
        status = cli.main([str(a) for a in arguments])
    except SystemExit as error:
        status = error.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def refuse(capsys, *arguments, status=2):
    """The one line on standard error with which a command is refused."""
    got, _, error = run(capsys, *arguments)
    assert got == status and error.count("\n") == 1 and error.startswith("tapegrad"), (got, error)
    return error


def write_table(path, n=200, task="classification", header="x,colour,y"):
    """A table that a small net learns: the target follows from x and colour."""
    random = np.random.RandomState(0)
    x, colour = random.randn(n) * 50 + 100, random.choice(["red", "green", "blue"], n)
    number = (x - 100) / 50 + (colour == "red") * 2.0
    y = np.where(number > 0.5, "yes", "no") if task == "classification" else [f"{v:.6f}" for v in 1000 + 100 * number]
    rows = [[f"{a:.4f}", b, c] for a, b, c in zip(x, colour, y, strict=True)]
    rows[3][0] = rows[7][1] = ""
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n")
    return path


QUICK = ("--hidden", "16", "--dropout", "0", "--epochs", "15", "--batch-size", "16", "--lr", "0.02")


def test_train_on_the_digits(capsys, tmp_path):
    status, out, err = run(capsys, "train", "--epochs", "8", "--hidden", "64", "--dropout", "0")
    assert status == 0 and err == ""
    accuracy = float(re.search(r"test accuracy (\S+)% on 359 held-out rows; trained in \S+ s", out)[1])
    assert accuracy > 90
    table = [line for line in out.splitlines() if re.match(r"\s+\d+ ", line)]
    assert len(table) == 8 and re.search(r"epoch +loss +accuracy +val_loss +val_accuracy", out)
    folder = tmp_path / "runs" / "train-1"
    names = {path.name for path in folder.iterdir()}
    assert {"model.safetensors", "history.json"} <= names <= {"model.safetensors", "history.json", "history.png"}
    record = json.loads((folder / "history.json").read_text())
    assert record["test"]["accuracy"] == pytest.approx(accuracy / 100, abs=1e-4)
    assert len(record["epochs"]["val_accuracy"]) == 8 and record["settings"]["lr"] > 0
    model, preprocessing = load_model(folder / "model.safetensors")
    images, labels = datasets.load_digits("test")
    with tg.no_grad():
        predicted = model(images).numpy().argmax(1)
    assert (predicted == labels.numpy()).mean() == pytest.approx(accuracy / 100, abs=1e-4)
    assert preprocessing["kind"] == "images" and preprocessing["shape"] == [8, 8]
    status, out, _ = run(capsys, "train", "--epochs", "1", "--quiet")
    assert (tmp_path / "runs" / "train-2").is_dir() and out.count("\n") == 1


@pytest.mark.slow
def test_train_without_arguments_reaches_97_percent(capsys):
    status, out, _ = run(capsys, "train", "--quiet")
    assert status == 0 and float(re.search(r"accuracy (\S+)%", out)[1]) >= 97


def test_same_seed_same_model_for_any_number_of_threads(capsys, tmp_path):
    for name, options in {"a": [1, 3], "b": [2, 3], "c": [1, 4]}.items():
        run(capsys, "train", "--epochs", "1", "--threads", options[0], "--seed", options[1], "--out", name)
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b and a != c


def test_classify_a_table_and_predict(capsys, tmp_path):
    path = write_table(tmp_path / "t.csv")
    status, out, err = run(capsys, "train", "--data", path, "--target", "y", "--out", "run", *QUICK)
    assert status == 0 and err == ""
    assert "160 training and 40 test rows, 2 classes" in out
    assert "column 'x': 1 blank imputed with the median" in out
    assert "column 'colour': 1 blank taken as a category of their own" in out
    assert float(re.search(r"test accuracy (\S+)%", out)[1]) > 85
    status, out, err = run(capsys, "predict", "run/model.safetensors", path, "--proba")
    rows = list(csv.DictReader(out.splitlines()))
    assert status == 0 and len(rows) == 200
    assert list(rows[0]) == ["x", "colour", "y", "prediction", "probability_no", "probability_yes"]
    assert sum(row["prediction"] == row["y"] for row in rows) > 170
    for row in rows:
        assert float(row["probability_no"]) + float(row["probability_yes"]) == pytest.approx(1, abs=1e-5)
        assert (float(row["probability_yes"]) > 0.5) == (row["prediction"] == "yes")
    assert re.search(r"accuracy \S+% against its column 'y' \(200 rows\)", err)

    new = tmp_path / "new.csv"
    new.write_text("colour,prediction,x\nred,p,150\npurple,q,\n")
    status, out, err = run(capsys, "predict", "run/model.safetensors", new, "-o", "out.csv")
    assert status == 0 and out == ""
    assert "column 'x': 1 blank imputed" in err and "column 'colour': 1 value of categories not seen" in err
    rows = list(csv.reader((tmp_path / "out.csv").read_text().splitlines()))
    assert rows[0] == ["colour", "prediction", "x", "prediction_"] and rows[1] == ["red", "p", "150", "yes"]


def test_regression_in_the_targets_own_unit(capsys, tmp_path):
    path = write_table(tmp_path / "t.csv", n=400, task="regression")
    status, out, _ = run(
        capsys, "train", "--data", path, "--target", "y", "--out", "run", "--test-size", "0.25", *QUICK
    )
    assert status == 0 and "300 training and 100 test rows, regression" in out
    results = json.loads((tmp_path / "run" / "history.json").read_text())["test"]
    assert results["r2"] > 0.9 and 1 < results["mae"] <= results["rmse"] < 60
    assert f"R^2 {results['r2']:.4f}, RMSE {results['rmse']:.6g}, MAE {results['mae']:.6g} in units of y" in out
    status, out, err = run(capsys, "predict", "run/model.safetensors", path)
    rows = list(csv.DictReader(out.splitlines()))
    errors = [abs(float(row["prediction"]) - float(row["y"])) for row in rows]
    assert np.mean(errors) < 50 and re.search(r"R\^2 0\.9\d+ against its column 'y' \(400 rows\)", err)
    assert "--proba needs a classification model" in refuse(capsys, "predict", "run/model.safetensors", path, "--proba")


def test_table_options(capsys, tmp_path):
    path = tmp_path / "t.csv"
    rows = [f"{i},{i % 3},{'' if i == 5 else i % 7},k{i}" for i in range(90)]
    path.write_text("\n".join(["id,group,y,name", *rows]))
    base = ("train", "--data", path, "--target", "y", "--epochs", "1", "--hidden", "4")
    _, out, _ = run(capsys, *base, "--drop", "id", "--max-categories", "10")
    assert "'y' from 2 columns" in out and "7 classes" in out
    assert "1 row without a 'y' left out" in out and "'name': 10 most frequent categories kept" in out
    _, out, _ = run(capsys, *base, "--task", "regression")
    assert "'y' from 3 columns" in out and "rows, regression" in out
    options = ("--optimizer", "sgd", "--momentum", "0.9", "--weight-decay", "0.01", "--schedule", "constant")
    _, out, _ = run(capsys, *base, *options, "--activation", "tanh", "--hidden", "8,4", "2")
    assert "-8-4-2-7 tanh" in out and "sgd, lr 0.1 constant, momentum 0.9, weight decay 0.01" in out
    _, out, _ = run(capsys, *base, "--hidden", "none", "--drop", "id", "--drop", "name")
    assert "model     1-7, 14 parameters" in out


@pytest.mark.parametrize("name", cli.OPTIMIZERS)
def test_every_optimizer(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["x,y", *(f"{i},{2 * i + 0.5}" for i in range(60))]))
    base = ("train", "--data", path, "--target", "y", "--epochs", "2", "--hidden", "4", "--optimizer", name)
    _, out, _ = run(capsys, *base)
    assert f"{name}, lr " in out
    _, out, _ = run(capsys, *base, "--lr", "0.125", "--weight-decay", "0.01")
    assert f"{name}, lr 0.125 cosine, weight decay 0.01" in out


def write_idx(path, array):
    data = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.fixture
def images(tmp_path):
    """A folder of IDX files, 4x4 images in 3 classes that differ in their bright row."""
    folder = tmp_path / "images"
    folder.mkdir()
    random = np.random.RandomState(0)
    for part, n, end in (("train", 120, ""), ("t10k", 30, ".gz")):
        labels = (np.arange(n) % 3).astype(np.uint8)
        pixels = random.randint(0, 100, (n, 4, 4)).astype(np.uint8)
        pixels[np.arange(n), labels] += 150
        write_idx(folder / f"{part}-images-idx3-ubyte{end}", pixels)
        write_idx(folder / f"{part}-labels-idx1-ubyte{end}", labels)
    return folder


def test_idx_images_and_predict(capsys, images, tmp_path):
    status, out, _ = run(capsys, "train", "--data", images, "--out", "run", *QUICK)
    assert status == 0 and "images 4x4: 120 training and 30 test rows, 3 classes" in out
    assert "test accuracy 100.00%" in out
    status, out, _ = run(capsys, "predict", "run/model.safetensors", images / "t10k-images-idx3-ubyte.gz", "--proba")
    rows = list(csv.DictReader(out.splitlines()))
    assert [int(row["prediction"]) for row in rows] == [i % 3 for i in range(30)]
    assert list(rows[0]) == ["index", "prediction", "probability_0", "probability_1", "probability_2"]
    write_idx(tmp_path / "other", np.zeros((1, 5, 4), np.uint8))
    assert "images are 5x4, the model was trained on 4x4" in refuse(
        capsys, "predict", "run/model.safetensors", tmp_path / "other"
    )


def test_bad_idx_folders(capsys, images):
    labels = images / "train-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-3])
    error = refuse(capsys, "train", "--data", images)
    assert "train-labels-idx1-ubyte: truncated" in error and "at byte" in error
    labels.unlink()
    assert "train-labels-idx1-ubyte" in refuse(capsys, "train", "--data", images)


def test_bad_usage_is_one_line_and_status_2(capsys, tmp_path):
    path = write_table(tmp_path / "t.csv")
    assert "no column 'z'; columns: x, colour, y" in refuse(capsys, "train", "--data", path, "--target", "z")
    assert "needs --target COLUMN; columns: x, colour, y" in refuse(capsys, "train", "--data", path)
    assert "nowhere.csv: No such file" in refuse(capsys, "train", "--data", "nowhere.csv", "--target", "y")
    assert "--target goes with --data FILE.csv" in refuse(capsys, "train", "--target", "y")
    assert "no column 'q'" in refuse(capsys, "train", "--data", path, "--target", "y", "--drop", "q")
    error = refuse(capsys, "train", "--data", path, "--target", "y", "--task", "regression")
    assert re.search(r"t\.csv, line 2, column 'y': '(yes|no)' is not a number", error)
    assert "--momentum goes with --optimizer sgd" in refuse(capsys, "train", "--momentum", "0.9")
    for options, message in [
        (("--hidden", "16,x"), "'x' is not a positive integer"),
        (("--hidden", "0"), "'0' is not a positive integer"),
        (("--lr", "nan"), "'nan' is not a positive number"),
        (("--epochs", "-1"), "'-1' is not an integer of at least 0"),
        (("--dropout", "1"), "'1' is not a number from 0 to less than 1"),
        (("--test-size", "1.5"), "'1.5' is not a number between 0 and 1"),
        (("--activation", "gelu"), "invalid choice: 'gelu'"),
        (("--colour", "red"), "unrecognized arguments"),
    ]:
        assert message in refuse(capsys, "train", *options)
    assert "required" in refuse(capsys)
    assert not (tmp_path / "runs").exists()
    (tmp_path / "file").write_text("")
    assert "file: File exists" in refuse(capsys, "train", "--out", "file", "--epochs", "1")


def test_too_large_a_model_is_refused(capsys):
    assert refuse(capsys, "train", "--hidden", "2000000000,2000000000", "--epochs", "1")


def test_csv_errors_reach_the_user(capsys, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,y\n1,2\n1\n")
    assert "t.csv, line 3: expected 2 fields, got 1" in refuse(capsys, "train", "--data", path, "--target", "y")
    path.write_bytes(b"a,y\n\xff,2\n")
    assert "line 2: not UTF-8, byte 0xff at offset 4" in refuse(capsys, "train", "--data", path, "--target", "y")


def test_bad_models_and_inputs_of_predict(capsys, tmp_path):
    path = write_table(tmp_path / "t.csv")
    assert "gone.safetensors: no such file" in refuse(capsys, "predict", "gone.safetensors", path)
    assert "not a safetensors file" in refuse(capsys, "predict", path, path)
    save({"a": tg.zeros(1)}, "plain.safetensors")
    assert "not a model of `tapegrad train`" in refuse(capsys, "predict", "plain.safetensors", path)
    run(capsys, "train", "--data", path, "--target", "y", "--out", "run", "--epochs", "1", "--hidden", "4")
    (tmp_path / "short.csv").write_text("x\n1\n")
    assert "short.csv: missing column colour" in refuse(capsys, "predict", "run/model.safetensors", "short.csv")
    (tmp_path / "bad.csv").write_text("x,colour\n1,red\none,red\n")
    assert "bad.csv, line 3, column 'x': 'one' is not a number" in refuse(
        capsys, "predict", "run/model.safetensors", "bad.csv"
    )
    text = load_metadata("run/model.safetensors")["tapegrad.model"]
    for changed, message in [
        (text, "damaged model"),
        (text[:-1], "damaged model"),
        ("[]", "damaged model"),
        (text.replace('"activation": "relu"', '"activation": "step"'), "damaged model"),
        (text.replace('"format": 1', '"format": 9'), "model format 9"),
    ]:
        save({"a": tg.zeros(1)}, "changed.safetensors", {"tapegrad.model": changed})
        assert f"changed.safetensors: {message}" in refuse(capsys, "predict", "changed.safetensors", path)


def test_divergence_is_status_1(capsys):
    error = refuse(capsys, "train", "--optimizer", "sgd", "--lr", "1e30", "--quiet", status=1)
    assert re.search(r"loss is (nan|inf) at epoch \d+, step \d+", error)


def test_ctrl_c_saves_the_model(capsys, monkeypatch, tmp_path):
    from tapegrad._cli import train

    def fit(model, train, *, on_epoch, **options):
        def stop(history):
            on_epoch(history)
            if len(history) == 2:
                raise KeyboardInterrupt

        return tg.fit(model, train, on_epoch=stop, **options)

    monkeypatch.setattr(train, "fit", fit)
    status, out, _ = run(capsys, "train", "--out", "run")
    assert status == 130 and "interrupted" in out and "test accuracy" in out
    load_model(tmp_path / "run" / "model.safetensors")
    record = json.loads((tmp_path / "run" / "history.json").read_text())
    assert record["interrupted"] and len(record["epochs"]["loss"]) == 2


def test_ctrl_c_in_a_process_of_its_own(tmp_path):
    command = [sys.executable, "-m", "tapegrad", "train", "--epochs", "1000000", "--out", "run"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.split()[:1] == ["3"]:
                process.send_signal(signal.SIGINT)
                break
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted after" in out and err == ""
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_a_reader_that_leaves_early(capsys, tmp_path):
    path = write_table(tmp_path / "t.csv", n=3000)
    run(capsys, "train", "--data", path, "--target", "y", "--out", "run", "--epochs", "1", "--hidden", "4")
    command = f"{sys.executable} -m tapegrad predict run/model.safetensors t.csv 2>err | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stdout == "x,colour,y,prediction\n" and "Broken" not in (tmp_path / "err").read_text()


def test_without_matplotlib(capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    status, out, _ = run(capsys, "train", "--epochs", "1", "--out", "run")
    assert status == 0 and "no history.png: pip install matplotlib" in out
    assert not (tmp_path / "run" / "history.png").exists()


def test_info_version_and_module(capsys):
    status, out, _ = run(capsys, "info")
    assert status == 0
    for line in ("tapegrad", "ISA levels", "active level", "threads", "default dtype float32", "numpy"):
        assert line in out
    assert run(capsys, "--version")[1].startswith("tapegrad ")
    done = subprocess.run([sys.executable, "-m", "tapegrad", "info"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.splitlines()[:3] == out.splitlines()[:3]


@pytest.mark.parametrize("split", ["all", "train", "test"])
def test_digits(split):
    images, labels = datasets.load_digits(split)
    n = {"all": 1797, "train": 1438, "test": 359}[split]
    assert tuple(images.shape) == (n, 64) and tuple(labels.shape) == (n,)
    assert images.dtype == tg.float32 and labels.dtype == tg.int64
    assert images.min().item() == 0 and images.max().item() == 1
    counts = np.bincount(labels.numpy())
    assert len(counts) == 10 and counts.max() - counts.min() <= 10


def test_digits_split_and_source():
    parts = [datasets.load_digits(split)[0].numpy() for split in ("train", "test")]
    whole = datasets.load_digits()[0].numpy()
    assert sorted(map(bytes, np.concatenate(parts))) == sorted(map(bytes, whole))
    with pytest.raises(ValueError, match="split must be"):
        datasets.load_digits("validation")
    sklearn = pytest.importorskip("sklearn.datasets").load_digits()
    np.testing.assert_array_equal(whole * 16, sklearn.data)
    np.testing.assert_array_equal(datasets.load_digits()[1].numpy(), sklearn.target)


@pytest.mark.slow
def test_fashion_mnist(capsys, data_root):
    folder = data_root / "fashion-mnist"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    options = [
        "--hidden",
        "256",
        "--optimizer",
        "sgd",
        "--lr",
        "0.5",
        "--batch-size",
        "256",
        "--epochs",
        "5",
        "--quiet",
    ]
    status, out, _ = run(capsys, "train", "--data", folder, *options)
    assert status == 0 and float(re.search(r"accuracy (\S+)%", out)[1]) >= 83


@pytest.mark.slow
def test_california(capsys, data_root, tmp_path):
    path = data_root / "california" / "housing.csv"
    if not path.is_file():
        pytest.skip(f"no {path}")
    status, out, _ = run(capsys, "train", "--data", path, "--target", "median_house_value", "--out", "run")
    assert status == 0 and "'total_bedrooms': 207 blanks imputed with the median" in out
    assert json.loads((tmp_path / "run" / "history.json").read_text())["test"]["r2"] >= 0.75
