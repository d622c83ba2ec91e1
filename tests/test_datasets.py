"""IDX files and the image data sets read from them, with files as they should be and as they should not."""

import gzip
import struct

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.datasets import MNIST, FashionMNIST, IdxImages, read_idx
from tapegrad.utils.data import DataLoader, Subset

CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


def idx_bytes(array):
    code = CODES[array.dtype.str[1:]]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write(path, data, zipped=False):
    path.write_bytes(gzip.compress(data) if zipped else data)
    return path


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (0, 3), (1, 1, 1, 1)])
def test_read(tmp_path, shape, code, zipped):
    array = np.random.RandomState(0).uniform(0, 100, shape).astype(code)
    result = read_idx(write(tmp_path / "file", idx_bytes(array), zipped))
    assert result.dtype == array.dtype and result.dtype.isnative and result.flags.writeable
    np.testing.assert_array_equal(result, array)


GOOD = idx_bytes(np.arange(12, dtype="u1").reshape(3, 4))


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("data", "message", "offset"),
    [
        (b"", "has only 0 bytes", 0),
        (b"\0\0", "has only 2 bytes", 2),
        (b"\1" + GOOD[1:], "magic number is 0x01000802", 0),
        (GOOD[:2] + b"\x0a" + GOOD[3:], "magic number is 0x00000a02", 0),
        (GOOD[:3] + b"\0" + GOOD[4:], "magic number is 0x00000800", 0),
        (GOOD[:3] + b"\xff" + bytes(1020), "255 dimensions", 3),
        (GOOD[:9], "sizes of 2 dimensions take 8 bytes, 5 are there", 9),
        (GOOD[:-1], "3 x 4 values of 1 bytes take 12 bytes, 11 are there", 23),
        (GOOD + b"x", "more bytes than the sizes", 24),
        (GOOD[:4] + b"\xff" * 8 + GOOD[12:], "4294967295 x 4294967295 values", 24),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,
)
def test_bad_files_are_named_with_offset(tmp_path, data, message, offset, zipped):
    path = write(tmp_path / "images-idx2", data, zipped)
    with pytest.raises(ValueError) as caught:
        read_idx(path)
    assert str(path) in str(caught.value) and message in str(caught.value)
    assert f"(at byte {offset} " in str(caught.value)


def test_broken_gzip(tmp_path):
    zipped = gzip.compress(GOOD)
    for data in (
        zipped[:12],  # inside the compressed data
        zipped[:-3],  # inside the checksum
        zipped[:-8] + b"\0\0\0\0" + zipped[-4:],  # a wrong checksum
        zipped[:10] + b"\xff" * 10,  # no deflate stream
        zipped + b"more",  # bytes after the stream
        zipped[:2],
    ):
        path = write(tmp_path / "file.gz", data)
        with pytest.raises(ValueError, match=r"file\.gz: .*gzip.*at byte \d+ of the unzipped data"):
            read_idx(path)
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "nothing")


# Data sets


def make_folder(folder, n=20, size=(6, 5), zipped=True, classes=10):
    rng = np.random.RandomState(0)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for part, count in (("train", n), ("t10k", n // 2)):
        images = rng.randint(0, 256, (count, *size)).astype("u1")
        targets = rng.randint(0, classes, count).astype("u1")
        arrays[part] = images, targets
        suffix = ".gz" if zipped else ""
        write(folder / f"{part}-images-idx3-ubyte{suffix}", idx_bytes(images), zipped)
        write(folder / f"{part}-labels-idx1-ubyte{suffix}", idx_bytes(targets), zipped)
    return arrays


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("train", [False, True])
def test_images(tmp_path, zipped, train):
    images, targets = make_folder(tmp_path, zipped=zipped)["train" if train else "t10k"]
    data = IdxImages(tmp_path, train=train)
    assert len(data) == len(images) and data.data.dtype == tg.uint8 and data.targets.dtype == tg.int64
    np.testing.assert_array_equal(data.data.numpy(), images)
    np.testing.assert_array_equal(data.targets.numpy(), targets)
    image, target = data[3]
    assert image.shape == (1, 6, 5) and image.dtype == tg.float32 and target == targets[3] and type(target) is int
    np.testing.assert_array_equal(image.numpy()[0], images[3].astype("f4") / np.float32(255))
    x, y = data.tensors().tensors
    assert x.shape == (len(images), 30) and x.dtype == tg.float32
    np.testing.assert_array_equal(x.numpy().reshape(images.shape), images.astype("f4") / np.float32(255))
    assert y.tolist() == targets.tolist()
    assert data.tensors(flatten=False).tensors[0].shape == (len(images), 1, 6, 5)
    assert ("train" if train else "test") in repr(data)
    with pytest.raises(IndexError):
        data[len(images)]


def test_batches_and_transforms(tmp_path):
    images, targets = make_folder(tmp_path)["train"]
    data = IdxImages(tmp_path)
    for source in (data, Subset(data, range(20))):
        x, y = next(iter(DataLoader(source, batch_size=7)))
        assert x.shape == (7, 1, 6, 5)
        np.testing.assert_array_equal(x.numpy()[:, 0], images[:7].astype("f4") / np.float32(255))
        assert y.tolist() == targets[:7].tolist()
    changed = IdxImages(tmp_path, transform=lambda image: image * 0, target_transform=lambda target: target + 1)
    x, y = next(iter(DataLoader(changed, batch_size=7)))
    assert not x.numpy().any() and y.tolist() == (targets[:7] + 1).tolist()


@pytest.mark.parametrize("folder", ["", "fashion-mnist", "FashionMNIST/raw"])
def test_folders_searched(tmp_path, folder, monkeypatch):
    make_folder(tmp_path / folder, size=(28, 28))
    assert len(FashionMNIST(tmp_path, check=False)) == 20
    monkeypatch.setenv("TAPEGRAD_DATA", str(tmp_path))
    assert len(FashionMNIST(train=False, check=False)) == 10


def test_missing_files_are_named(tmp_path):
    make_folder(tmp_path / "MNIST" / "raw")
    (tmp_path / "MNIST" / "raw" / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError) as caught:
        MNIST(tmp_path)
    message = str(caught.value)
    assert "train-images-idx3-ubyte[.gz]" in message and "train-labels-idx1-ubyte[.gz]" in message
    assert str(tmp_path / "MNIST" / "raw") in message and "TAPEGRAD_DATA" in message
    with pytest.raises(FileNotFoundError):
        FashionMNIST(tmp_path / "nothing")


def test_wrong_files_are_refused(tmp_path):
    make_folder(tmp_path, size=(28, 28))
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz: .*MD5"):
        MNIST(tmp_path)
    make_folder(tmp_path)
    with pytest.raises(ValueError, match=r"\(28, 28\), got \(6, 5\)"):
        MNIST(tmp_path, check=False)
    images, labels = tmp_path / "train-images-idx3-ubyte", tmp_path / "train-labels-idx1-ubyte"
    for path in tmp_path.glob("*.gz"):
        path.unlink()
    write(images, idx_bytes(np.zeros((3, 28, 28), "u1")))
    for array, message in [
        (np.zeros(4, "u1"), "3 images, but .* 4 labels"),
        (np.zeros((3, 1), "u1"), "1 dimension"),
        (np.zeros(3, "i4"), "uint8"),
        (np.array([1, 10, 2], "u1"), "label 10 at byte 9"),
    ]:
        write(labels, idx_bytes(array))
        with pytest.raises(ValueError, match=message):
            MNIST(tmp_path)
    write(images, idx_bytes(np.zeros((3, 28), "u1")))
    with pytest.raises(ValueError, match="3 dimensions"):
        MNIST(tmp_path)
    write(images, b"text")
    with pytest.raises(ValueError, match="not an IDX file"):
        MNIST(tmp_path)


@pytest.mark.parametrize(("kind", "name"), [(MNIST, "mnist"), (FashionMNIST, "fashion-mnist")])
def test_real_files(data_root, kind, name):
    if not (data_root / name).is_dir():
        pytest.skip(f"{data_root / name} is not there")
    test = kind(data_root, train=False)
    assert len(test) == 10000 and test.data.shape == (10000, 28, 28) and len(test.classes) == 10
    assert np.bincount(test.targets.numpy()).sum() == 10000
    train = kind(data_root / name)
    assert len(train) == 60000 and train[0][1] == (5 if kind is MNIST else 9)
