"""What importing tapegrad costs after NumPy, with the peers for comparison, and how large its wheel is."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy

from cases import IMPORT_LIMIT, WHEEL_LIMIT
from peers import PACKAGES
from report import OURS, summarize

PROBE = """
import sys, time
sys.path += sys.argv[1:]
begin = time.perf_counter()
import numpy
middle = time.perf_counter()
import {name}
print(middle - begin, time.perf_counter() - middle)
"""


def measure(names: list[str], rounds: int, wheel: Path | None) -> list[dict]:
    """The lines: import (seconds after NumPy's), wheel and unpacked size (bytes)."""
    names = [name for name in names if name != "numpy" and name == PACKAGES[name]]
    with tempfile.TemporaryDirectory() as folder:
        wheel = wheel or packed(Path(folder) / "tapegrad.whl")
        with ZipFile(wheel) as archive:
            archive.extractall(folder)
            unpacked = sum(file.file_size for file in archive.infolist())
        size = wheel.stat().st_size
        times = import_seconds(names, rounds, folder)
    return [
        summarize("import", "s", times, {"limit": IMPORT_LIMIT}),
        summarize("wheel", "bytes", {OURS: [size]}, {"limit": WHEEL_LIMIT}),
        summarize("unpacked", "bytes", {OURS: [unpacked]}, {}),
    ]


def packed(path: Path) -> Path:
    """The importable package's files, compressed as in a wheel (which adds some kilobytes of metadata)."""
    package = Path(importlib.util.find_spec(OURS).origin).parent
    core = Path(importlib.util.find_spec(f"{OURS}._core").origin)  # elsewhere in an editable installation
    files = [f for f in package.rglob("*") if f.is_file() and "__pycache__" not in f.parts and f.suffix != ".so"]
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, Path(OURS) / file.relative_to(package))
        archive.write(core, Path(OURS) / core.name)
    return path


def import_seconds(names: list[str], rounds: int, folder: str) -> dict[str, list[float]]:
    """Seconds of every round; each a fresh process, the modules in turn."""
    # Without `site`, an editable installation, which looks after its build at every import, stays out of the way.
    paths = [folder, str(Path(numpy.__file__).parents[1])]
    times: dict[str, list[float]] = {name: [] for name in ("numpy", *names)}
    for turn in range(rounds + 1):
        for name in names:
            command = [sys.executable, "-I", "-S", "-c", PROBE.format(name=name), *paths]
            answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            numpy_seconds, seconds = map(float, answer.split())
            if turn == 0:
                continue  # warms the file cache
            times[name].append(seconds)
            if name == OURS:
                times["numpy"].append(numpy_seconds)
    return times
