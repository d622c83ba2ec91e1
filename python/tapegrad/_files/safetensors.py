"""Safetensors files as NumPy arrays and texts by name; what is wrong with a file that the library refuses."""

from __future__ import annotations

import json
import math
import os
import re
import struct

import numpy as np

_BITS = {"BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8}
_BITS |= {"F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32}
_BITS |= {"F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64}
_LONGEST = 100_000_000  # bytes of header that the library takes


def write(path: str | os.PathLike, arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Writes contiguous arrays. OSError where the disk refuses, ValueError where names and texts are too long."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        save_file(arrays, path, metadata or None)
    except SafetensorError as error:
        if "header too large" in str(error):
            raise ValueError(
                "save: names, texts and numbers outside of tensors take more than 100 MB; "
                "keep long lists as tensors or arrays, and long texts as bytes"
            ) from None
        code = re.search(r"os error (\d+)", str(error))
        raise (OSError(int(code[1]), os.strerror(int(code[1]))) if code else OSError(str(error))) from None


def read(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """(arrays, metadata) of a file. bfloat16, which NumPy lacks, is widened to float32.

    ValueError that names the file, and the tensor where one is at fault.
    """
    file, entries = _open(path)
    with file:
        arrays = {}
        for name in file.keys():  # noqa: SIM118  (it is no dictionary)
            dtype = entries[name]["dtype"]
            try:
                array = _bfloat16(path, entries[name]) if dtype == "BF16" else file.get_tensor(name)
            except MemoryError:
                raise
            except Exception as error:  # the library raises several kinds for what NumPy lacks
                raise ValueError(f"{path}: cannot read tensor {name!r} of dtype {dtype}: {error}") from None
            if dtype == "BOOL" and array.view(np.uint8).max(initial=0) > 1:
                raise ValueError(f"{path}: damaged: tensor {name!r} of dtype BOOL has bytes other than 0 and 1")
            arrays[name] = array if array.flags.writeable else array.copy()
        return arrays, dict(file.metadata() or {})


def read_metadata(path: str | os.PathLike) -> dict[str, str]:
    """The texts alone. Raises as read() does."""
    file, _ = _open(path)
    with file:
        return dict(file.metadata() or {})


def _open(path):
    """(the file opened by the library, the entries of its header by name)."""
    from safetensors import SafetensorError, safe_open

    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file")
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path}: is a folder, not a safetensors file")
    file = refused = None
    try:
        file = safe_open(path, framework="np")
    except SafetensorError as error:
        refused = error
    try:
        entries, size = _header(path)  # also where the library is content: it lets a name come twice
        if file is not None:
            return file, entries
        reason = _fault(entries, size) or refused
    except ValueError as error:
        reason = error
    raise ValueError(f"{path}: not a safetensors file, or damaged: {reason}")


def _bfloat16(path, entry) -> np.ndarray:
    begin, end = entry["data_offsets"]
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        file.seek(8 + length + begin)
        halves = np.frombuffer(file.read(end - begin), dtype="<u2")
    return (halves.astype(np.uint32) << 16).view(np.float32).reshape(entry["shape"])


def _header(path) -> tuple[dict, int]:
    """(entries by name, bytes of data behind them), checked no further than that they are JSON of unique names."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < 8:
            raise ValueError(f"it has {size} bytes; the length of the header alone takes 8")
        (length,) = struct.unpack("<Q", file.read(8))
        if length > min(size - 8, _LONGEST):
            raise ValueError(f"its header should have {length} bytes, the whole file has {size}")
        text = file.read(length)
    try:
        entries = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except UnicodeDecodeError:
        raise ValueError("its header is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"its header is not JSON: {error}") from None
    except RecursionError:
        raise ValueError("its header is nested too deeply") from None
    return entries, size - 8 - length


def _unique(pairs):
    entries = dict(pairs)
    if len(entries) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} comes twice in its header")
    return entries


def _fault(entries, size: int) -> str | None:
    """What is wrong with the tensors of a header before `size` bytes of data; None where nothing was found."""
    if not isinstance(entries, dict):
        return "its header is not a JSON object"
    entries = {name: entry for name, entry in entries.items() if name != "__metadata__"}
    for name, entry in entries.items():
        if fault := _entry_fault(entry):
            return f"tensor {name!r}: {fault}"
    at = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        if begin != at:
            kind = "overlaps the one before" if begin < at else "leaves a gap behind the one before"
            return f"tensor {name!r}: its data begins at byte {begin}, which {kind}, whose end is at {at}"
        if end > size:
            return f"tensor {name!r}: its data ends at byte {end}, but the file has only {size} bytes of data"
        at = end
    return f"the file has {size} bytes of data, its tensors take {at}" if at != size else None


def _entry_fault(entry) -> str | None:
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= set(entry):
        return 'expected "dtype", "shape" and "data_offsets"'
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BITS:
        return f"dtype {dtype!r:.40} is not known"
    for what, numbers in (("shape", shape), ("data_offsets", offsets)):
        if not isinstance(numbers, list) or not all(type(n) is int and 0 <= n < 2**64 for n in numbers):
            return f"{what} must be whole numbers from 0, got {numbers!r:.60}"
    if len(offsets) != 2 or offsets[1] < offsets[0]:
        return f"data_offsets must be where its data begins and ends, got {offsets!r:.60}"
    bits, given = math.prod(shape) * _BITS[dtype], offsets[1] - offsets[0]
    if bits != 8 * given:
        return f"shape {shape!r:.60} of {dtype} takes {bits // 8} bytes, data_offsets {offsets} give {given}"
    return None
