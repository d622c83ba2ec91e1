"""Nothing a caller passes may crash, hang or leave the interpreter with anything but an exception of Python's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
CALLS = int(os.environ.get("TAPEGRAD_FUZZ", "10000"))


@pytest.mark.parametrize("seed", range(3))
def test_random_calls(seed, tmp_path):
    """Thousands of calls of random functions with random arguments; a failure shows the call."""
    log = tmp_path / "call"
    command = [sys.executable, "-X", "faulthandler", str(HERE / "fuzz_calls.py"), str(seed), str(CALLS), str(log)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    except subprocess.TimeoutExpired:
        pytest.fail(f"hangs in {last_call(log)}")
    assert done.returncode == 0, f"exit status {done.returncode} in {last_call(log)}\n{done.stderr[-3000:]}"


def last_call(log: Path) -> str:
    return log.read_bytes().split(b"\0")[0].decode(errors="replace")
