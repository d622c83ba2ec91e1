"""save() and load(): dictionaries of tensors as safetensors files."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from . import _core


def save(state: Mapping[str, _core.Tensor], path: str | os.PathLike, metadata: Mapping[str, str] | None = None) -> None:
    """Writes tensors by name, such as `model.state_dict()`, to a safetensors file.

    metadata: texts by name that are stored with them. The file appears whole or not at all: it is written under a
    temporary name in the same folder, synced to disk and renamed. Views are written as the values they show.
    Raises TypeError for anything but tensors (or arrays) by name, OSError when the file cannot be written.
    """
    from safetensors.numpy import save as serialize

    if not isinstance(state, Mapping):
        hint = "; pass its state_dict()" if hasattr(state, "state_dict") else ""
        raise TypeError(f"save: expected a dictionary of tensors, got {type(state).__name__}{hint}")
    arrays = {}
    for name, value in state.items():
        if not isinstance(name, str):
            raise TypeError(f"save: names must be strings, got {name!r}")
        if not isinstance(value, (_core.Tensor, np.ndarray)):
            raise TypeError(f"save: {name!r} must be a tensor, got {type(value).__name__}")
        array = value.detach().numpy() if isinstance(value, _core.Tensor) else value
        arrays[name] = np.ascontiguousarray(array).reshape(array.shape)
    for key, text in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"save: metadata must be texts by name, got {key!r}: {type(text).__name__}")
    data = serialize(arrays, dict(metadata or {}) or None)
    write_atomically(path, lambda temporary: temporary.write_bytes(data))


def load(path: str | os.PathLike) -> dict[str, _core.Tensor]:
    """Reads the tensors of a safetensors file, by name; `model.load_state_dict(load(path))` fills a model with them.

    Raises FileNotFoundError, and ValueError that names the file, and the tensor where one is at fault, for a file that
    is truncated, is not safetensors, or has a dtype that tapegrad lacks.
    """
    state = {}
    with _open(path) as file:
        for name in file.keys():  # noqa: SIM118  (it is no dictionary)
            try:
                state[name] = _core.from_numpy(file.get_tensor(name).copy())
            except Exception as error:  # safetensors raises several kinds for a dtype that NumPy or tapegrad lacks
                dtype = file.get_slice(name).get_dtype()
                raise ValueError(f"{path}: cannot read tensor {name!r} of dtype {dtype}: {error}") from None
    return state


def load_metadata(path: str | os.PathLike) -> dict[str, str]:
    """Reads the texts stored beside the tensors of a safetensors file. Raises as load() does."""
    with _open(path) as file:
        return dict(file.metadata() or {})


def _open(path):
    from safetensors import SafetensorError, safe_open

    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file")
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path}: is a folder, not a safetensors file")
    try:
        return safe_open(path, framework="np")
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file, or damaged: {error}") from None


def write_atomically(path: str | os.PathLike, write: Callable[[Path], None]) -> None:
    """Calls `write` with a temporary name beside `path`, syncs what it wrote to disk and renames it to `path`."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{path.suffix}")
    try:
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":  # the rename itself is on disk once its folder is
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
