#!/usr/bin/env python
"""Prints the size of the wheel and what importing tapegrad costs after NumPy, with the other peers for comparison."""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from zipfile import ZipFile

import numpy

import peers

ROOT = Path(__file__).resolve().parent.parent
PROBE = """
import sys, time
sys.path += sys.argv[1:]
begin = time.perf_counter()
import numpy
middle = time.perf_counter()
import {name}
print(middle - begin, time.perf_counter() - middle)
"""


def build_wheel(folder: str) -> Path:
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, str(ROOT)], check=True)
    return next(Path(folder).glob("tapegrad-*.whl"))


def wheel_size(wheel: Path) -> dict[str, int]:
    """Bytes of the wheel, of its files unpacked, and of the extension module among them."""
    with ZipFile(wheel) as archive:
        files = archive.infolist()
    extension = sum(f.file_size for f in files if Path(f.filename).name.startswith("_core."))
    return {"wheel": wheel.stat().st_size, "unpacked": sum(f.file_size for f in files), "extension": extension}


def import_seconds(names: list[str], repeats: int, wheel: Path, folder: str) -> dict[str, float]:
    """Medians over fresh processes, the modules in turn; every one but NumPy counts from NumPy on."""
    with ZipFile(wheel) as archive:
        archive.extractall(folder)
    # Without `site`, an editable installation, which looks after its build at every import, stays out of the way.
    paths = [folder, str(Path(numpy.__file__).parents[1])]
    times: dict[str, list[float]] = {name: [] for name in ("numpy", *names)}
    for _ in range(repeats + 1):
        for name in names:
            command = [sys.executable, "-I", "-S", "-c", PROBE.format(name=name), *paths]
            answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            numpy_time, time = map(float, answer.split())
            times["numpy"].append(numpy_time)
            times[name].append(time)
    # The first round warms the file cache.
    return {name: median(values[len(values) // (repeats + 1) :]) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheel", metavar="FILE", type=Path, help="this wheel, instead of building one from the tree")
    parser.add_argument("--repeats", type=int, default=15, help="processes per module (default: 15)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the results here")
    options = parser.parse_args()
    names = [name for name in reversed(peers.MODULES) if name != "numpy" and importlib.util.find_spec(name)]
    with tempfile.TemporaryDirectory() as folder:
        wheel = options.wheel or build_wheel(folder)
        result: dict[str, dict] = {"bytes": wheel_size(wheel)}
        print(", ".join(f"{what} {size / 1e6:.2f} MB" for what, size in result["bytes"].items()))
        result["import_seconds"] = import_seconds(names, options.repeats, wheel, folder)
    for name, seconds in result["import_seconds"].items():
        print(f"import {name:<10}{seconds * 1e3:8.1f} ms" + ("" if name == "numpy" else " after numpy"))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
