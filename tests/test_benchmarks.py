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
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=300)
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


def quick(path, group, case, peers):
    """The one line of a group's case, from the JSON."""
    options = ["--quick", "--rounds", 1, "--seconds", 0, "--threads", 1, "--group", group, "--cases", case]
    run("run.py", *options, "--peers", peers, "--json", path)
    return json.loads(path.read_text())[group]["lines"]


def test_replayed_steps_agree_with_numpy(tmp_path):
    (line,) = quick(tmp_path / "result.json", "steps-replay", "2-16-16-2", "numpy,tapegrad")
    assert line["ours"] == "replay"
    assert line["ratio"].keys() == {"numpy", "tapegrad"}
    assert line["median"]["replay"] > 0


@pytest.mark.parametrize(("peer", "package"), [("torch_compile", "torch"), ("jax", "jax")])
def test_compiled_peers_agree_with_ours(tmp_path, peer, package):
    pytest.importorskip(package)
    (line,) = quick(tmp_path / "result.json", "steps-replay", "2-16-16-2", peer)
    if peer in line.get("unable", {}):
        pytest.skip(line["unable"][peer])
    assert line["ratio"].keys() == {peer, "tapegrad"}


def test_capture(tmp_path):
    seconds, memory = quick(tmp_path / "result.json", "capture", "2-16-16-2", "tapegrad")
    assert (seconds["unit"], memory["unit"]) == ("s", "bytes")
    assert memory["median"]["replay"] > 0


def tables_of(groups, tmp_path):
    results, readme = tmp_path / "results.json", tmp_path / "README.md"
    results.write_text(json.dumps(groups))
    readme.write_text("<!-- benchmark table: begin -->\n<!-- benchmark table: end -->\n")
    code = f"import tables; from pathlib import Path; tables.update(Path({str(readme)!r}), Path({str(results)!r}))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=BENCHMARKS, env=ENVIRONMENT, timeout=60)
    return readme.read_text(), results.with_suffix(".md").read_text()


def test_table_of_replay(tmp_path):
    line = {
        "name": "784-10",
        "unit": "s",
        "ours": "replay",
        "median": {"replay": 1e-3, "jax": 2e-3},
        "ratio": {"jax": 2.0},
        "floor": 8e-4,
        "floor_share": 0.8,
        "goals": {"jax": 3},
        "missed": ["jax"],
        "unable": {"torch_compile": "no compiler"},
    }
    head = {"versions": {}, "isa": "avx2", "cpu": "C", "threads": 1, "date": "2026-01-01T00:00", "commit": "c"}
    readme, every = tables_of({"steps-replay": head | {"mean_ratio": {"jax": 2.0}, "lines": [line]}}, tmp_path)
    assert "| training step | batch | tapegrad, replayed | of floor | JAX (jit) |" in readme
    assert "| 784-10 | 256 | 1 ms | 80% | 2.00 |" in readme
    assert "jax>=3, torch.compile left out: no compiler |" in every
