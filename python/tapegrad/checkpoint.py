"""save() and load(): nested values and tensors as safetensors files; Checkpoint: the whole state of a training run."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping

from . import _core
from ._device import device
from ._files import safetensors
from ._files.atomic import write_atomically
from ._files.structure import pack, pack_plain, to_tensor, unpack

_STRUCTURE = "tapegrad.structure"
_CHECKPOINT = "tapegrad.checkpoint"
_FORMAT = "1"  # of checkpoints
_GENERATOR = "default_generator"


def save(obj, path: str | os.PathLike, metadata: Mapping[str, str] | None = None) -> None:
    """Writes tensors, or anything nested that is made of them and of plain values, to a safetensors file.

    obj: a dictionary of tensors by name, such as `model.state_dict()`, becomes a plain safetensors file, which PyTorch
        and others read. Otherwise any nest of dictionaries (keys: str, int, float, bool, None), lists and tuples of
        tensors, NumPy arrays and numbers, None, bool, int, float, str, bytes and dtypes: its tensors are stored under
        their paths ("optimizer.state.0.exp_avg"), the rest as JSON in the file's metadata. load() returns the same
        values in the same order; named tuples and Size come back as tuples, parameters as tensors, NumPy numbers
        as Python's, and a tensor or array that is in several places as one object.
    metadata: texts by name that are stored with it; see load_metadata().

    The file appears whole or not at all: it is written in a temporary folder beside it, synced to disk and renamed.
    Tensors are stored as the values they show, views too. Nothing is pickled.
    Raises TypeError, which names the place, for objects of other classes; ValueError for what contains itself or is
    nested more than 100 deep; OSError when the file cannot be written, and the old one, if any, is then untouched.
    """
    texts = _texts(metadata)
    if _is_plain(obj):
        arrays = pack_plain(obj)
    else:
        texts[_STRUCTURE], arrays = pack(obj)
    _write(path, arrays, texts)


def load(path: str | os.PathLike, map_location=None, *, weights_only: bool = True):
    """Reads what save() wrote, or the tensors of any safetensors file, by name.

    map_location: nothing or the CPU, else ValueError. weights_only: has no effect, as no file runs code.
    `model.load_state_dict(load(path))` fills a model, also from a file that PyTorch's safetensors wrote. Tensors of
    float16 and bfloat16 are widened to float32, which is exact. Files that save() wrote run no code when they are read.
    Raises FileNotFoundError, and ValueError that names the file, and the tensor where one is at fault, for a file that
    is truncated or damaged, is not safetensors, or has a dtype that tapegrad lacks.
    """
    if map_location is not None and device(map_location).type != "cpu":
        raise ValueError(f"load: map_location must be the CPU, got {map_location!r}")
    return _load(path)[0]


def load_metadata(path: str | os.PathLike) -> dict[str, str]:
    """Reads the texts stored beside the tensors of a safetensors file. Raises as load() does."""
    texts = safetensors.read_metadata(path)
    return {name: text for name, text in texts.items() if name not in (_STRUCTURE, _CHECKPOINT)}


def _is_plain(obj) -> bool:
    """Whether this is a safetensors file's content as it stands."""
    return (
        isinstance(obj, Mapping)
        and "__metadata__" not in obj
        and all(type(name) is str and isinstance(value, _core.Tensor) for name, value in obj.items())
    )


def _texts(metadata) -> dict[str, str]:
    texts = dict(metadata or {})
    for key, text in texts.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"save: metadata must be texts by name, got {key!r}: {type(text).__name__}")
        if key in (_STRUCTURE, _CHECKPOINT):
            raise ValueError(f"save: the metadata {key!r} is tapegrad's own; choose another name")
    return texts


def _write(path, arrays, texts) -> None:
    write_atomically(path, lambda temporary: safetensors.write(temporary, arrays, texts))


def _load(path):
    """(what was saved, texts)."""
    arrays, texts = safetensors.read(path)
    try:
        if _STRUCTURE in texts:
            return unpack(texts[_STRUCTURE], arrays), texts
        return {name: to_tensor(name, array) for name, array in arrays.items()}, texts
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


class Checkpoint:
    """The whole state of a hand-written training loop, in one file.

        checkpoint = tg.Checkpoint(model=model, optimizer=optimizer, scheduler=scheduler, loader=loader, epoch=0)
        if os.path.exists("run.ckpt"):
            checkpoint.load("run.ckpt")
        for epoch in range(checkpoint["epoch"], 20):
            for x, y in loader:
                ...
            checkpoint["epoch"] = epoch + 1
            checkpoint.save("run.ckpt")

    parts: by name, objects with state_dict() and load_state_dict() (models, optimizers, schedulers, DataLoaders,
    callbacks, Standardize, ...), Generators, and plain values, as nested as save() takes them, which
    `checkpoint[name]` reads and sets. The default generator (dropout, shuffling) is always part of it, so that a run
    that was loaded goes on with the same bits; generators of your own, such as DataLoader(generator=...), are parts of
    their own. A DataLoader saved amid a pass goes on behind the last batch it gave.
    """

    def __init__(self, **parts):
        if _GENERATOR in parts:
            raise ValueError(f"Checkpoint: {_GENERATOR} is always a part; give this one another name")
        for name, part in parts.items():
            if hasattr(part, "state_dict") != hasattr(part, "load_state_dict"):
                kind = type(part).__name__
                raise TypeError(f"Checkpoint: {name}, a {kind}, needs both state_dict() and load_state_dict()")
        self._parts = parts

    def __getitem__(self, name: str):
        """The part of that name: the object, or the plain value as it was given, set or loaded."""
        if name not in self._parts:
            raise KeyError(f"the checkpoint has no {name!r}; it has {_list(self._parts)}")
        return self._parts[name]

    def __setitem__(self, name: str, value) -> None:
        """Sets a plain value, to be saved with the next save()."""
        if not isinstance(name, str) or name == _GENERATOR:
            raise ValueError(f"Checkpoint: {name!r} cannot be the name of a value")
        for part in (self._parts.get(name), value):
            if _has_state(part):
                raise TypeError(f"Checkpoint: {name!r}: a {type(part).__name__} is given when the Checkpoint is made")
        self._parts[name] = value

    def __contains__(self, name: str) -> bool:
        return name in self._parts

    def save(self, path: str | os.PathLike) -> None:
        """Writes the state of all parts as they are now, whole or not at all, as save() does. Raises as save() does.

        `tapegrad.load(path)` reads it as a dictionary, e.g. for `load(path)["model"]` alone.
        """
        states = {name: _state(part) for name, part in self._parts.items()}
        structure, arrays = pack({**states, _GENERATOR: _core.default_generator.get_state()})
        _write(path, arrays, {_STRUCTURE: structure, _CHECKPOINT: _FORMAT})

    def load(self, path: str | os.PathLike) -> None:
        """Fills the parts with the states of a file that save() wrote; all of them or, where it raises, none.

        Raises as tapegrad.load() does, and ValueError where the file's parts have other names, which it lists, or where
        a part refuses its state.
        """
        states, texts = _load(path)
        if texts.get(_CHECKPOINT) != _FORMAT or not isinstance(states, dict):
            raise ValueError(f"{path}: not written by Checkpoint.save(); tapegrad.load() reads it")
        parts = {**self._parts, _GENERATOR: _core.default_generator}  # last, as the others might draw from it
        missing, unexpected = parts.keys() - states, states.keys() - parts
        if missing or unexpected:
            raise ValueError(
                f"{path}: the parts are not those of this Checkpoint; missing in the file: {_list(missing)}; "
                f"unexpected in the file: {_list(unexpected)}"
            )
        before = {name: _snapshot(part) for name, part in parts.items() if _has_state(part)}
        filled = []
        for name in before:
            filled.append(name)
            try:
                _fill(parts[name], states[name])
            except Exception as error:
                for other in filled:
                    if before[other] is not None:
                        _fill(parts[other], before[other])
                kind = type(parts[name]).__name__
                raise ValueError(f"{path}: {name}, a {kind}, does not take its saved state: {error}") from error
        self._parts.update({name: states[name] for name in self._parts.keys() - before})

    def __repr__(self):
        return f"Checkpoint({', '.join(self._parts)})"


def _has_state(part) -> bool:
    return isinstance(part, _core.Generator) or hasattr(part, "load_state_dict")


def _state(part):
    if isinstance(part, _core.Generator):
        return part.get_state()
    return part.state_dict() if _has_state(part) else part


def _snapshot(part):
    """A copy of a part's state, or None for one that has none yet, such as a Standardize before fit()."""
    try:
        return copy.deepcopy(_state(part))
    except ValueError:
        return None


def _fill(part, state) -> None:
    if isinstance(part, _core.Generator):
        part.set_state(state)
    else:
        part.load_state_dict(state)


def _list(names) -> str:
    return ", ".join(sorted(map(str, names))) or "nothing"
