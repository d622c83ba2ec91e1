"""The shape of the house: which layer may include or import which, how long files may be, and no op without a case."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import tapegrad as tg
from op_cases import CASES

REPO = Path(__file__).resolve().parent.parent
CSRC = REPO / "csrc"
PACKAGE = REPO / "python" / "tapegrad"
# bindings -> program -> ops -> {tape, kernels, threads} -> tensor. A layer may also use those further down, and
# everybody may read the list of ops.
OP_LIST = "ops/ops.def"
MAY_INCLUDE = {
    "tensor": set(),
    "kernels": set(),
    "threads": {"tensor"},
    "tape": {"tensor", "kernels", "threads"},
    "ops": {"tape", "kernels", "threads", "tensor"},
    "program": {"ops", "tape", "kernels", "threads", "tensor"},
    "bindings": {"program", "ops", "tape", "kernels", "threads", "tensor"},
}
SOURCES = sorted(p for p in CSRC.rglob("*") if p.suffix in (".h", ".cpp", ".def"))
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
C_HEADERS = {"stddef.h", "stdint.h", "string.h", "math.h", "float.h", "limits.h", "immintrin.h", "arm_neon.h"}
LONGEST = 400
# Files known to be longer, with the reason.
LONGER = {"csrc/ops/ops.def": "the one list of ops: a row is read by name, not from top to bottom"}


def includes(path: Path) -> list[tuple[str, str]]:
    return [(kind, name) for kind, name in INCLUDE.findall(path.read_text())]


def code(path: Path) -> str:
    """Source text without comments and string literals."""
    text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
    text = re.sub(r"//[^\n]*", "", text)
    return re.sub(r'"(\\.|[^"\\\n])*"', '""', text)


def test_there_is_something_to_check():
    assert {p.relative_to(CSRC).parts[0] for p in SOURCES} == set(MAY_INCLUDE)
    assert len(SOURCES) > 20


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(CSRC)))
def test_includes_point_downwards(path):
    layer = path.relative_to(CSRC).parts[0]
    for kind, name in includes(path):
        if kind == "<" or name == OP_LIST:
            continue
        assert (CSRC / name).is_file(), f'#include "{name}" is not relative to csrc/'
        target = Path(name).parts[0]
        assert target == layer or target in MAY_INCLUDE[layer], f"{layer} includes {name}"


def isa_files() -> list[Path]:
    kernels = CSRC / "kernels"
    return sorted([*kernels.glob("isa_*.cpp"), *kernels.glob("*.inl.h"), kernels / "vec.h"])


@pytest.mark.parametrize("path", isa_files(), ids=lambda p: p.name)
def test_isa_files_keep_to_themselves(path):
    """A std:: template instantiated at a high level could be the copy that the linker hands to an old CPU."""
    allowed = {"kernels/kernel_table.h", "kernels/vec.h", "kernels/inline.h", OP_LIST}
    for kind, name in includes(path):
        if kind == "<":
            assert name in C_HEADERS, f"{path.name} includes <{name}>"
        else:
            assert name in allowed or name.endswith(".inl.h"), f"{path.name} includes {name}"
    assert "std::" not in code(path)


@pytest.mark.parametrize("level", ["baseline", "avx2", "avx512"])
def test_isa_objects_export_their_table_alone(level, tmp_path):
    """Compiles the file without optimization (templates then stay symbols) and reads its symbols."""
    compiler, nm = shutil.which("g++") or shutil.which("clang++"), shutil.which("nm")
    source = CSRC / "kernels" / f"isa_{level}.cpp"
    if compiler is None or nm is None:
        pytest.skip("needs a compiler and nm")
    march = {"baseline": "x86-64-v2", "avx2": "x86-64-v3", "avx512": "x86-64-v4"}[level]
    probe = subprocess.run([compiler, f"-march={march}", "-E", "-x", "c++", "/dev/null"], capture_output=True)
    if probe.returncode != 0:
        pytest.skip(f"the compiler does not know -march={march}")
    built = tmp_path / "isa.o"
    command = [
        compiler,
        "-std=gnu++20",
        "-O0",
        f"-march={march}",
        f"-I{CSRC}",
        "-Wno-psabi",
        "-c",
        str(source),
        "-o",
        str(built),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    table = subprocess.run([nm, "-C", "--defined-only", str(built)], check=True, capture_output=True, text=True).stdout
    exported = [line.split(maxsplit=2) for line in table.splitlines()]
    names = [f"{kind} {name}" for _, kind, name in exported if kind.isupper() or kind in "wvu"]
    visible = [n for n in names if "DW.ref" not in n and not n.startswith(("r ", "t ", "b ", "d "))]
    assert len(visible) == 1 and "kTable" in visible[0], visible


# Python: cli -> fit -> {nn, optim, utils, callbacks} -> _core

LAYERS = {
    "_core": 0,
    "_data": 1, "_grad_mode": 1, "_threads": 1, "_repr": 1, "_tree": 1, "_values_indices": 1, "autograd": 1, "func": 1,
    "_device": 1, "_queries": 1, "_ufuncs": 1, "cuda": 1, "_preprocess": 1, "_lazy": 1,
    "accelerator": 1, "backends": 1, "random": 1, "_figure": 1, "utils": 1, "nn": 1, "linalg": 1, "_files": 1,
    "optim": 2, "datasets": 2, "checkpoint": 2, "tables": 2, "_history": 2, "_metric": 2, "metrics": 2,
    "callbacks": 2,
    "_summary": 2, "profiler": 2, "_explain": 2,
    "_compile": 3, "_fit": 3, "fit": 3,
    "_cli": 4, "cli": 4, "sklearn": 4, "examples": 4,
    "_typed_tensors": 1, "expr": 4,
    "__main__": 5, "__init__": 5,
}  # fmt: skip


def imported_modules(path: Path) -> set[str]:
    """First component below tapegrad of everything the file imports from the package."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = list(parts[: len(parts) - node.level]) if node.level else None
            if node.level == 0 and (node.module or "").split(".")[0] == "tapegrad":
                base, module = [], (node.module or "").split(".")[1:]
            elif node.level:
                module = (node.module or "").split(".") if node.module else []
            else:
                continue
            full = [*base, *module]
            found |= {full[0]} if full else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("tapegrad.")}
    return found


PYTHON = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", PYTHON, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_downwards(path):
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    assert own in LAYERS, f"give {own} a layer in this file"
    for name in imported_modules(path):
        if name == own or name not in LAYERS:
            continue
        assert LAYERS[name] <= LAYERS[own], f"{own} imports {name}"


def test_no_pickle_and_no_numpy_in_the_compute_path():
    for path in PYTHON:
        text = path.read_text()
        assert not re.search(r"^\s*(import|from)\s+(pickle|marshal|shelve)\b", text, re.MULTILINE), path
        if path.relative_to(PACKAGE).parts[0] in ("nn", "optim"):
            assert not re.search(r"^\s*(import|from)\s+numpy\b", text, re.MULTILINE), path


@pytest.mark.parametrize(
    "path", [*SOURCES, *PYTHON, *sorted((REPO / "tests").glob("*.py"))], ids=lambda p: str(p.relative_to(REPO))
)
def test_files_are_short_and_say_what_they_are(path):
    lines = path.read_text().splitlines()
    name = str(path.relative_to(REPO))
    if name in LONGER:
        assert len(lines) > LONGEST, f"{name} is short again: take it off the list"
    else:
        assert len(lines) <= LONGEST, f"{name} has {len(lines)} lines: cut it, or put it on the list with the reason"
    if lines:
        opening = "//" if path.suffix in (".h", ".cpp", ".def") else ('"""', "#", 'r"""')
        assert lines[0].startswith(opening), f"{name} does not begin by saying what lives there"


def test_every_op_has_a_case_and_every_case_an_op():
    ops, cases = set(tg.op_names()), {case.name for case in CASES if case.row}
    assert ops - cases == set(), "ops without a case"
    assert cases - ops == set(), "cases without an op"
