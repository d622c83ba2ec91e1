"""The MLP that the command line trains, saved with its architecture and preprocessing as safetensors metadata."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np

from .. import _core, nn
from ..checkpoint import load, load_metadata, save

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
_FORMAT = 1
CHUNK = 4096  # rows per forward pass of a trained model


@dataclass
class Architecture:
    """Sizes of a multilayer perceptron; dropout follows each hidden layer."""

    inputs: int
    hidden: list[int]
    outputs: int
    activation: str = "relu"
    dropout: float = 0.0

    def build(self) -> nn.Sequential:
        """A new model with PyTorch's initial weights."""
        layers = []
        width = self.inputs
        for size in self.hidden:
            layers += [nn.Linear(width, size), ACTIVATIONS[self.activation]()]
            if self.dropout:
                layers.append(nn.Dropout(self.dropout))
            width = size
        return nn.Sequential(*layers, nn.Linear(width, self.outputs))

    def __str__(self) -> str:
        text = "-".join(map(str, [self.inputs, *self.hidden, self.outputs]))
        if self.hidden:
            text += f" {self.activation}" + (f", dropout {self.dropout:g}" if self.dropout else "")
        return text


def save_model(path, model, architecture: Architecture, preprocessing: dict) -> None:
    """Writes the parameters, and as metadata what load_model() needs."""
    description = {
        "format": _FORMAT,
        "version": _core.__version__,
        "architecture": asdict(architecture),
        "preprocessing": preprocessing,
    }
    # One entry: the order of several would change from file to file.
    save(model.state_dict(), path, {"tapegrad.model": json.dumps(description)})


def load_model(path):
    """Reads a file of save_model(): (model in eval mode, preprocessing). Raises ValueError that names the file."""
    text = load_metadata(path).get("tapegrad.model")
    if text is None:
        raise ValueError(f"{path}: not a model of `tapegrad train` (its metadata has no tapegrad.model)")
    try:
        description = json.loads(text)
        version = description["format"]
        if version == _FORMAT:
            model = Architecture(**description["architecture"]).build()
            model.load_state_dict(load(path))
            return model.eval(), description["preprocessing"]
    except (KeyError, TypeError, ValueError, RuntimeError, MemoryError) as error:
        raise ValueError(f"{path}: damaged model: {type(error).__name__}: {error}") from None
    raise ValueError(f"{path}: model format {version!r}; this version of tapegrad reads format {_FORMAT}")


def probabilities(scores: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, in float64."""
    scores = scores.astype(np.float64)
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)
