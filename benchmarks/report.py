"""What becomes of the measured times: medians, ratios, the machine's description, and the tables."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from statistics import geometric_mean, median

from cases import TrainStep, case_named
from peers import LABELS

OURS = "tapegrad"
BEGIN, END = "<!-- benchmark table: begin -->", "<!-- benchmark table: end -->"


def summarize(case: TrainStep, times: dict[str, list[float]], losses: dict[str, list[float]]) -> dict:
    """Seconds per step are medians over the slices; a ratio is the median of the ratios within a round."""
    ratios = {
        peer: [theirs / ours for theirs, ours in zip(values, times[OURS], strict=True)]
        for peer, values in times.items()
        if peer != OURS
    }
    return {
        "name": case.name,
        "description": case.describe(),
        "flops": case.flops,
        "seconds": {peer: median(values) for peer, values in times.items()},
        "ratio": {peer: median(values) for peer, values in ratios.items()},
        "ratio_range": {peer: [min(values), max(values)] for peer, values in ratios.items()},
        "slices": times,
        "losses": losses,
    }


def environment(options, versions: list[dict[str, str]]) -> dict:
    known = {name: version for answer in versions for name, version in answer.items()}
    isa = known.pop("isa")
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": _commit(),
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "isa": isa,
        "threads": options.threads,
        "versions": {"python": platform.python_version(), **known},
        "load_average": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "rounds": options.rounds,
        "slice_seconds": options.seconds,
        "cases": [],
    }


def heading(result: dict) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return f"{result['cpu']}, {result['isa']}, {result['threads']} threads; {versions}; {result['date'][:10]}"


def table_header(peers: list[str]) -> str:
    others = [peer for peer in peers if peer != OURS]
    return f"{'training step':<16}{'tapegrad us':>13}" + "".join(f"{peer + ' us':>12}{'ratio':>8}" for peer in others)


def table_row(row: dict) -> str:
    text = f"{row['name']:<16}{row['seconds'][OURS] * 1e6:>13.1f}"
    return text + "".join(f"{row['seconds'][p] * 1e6:>12.1f}{r:>8.2f}" for p, r in row["ratio"].items())


def readme_table(result: dict) -> str:
    """The ratios as a Markdown table with what they were measured on."""
    others = list(result["cases"][0]["ratio"])
    lines = [
        "| training step | batch | tapegrad | " + " | ".join(LABELS[p] for p in others) + " |",
        "| --- | ---: | ---: |" + " ---: |" * len(others),
    ]
    for row in result["cases"]:
        case = case_named(row["name"])
        ratios = " | ".join(f"{row['ratio'][p]:.2f}" for p in others)
        lines.append(f"| {case.name} | {case.batch} | {_duration(row['seconds'][OURS])} | {ratios} |")
    means = (geometric_mean(row["ratio"][p] for row in result["cases"]) for p in others)
    lines.append("| geometric mean | | | " + " | ".join(f"{mean:.2f}" for mean in means) + " |")
    return "\n".join(lines) + f"\n\nMeasured on {heading(result)}."


def update_readme(path: Path, result: dict) -> None:
    text = path.read_text()
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{path} lacks the lines {BEGIN} and {END}")
    path.write_text(f"{head}{BEGIN}\n{readme_table(result)}\n{END}{tail}")


def _duration(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs" if seconds < 1e-3 else f"{seconds * 1e3:.3g} ms"


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """The checked-out commit, marked + when files differ from it; None outside a git checkout."""
    git = ["git", "-C", str(Path(__file__).resolve().parent)]
    try:
        commit = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        dirty = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("+" if dirty.stdout else "")
