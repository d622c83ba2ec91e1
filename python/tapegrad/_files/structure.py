"""Nested Python values taken apart into JSON and arrays by name, and put together again."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping

import numpy as np

from .. import _core

# A value is its own JSON (None, bool, finite float, int of 64 bits, str, list) or an object of one of these tags:
# {"dict": [[key, value], ...]}, {"tuple": [...]}, {"int": "0x.."}, {"float": "nan"}, {"dtype": "float32"},
# and {"tensor": name}, {"array": name}, {"bytes": name}, whose numbers are in the file under that name.
_FORMAT = 1
_DEEPEST = 100  # JSON nests thrice as deeply, and Python reads it recursively
_STORED = {"tensor": _core.Tensor, "array": np.ndarray, "bytes": bytes}
_KEYS = (str, int, float, bool, type(None))
DTYPES = {str(d).rpartition(".")[2]: d for d in vars(_core).values() if isinstance(d, _core.dtype)}


def pack(value) -> tuple[str, dict[str, np.ndarray]]:
    """(JSON text, arrays by name) of a nested value. TypeError or ValueError that names the place refused."""
    packer = _Packer()
    root = packer.pack(value, ())
    return json.dumps({"format": _FORMAT, "value": root}, ensure_ascii=False, allow_nan=False), packer.arrays


def pack_plain(tensors: Mapping) -> dict[str, np.ndarray]:
    """The arrays of a dictionary that has tensors by name only."""
    return {_text(name, (name,)): _array(tensor, (name,)) for name, tensor in tensors.items()}


def _array(value, path) -> np.ndarray:
    """The numbers that a tensor, array or bytes show, without a copy where they lie in order."""
    if isinstance(value, bytes):
        return np.frombuffer(value, dtype=np.uint8)
    if isinstance(value, _core.Tensor):
        value = value.detach().numpy()
    elif value.dtype.kind not in "biuf" or value.dtype.itemsize > 8:
        raise TypeError(f"save: {place(path)} is an array of dtype {value.dtype}, which the format lacks")
    return np.ascontiguousarray(value).reshape(value.shape)


class _Packer:
    def __init__(self):
        self.arrays = {}
        self.names = {}  # by id of a value: (the value, kept so that the id stays its own; its array's name)
        self.open = set()  # ids of the containers around the present value

    def pack(self, value, path):
        if isinstance(value, np.generic) and value.dtype.kind in "biufUS":
            value = value.item()
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is str:
            return _text(value, path)
        if kind is int:
            return value if -(2**63) <= value < 2**63 else {"int": hex(value)}
        if kind is float:
            return value if math.isfinite(value) else {"float": str(value)}
        if isinstance(value, _core.dtype):
            return {"dtype": str(value).rpartition(".")[2]}
        for tag, stored in _STORED.items():
            if isinstance(value, stored):
                return {tag: self._store(value, path)}
        if isinstance(value, (Mapping, list, tuple)):
            return self._pack_container(value, path)
        way_out = next((name for name in ("state_dict", "get_state") if hasattr(value, name)), None)
        hint = f"; save its {way_out}()" if way_out else ", which cannot be saved"
        raise TypeError(f"save: {place(path)} is a {kind.__name__}{hint}")

    def _pack_container(self, value, path):
        if id(value) in self.open:
            raise ValueError(f"save: {place(path)} contains itself")
        if len(path) >= _DEEPEST:
            raise ValueError(f"save: {place(path)[:60]}... is nested more than {_DEEPEST} deep")
        self.open.add(id(value))
        if isinstance(value, Mapping):
            packed = {"dict": [[self._key(k, path), self.pack(v, (*path, k))] for k, v in value.items()]}
        else:
            items = [self.pack(item, (*path, i)) for i, item in enumerate(value)]
            packed = items if isinstance(value, list) else {"tuple": items}
        self.open.remove(id(value))
        return packed

    def _key(self, key, path):
        if isinstance(key, np.generic):
            key = key.item()
        if type(key) not in _KEYS:
            raise TypeError(
                f"save: {place(path)} has the key {key!r}; keys must be str, int, float, bool or None, "
                f"not {type(key).__name__}"
            )
        return self.pack(key, path)

    def _store(self, value, path) -> str:
        """The name of a value's numbers: its path, and a number behind it where something else has that name."""
        if id(value) not in self.names:
            base = name = _text(".".join(map(str, path)) or "value", path)
            number = 1
            while name in self.arrays or name == "__metadata__":
                number += 1
                name = f"{base}#{number}"
            self.names[id(value)] = value, name
            self.arrays[name] = _array(value, path)
        return self.names[id(value)][1]


def _text(text: str, path) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"save: {place(path)} has a text that is not Unicode: {error}") from None
    return text


def place(path) -> str:
    """A path as Python would write it: model.layers[2]."""
    if not path:
        return "the object"
    return "".join(f".{key}" if isinstance(key, str) else f"[{key!r}]" for key in path).removeprefix(".")


def unpack(text: str, arrays: dict[str, np.ndarray]):
    """What pack() took apart. ValueError for any other text, and where it and the arrays do not belong together."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its structure is not JSON: {error}") from None
    if not isinstance(document, dict) or set(document) != {"format", "value"}:
        raise ValueError("its structure is not what save() writes")
    if document["format"] != _FORMAT:
        raise ValueError(f"its structure has format {document['format']!r}, this version reads {_FORMAT}")
    unpacker = _Unpacker(arrays)
    try:
        value = unpacker.unpack(document["value"])
    except RecursionError:
        raise ValueError("its structure is nested too deeply") from None
    unused = set(arrays) - {name for _, name in unpacker.made}
    if unused:
        raise ValueError(f"its structure has no place for tensor {min(unused)!r}")
    return value


class _Unpacker:
    def __init__(self, arrays):
        self.arrays = arrays
        self.made = {}

    def unpack(self, packed):
        if isinstance(packed, list):
            return [self.unpack(item) for item in packed]
        if not isinstance(packed, dict):
            return packed
        if len(packed) == 1:
            ((tag, content),) = packed.items()
            if tag in _STORED and isinstance(content, str):
                return self._numbers(tag, content)
            if tag in ("dict", "tuple") and isinstance(content, list):
                return self._dict(content) if tag == "dict" else tuple(map(self.unpack, content))
            if tag == "dtype" and isinstance(content, str) and content in DTYPES:
                return DTYPES[content]
            if tag == "float" and content in ("nan", "inf", "-inf"):
                return float(content)
            if tag == "int" and isinstance(content, str) and re.fullmatch("-?0x[0-9a-f]+", content):
                return int(content, 16)
        raise ValueError(f"its structure has {str(packed)[:80]}, which save() does not write")

    def _dict(self, pairs):
        if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
            raise ValueError("its structure has a dictionary that is not made of keys and values")
        values = {}
        for key, value in pairs:
            key = self.unpack(key)
            if type(key) not in _KEYS or key in values:
                raise ValueError(f"its structure has a dictionary with the key {key!r}, wrong or twice")
            values[key] = self.unpack(value)
        return values

    def _numbers(self, tag, name):
        if (tag, name) not in self.made:
            if name not in self.arrays:
                raise ValueError(f"tensor {name!r} is missing")
            array = self.arrays[name]
            if tag == "tensor":
                value = to_tensor(name, array)
            elif tag == "array":
                value = array
            elif array.dtype == np.uint8 and array.ndim == 1:
                value = array.tobytes()
            else:
                raise ValueError(f"tensor {name!r} should be bytes, but is {array.dtype} of shape {array.shape}")
            self.made[tag, name] = value
        return self.made[tag, name]


def to_tensor(name: str, array: np.ndarray) -> _core.Tensor:
    """A tensor over the array's memory; float16, which tapegrad lacks, is widened to float32."""
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    if array.dtype.name not in DTYPES:
        raise ValueError(
            f"cannot read tensor {name!r} of dtype {array.dtype}: tapegrad has {', '.join(sorted(DTYPES))}, "
            "and widens float16 and bfloat16 to float32"
        )
    return _core.from_numpy(array)
