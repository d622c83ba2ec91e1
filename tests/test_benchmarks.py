"""The benchmark programs run; what they measure is not judged."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tapegrad

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(tapegrad.__file__).parents[1])}


def run(program, *arguments):
    command = [sys.executable, str(BENCHMARKS / program), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def result(ours, numpy):
    line = {"name": "a", "unit": "s", "median": {"tapegrad": ours, "numpy": numpy}}
    return {"g": {"versions": {"numpy": "2"}, "lines": [line, line | {"name": "b", "median": {"tapegrad": 1.0}}]}}


def test_run_and_compare(tmp_path):
    path = tmp_path / "result.json"
    for group, case in (("calls", "a + b"), ("steps-adam", "2-16-16-2")):
        run(
            "run.py",
            "--quick",
            "--threads",
            1,
            "--peers",
            "tapegrad",
            "--group",
            group,
            "--cases",
            case,
            "--json",
            path,
        )
    groups = json.loads(path.read_text())
    assert [line["name"] for line in groups["calls"]["lines"]] == ["a + b"]
    assert groups["steps-adam"]["lines"][0]["median"]["tapegrad"] > 0
    assert "0 of 2 lines moved" in run("compare.py", path, path)


def test_compare_divides_by_the_drift(tmp_path):
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(json.dumps(result(1.0, 1.0)))
    new.write_text(json.dumps(result(3.0, 2.0)))
    moved = run("compare.py", old, new).splitlines()
    assert moved[1].split() == ["g", "a", "1", "s", "3", "s", "2.00", "1.50"]
    assert "1 of 2 lines moved" in moved[2]
    assert "0 of 2" in run("compare.py", old, new, "--threshold", "0.6")


@pytest.mark.parametrize("group", ["gemm", "elementwise", "reductions"])
def test_expressions_agree_with_numpy(group):
    out = run(
        "run.py",
        "--quick",
        "--rounds",
        1,
        "--seconds",
        0,
        "--threads",
        1,
        "--peers",
        "numpy",
        "--group",
        group,
        "--cases",
        "*1e3*,32x*",
    )
    assert "geometric mean" in out
