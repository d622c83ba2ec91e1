"""An autoencoder on Fashion-MNIST: 784 pixels through 32 numbers and back, against principal components.

    python -m tapegrad.examples.autoencoder [--data FOLDER] [--epochs 10] [--code 32] [--seed 0] [--plot PATH]

FOLDER holds the files of Fashion-MNIST; it may also stand in the environment variable TAPEGRAD_DATA. As many principal
components are the best linear autoencoder (Baldi and Hornik, 1989, Neural networks and principal component analysis,
Neural Networks 2); what the network gains, it gains by being non-linear (Hinton and Salakhutdinov, 2006, Reducing the
dimensionality of data with neural networks, Science 313).
"""

import argparse

import numpy as np

import tapegrad as tg
from tapegrad import nn
from tapegrad.callbacks import LRScheduler
from tapegrad.datasets import FashionMNIST
from tapegrad.optim.lr_scheduler import CosineAnnealingLR

from ._shared import new_figure, positive


class Autoencoder(nn.Module):
    """(N, pixels) in [0, 1] -> the same by way of `encoder`, (N, code), and `decoder`."""

    def __init__(self, pixels: int, code: int, hidden: int = 256):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(pixels, hidden), nn.SiLU(), nn.Linear(hidden, code))
        self.decoder = nn.Sequential(nn.Linear(code, hidden), nn.SiLU(), nn.Linear(hidden, pixels), nn.Sigmoid())

    def forward(self, images):
        return self.decoder(self.encoder(images))


class PrincipalComponents:
    """The projection onto the directions of largest variance of images (N, pixels)."""

    def __init__(self, images: np.ndarray, code: int):
        self.mean = images.mean(axis=0, dtype=np.float64).astype(np.float32)
        centred = images - self.mean
        _, vectors = np.linalg.eigh((centred.T @ centred).astype(np.float64))  # variances rise
        self.vectors = vectors[:, -code:].astype(np.float32)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return (images - self.mean) @ self.vectors @ self.vectors.T + self.mean


def train(images: tg.Tensor, code: int, *, epochs: int = 10, hidden: int = 256, lr: float = 2e-3, on_epoch=None):
    """An Autoencoder of images (N, pixels), and the History of its mean squared error."""
    model = Autoencoder(images.shape[1], code, hidden)
    history = tg.fit(
        model,
        (images, images),
        loss="mse",
        optimizer="adam",
        lr=lr,
        epochs=epochs,
        callbacks=[LRScheduler(lambda optimizer: CosineAnnealingLR(optimizer, epochs))],
        batch_size=128,
        on_epoch=on_epoch,
    )
    return model, history


def mean_squared_error(images: np.ndarray, rebuilt: np.ndarray) -> float:
    return float(np.square(images - rebuilt).mean(dtype=np.float64))


def errors(model: nn.Module, components: PrincipalComponents, images: np.ndarray) -> tuple[float, float]:
    """Mean squared errors per pixel, of the model and of the principal components."""
    return tuple(mean_squared_error(images, f(images)) for f in (lambda x: tg.predict(model, x), components))


def plot(model: nn.Module, components: PrincipalComponents, images: np.ndarray, figure) -> None:
    """Draws images (N, 784) into a matplotlib Figure, and below what model and principal components make of them."""
    rows = {"image": images, "autoencoder": tg.predict(model, images), "PCA": components(images)}
    grid = figure.subplots(len(rows), len(images), squeeze=False)
    for axes, (title, pictures) in zip(grid, rows.items(), strict=True):
        for axis, picture in zip(axes, pictures, strict=True):
            axis.imshow(picture.reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
        axes[0].set_ylabel(title)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder with the files of Fashion-MNIST")
    parser.add_argument("--epochs", type=positive, default=10, help="default: 10")
    parser.add_argument("--code", type=positive, default=32, help="numbers to an image (default: 32)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", metavar="PATH", help="draw test images and their reconstructions into this file")
    options = parser.parse_args(argv)
    if options.code > 784:
        parser.error(f"--code must be at most 784, the number of pixels, got {options.code}")
    try:
        images, test = (FashionMNIST(options.data, train=part).tensors().tensors[0] for part in (True, False))
    except FileNotFoundError as error:
        parser.error(str(error))
    figure = new_figure(10, 3.3) if options.plot else None  # first: it may lack matplotlib
    tg.manual_seed(options.seed)

    def show(history):
        print(f"epoch {len(history):2d}  error {history['loss'][-1]:.5f}  {history['seconds'][-1]:.1f} s", flush=True)

    model, _ = train(images, options.code, epochs=options.epochs, on_epoch=show)
    components = PrincipalComponents(images.numpy(), options.code)
    ours, linear = errors(model, components, test.numpy())
    print(
        f"test error per pixel: autoencoder {ours:.5f}, {options.code} principal components {linear:.5f}, "
        f"ratio {ours / linear:.2f}"
    )
    if figure is not None:
        plot(model, components, test[:10].numpy(), figure)
        figure.savefig(options.plot, dpi=120)


if __name__ == "__main__":
    main()
