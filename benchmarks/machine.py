"""The machine: its name, and what it can do by the micro-benchmark peak.cpp, compiled when it is needed."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from cases import TrainStep

NO_COMPILER = "no C++ compiler (CXX, g++, clang++ or c++)"


def rates(threads: int, sizes: tuple[int, ...] = ()) -> dict[str, float]:
    """Operations or bytes a second of each test, by "TEST THREADS"; empty without a compiler.

    sizes: bytes of further streams, "stream BYTES THREADS".
    """
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CXX", "g++"), "g++", "clang++", "c++"))), None)
    if not compiler:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "peak"
        source = Path(__file__).with_name("peak.cpp")
        flags = ["-O3", "-march=native", "-ffp-contract=fast", "-std=c++17", "-pthread"]
        subprocess.run([compiler, *flags, str(source), "-o", str(program)], check=True)
        command = [str(program), *map(str, (threads, *sizes))]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads(answer)


def floor(case: TrainStep, rates: dict[str, float], threads: int) -> float:
    """The least seconds for a step with Adam: its products at the measured peak, then parameters and moments once read
    and once written (gradients used up in a register), where these exceed the cache.

    They do where a stream over as many bytes as they have is less than 1.5 times as fast as one over 768 MB; its rate
    is then what counts. The sizes that the system gives are no help: a virtual machine has a share of them.
    """
    products = case.flops / rates[f"fma {threads}"]
    stream, memory = rates[f"stream {case.adam_bytes} {threads}"], rates[f"stream 768 MB {threads}"]
    return products + (2 * case.adam_bytes / stream if stream < 1.5 * memory else 0)


def cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def busy_seconds() -> float:
    """Processor time all programs together have used since the machine started, 0 where /proc does not tell."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return 0.0
    user, nice, system, _idle, _wait, irq, soft_irq, steal = map(int, fields[:8])
    return (user + nice + system + irq + soft_irq + steal) / os.sysconf("SC_CLK_TCK")
