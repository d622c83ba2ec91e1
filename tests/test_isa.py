"""Instruction set levels: TAPEGRAD_ISA is in force, nonsense is an error, all levels of this CPU agree."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from op_case import close
from op_cases import BY_NAME, CASES

HERE = Path(__file__).resolve().parent
LEVELS = tg.isa_levels()


def run(*args: str, level: str | None) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if k != "TAPEGRAD_ISA"}
    if level is not None:
        environment["TAPEGRAD_ISA"] = level
    return subprocess.run(
        [sys.executable, *args], capture_output=True, text=True, timeout=300, env=environment, cwd=HERE
    )


REPORT = "import tapegrad as tg; print(tg.active_isa())"


def test_levels_of_this_cpu():
    assert LEVELS[0] == "baseline"
    assert set(LEVELS) <= {"baseline", "avx2", "avx512", "neon"}
    assert tg.active_isa() in LEVELS


def test_levels_match_what_the_cpu_says():
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        pytest.skip("no /proc/cpuinfo to compare with")
    if "sse4_2" not in flags:
        pytest.skip("not an x86 CPU")
    assert ("avx2" in LEVELS) == ({"avx2", "fma", "bmi2"} <= flags)
    assert ("avx512" in LEVELS) == ({"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"} <= flags)


@pytest.mark.parametrize("level", LEVELS)
def test_override_is_in_force(level):
    done = run("-c", REPORT, level=level)
    assert (done.returncode, done.stdout.strip()) == (0, level), done.stderr


def test_without_override_the_best_level_runs():
    for level in (None, ""):
        done = run("-c", REPORT, level=level)
        assert (done.returncode, done.stdout.strip()) == (0, LEVELS[-1]), done.stderr


@pytest.mark.parametrize("level", ["sse9", "AVX-512", "baseline,avx2", "7"])
def test_unknown_level_is_a_clear_error(level):
    done = run("-c", REPORT, level=level)
    assert done.returncode == 1
    assert "TAPEGRAD_ISA" in done.stderr and level in done.stderr and "baseline" in done.stderr


@pytest.fixture(scope="session")
def dumps(tmp_path_factory):
    """level -> results of every op case computed at that level."""
    folder = tmp_path_factory.mktemp("isa")
    loaded = {}
    for level in LEVELS:
        path = folder / f"{level}.npz"
        done = run("dump_ops.py", str(path), level=level)
        assert done.returncode == 0, done.stderr
        with np.load(path) as file:
            loaded[level] = {name: file[name] for name in file.files}
    return loaded


@pytest.mark.parametrize("level", LEVELS)
def test_dump_ran_at_its_level(dumps, level):
    assert dumps[level]["active"] == level
    assert {name.split("/")[0] for name in dumps[level]} == {*BY_NAME, "active"}


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
@pytest.mark.parametrize("level", LEVELS[1:])
def test_level_agrees_with_baseline(dumps, level, case):
    """Each is within the case's tolerance of the truth, so they are within twice that of each other."""
    names = [n for n in dumps["baseline"] if n.startswith(case.name + "/")]
    assert names
    for name in names:
        want, got = dumps["baseline"][name], dumps[level][name]
        assert got.dtype == want.dtype, name
        dtype = name.split("/")[2] if want.dtype.kind == "f" else "float32"
        first = name.endswith("/0")
        if first or not case.differentiable or want.dtype.kind != "f":
            close(case, dtype, got, want, f"{level} {name}", factor=2)
        else:
            eps = float(np.finfo(dtype).eps)
            top = float(np.max(np.abs(want), where=np.isfinite(want), initial=1e-3))
            np.testing.assert_allclose(got, want, rtol=200 * eps, atol=100 * eps * top, err_msg=f"{level} {name}")


def test_levels_are_not_the_same_code(dumps):
    """A fused multiply-add rounds once where baseline rounds twice: some bit differs, or the override does nothing."""
    if len(LEVELS) == 1:
        pytest.skip("this CPU has the baseline level only")
    base = dumps["baseline"]
    for level in LEVELS[1:]:
        assert any(
            dumps[level][n].tobytes() != base[n].tobytes() for n in base if n.startswith(("matmul", "exp", "linear"))
        )
