"""Images with labels in four IDX files: MNIST, Fashion-MNIST and their like."""

import hashlib
import os
from pathlib import Path

import numpy as np

from .. import _core
from ..utils.data import Dataset, TensorDataset
from ._idx import read_idx


class IdxImages(Dataset):
    """Labelled grey images from a folder with the files of MNIST, of any image size and any number of classes.

    The files are {train,t10k}-images-idx3-ubyte and {train,t10k}-labels-idx1-ubyte, raw or with .gz.
    root: the folder, or one above it (`<root>/<name>`, `<root>/<Name>/raw` are searched too); if None, the
    environment variable TAPEGRAD_DATA, else "data". train: the train files, else the t10k (test) files.
    transform, target_transform: functions applied to the image and the label of a sample.
    check: compare the MD5 of gzipped files of a known data set.

    Attributes: data, uint8 tensor (N, height, width); targets, int64 tensor (N,); classes, list of names.
    Sample: (float32 tensor (1, height, width) in [0, 1], int).
    FileNotFoundError says which files to put where; ValueError names the file that is wrong, and the byte.
    """

    folders = ()
    md5 = {}
    image_size = None
    classes = None

    def __init__(self, root=None, train=True, transform=None, target_transform=None, *, check=True):
        self.root = Path(os.environ.get("TAPEGRAD_DATA", "data") if root is None else root)
        self.train = train
        self.transform = transform
        self.target_transform = target_transform
        part = "train" if train else "t10k"
        paths = self._find([f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"])
        if check:
            for path in paths:
                self._check_md5(path)
        images, labels = map(read_idx, paths)
        self._check_arrays(images, labels, *paths)
        self.data = _core.from_numpy(images)
        labels = labels.astype(np.int64)
        self.targets = _core.from_numpy(labels)
        if self.classes is None:
            self.classes = [str(i) for i in range(labels.max(initial=-1) + 1)]

    def _find(self, names):
        """The paths of these files, all in one of the folders searched, raw or gzipped."""
        folders = [self.root, *(self.root / folder for folder in self.folders)]
        for folder in folders:
            found = [next((p for p in (folder / f"{n}.gz", folder / n) if p.is_file()), None) for n in names]
            if all(found):
                return found
        wanted = " and ".join(f"{name}[.gz]" for name in names)
        searched = "".join(f"\n  {folder}" for folder in folders)
        raise FileNotFoundError(
            f"{type(self).__name__}: put {wanted} into one folder, give it as root or in the environment variable "
            f"TAPEGRAD_DATA. Searched:{searched}"
        )

    def _check_md5(self, path):
        expected = self.md5.get(path.name)
        if expected is None:
            return
        actual = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        if actual != expected:
            raise ValueError(
                f"{path}: this is not the file of {type(self).__name__}: its MD5 is {actual}, it should be {expected}; "
                "get it again, or pass check=False to read it all the same"
            )

    def _check_arrays(self, images, labels, image_path, label_path):
        if images.dtype != np.uint8 or images.ndim != 3:
            raise ValueError(f"{image_path}: images should be uint8 of 3 dimensions, got {_describe(images)}")
        if self.image_size and images.shape[1:] != self.image_size:
            raise ValueError(f"{image_path}: images should be {self.image_size}, got {images.shape[1:]}")
        if labels.dtype != np.uint8 or labels.ndim != 1:
            raise ValueError(f"{label_path}: labels should be uint8 of 1 dimension, got {_describe(labels)}")
        if len(images) != len(labels):
            raise ValueError(f"{image_path} has {len(images)} images, but {label_path} has {len(labels)} labels")
        if self.classes and len(labels) and labels.max() >= len(self.classes):
            i = int(np.argmax(labels >= len(self.classes)))
            raise ValueError(f"{label_path}: label {labels[i]} at byte {8 + i}, there are {len(self.classes)} classes")

    def _images(self, index):
        return self.data[index].to(_core.float32).div_(255).unsqueeze(-3)

    def __getitem__(self, index):
        image, target = self._images(index), int(self.targets[index])
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return image, target

    @property
    def _batch(self):
        if self.transform is not None or self.target_transform is not None:
            return None
        return lambda index: [self._images(index), self.targets[index].clone()]

    def __len__(self):
        return len(self.data)

    def tensors(self, flatten=True):
        """All samples as a TensorDataset: float32 images (N, height * width), or (N, 1, height, width), and targets.

        Values are in [0, 1]. Converted once, this is faster to train from than the data set itself; transforms are
        not applied.
        """
        images = self._images(slice(None))
        return TensorDataset(images.flatten(1) if flatten else images, self.targets)

    def __repr__(self):
        part = "train" if self.train else "test"
        shape = tuple(self.data.shape)
        return f"{type(self).__name__}({part}: {shape[0]} images of {shape[1]} x {shape[2]}, root={str(self.root)!r})"


def _describe(array):
    return f"{array.dtype} of shape {array.shape}"


class MNIST(IdxImages):
    """Handwritten digits: 60,000 train and 10,000 test images of 28 x 28. See `IdxImages`.

    Source: LeCun, Cortes and Burges, http://yann.lecun.com/exdb/mnist/.
    """

    folders = ("mnist", "MNIST", "MNIST/raw", "raw")
    image_size = (28, 28)
    classes = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    md5 = {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    }


class FashionMNIST(IdxImages):
    """Clothes in ten classes: 60,000 train and 10,000 test images of 28 x 28. See `IdxImages`.

    Source: Xiao, Rasul and Vollgraf, arXiv:1708.07747.
    """

    folders = ("fashion-mnist", "FashionMNIST", "FashionMNIST/raw", "raw")
    image_size = (28, 28)
    classes = [
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ]
    md5 = {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    }
