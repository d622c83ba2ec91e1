"""What becomes of the measured values: medians, ratios, goals met or missed, printed lines, JSON."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from statistics import geometric_mean, median

import machine
from peers import MODULES

OURS = "tapegrad"  # where a line does not say which peer is "ours"
BEST = ("numpy", "torch")  # the peers of a goal against "best", the faster of them


TOLERANCES = {"sklearn": 0.02}  # it adds epsilon before Adam's correction of the bias


def check_agreement(case, values: dict[str, list[float]]) -> None:
    """Ends the run where a peer computes something else than the first one."""
    reference = next(iter(values))
    for peer, mine in values.items():
        tolerance = max(case.tolerance, TOLERANCES.get(peer, 0))
        for place, (value, expected) in enumerate(zip(mine, values[reference], strict=True), 1):
            if not abs(value - expected) <= tolerance * max(1.0, abs(expected)):
                raise SystemExit(f"{case.name}: value {place} of {peer} is {value:.6g}, of {reference} {expected:.6g}")


def summarize(
    name: str,
    unit: str,
    values: dict[str, list[float]],
    goals: dict,
    ours: str = OURS,
    flops: int = 0,
    fma_rate: float | None = None,
    floor: float | None = None,
) -> dict:
    """One line: medians over the rounds; a ratio (theirs / ours) is the median of the ratios within a round.

    floor: the least seconds possible; "floor_share" is their share of ours.
    """
    ratios = {
        peer: [theirs / mine for theirs, mine in zip(theirs_all, values[ours], strict=True)]
        for peer, theirs_all in values.items()
        if peer != ours
    }
    line = {
        "name": name,
        "unit": unit,
        "ours": ours,
        "median": {peer: _short(median(v)) for peer, v in values.items()},
        "ratio": {peer: _short(median(v)) for peer, v in ratios.items()},
        "range": {peer: [_short(min(v)), _short(max(v))] for peer, v in ratios.items()},
    }
    if flops:
        line["flops"] = flops
        if fma_rate:
            line["share"] = _short(flops / line["median"][ours] / fma_rate)
    if floor:
        line |= {"floor": _short(floor), "floor_share": _short(floor / line["median"][ours])}
    if goals:
        line["goals"] = goals
        line["missed"] = [what for what, goal in goals.items() if _misses(line, what, goal)]
    return line


def ours_of(line: dict) -> float | None:
    """The median of ours, None where it was not measured."""
    return line.get("median", {}).get(line.get("ours", OURS))


def _misses(line: dict, what: str, goal: float) -> bool:
    if what == "limit":
        return ours_of(line) > goal
    if what in ("peak", "floor"):
        return line.get("share" if what == "peak" else "floor_share", goal) < goal
    return _ratio(line, what) < goal


def _ratio(line: dict, peer: str) -> float:
    """The ratio to a peer or to the best; infinite where it was not measured."""
    among = BEST if peer == "best" else (peer,)
    return min((line["ratio"][p] for p in among if p in line["ratio"]), default=float("inf"))


def finish_group(group, lines: list[dict]) -> dict:
    """The group with the geometric means of its ratios, and the means that miss their goal."""
    measured = [line for line in lines if line.get("ratio")]
    names = [peer for peer in MODULES if any(peer in line["ratio"] for line in measured)]
    means = {
        peer: _short(geometric_mean([line["ratio"][peer] for line in measured if peer in line["ratio"]]))
        for peer in names
    }
    if measured and "best" in group.mean_goals and any(peer in means for peer in BEST):
        means["best"] = _short(geometric_mean([_ratio(line, "best") for line in measured]))
    result = {"mean_ratio": means, "lines": lines}
    if group.mean_goals:
        result["mean_goals"] = group.mean_goals
        result["missed_means"] = [p for p, goal in group.mean_goals.items() if means.get(p, goal) < goal]
    return result


def environment(options, versions: dict[str, str]) -> dict:
    known = dict(versions)
    isa = known.pop("isa", None)
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": _commit(),
        "cpu": machine.cpu_model(),
        "cpus": os.cpu_count(),
        "isa": isa,
        "threads": options.threads,
        "versions": {"python": platform.python_version(), **known},
        "quick": options.quick,
    }


def _commit() -> str | None:
    """The commit the package was imported from, marked + when files differ from it; None outside a git checkout."""
    package = Path(find_spec(OURS).origin).parent
    try:
        git = ["git", "-C", str(package)]
        if not subprocess.run([*git, "ls-files", "__init__.py"], capture_output=True, check=True).stdout:
            return None
        commit = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        dirty = subprocess.run([*git, "status", "--porcelain", ":/"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("+" if dirty.stdout else "")


def header(names: list[str], ours: str = OURS) -> str:
    others = [name for name in names if name != ours]
    return f"{'':<34}{ours:>10}" + "".join(f"{name:>14}{'ratio':>7}" for name in others)


def row(line: dict, names: list[str]) -> str:
    if "skipped" in line:
        return f"{line['name']:<34}  skipped: {line['skipped']}"
    text = f"{line['name']:<34}{amount(ours_of(line), line['unit']):>10}"
    for name in names:
        if name in line["ratio"]:
            text += f"{amount(line['median'][name], line['unit']):>14}{line['ratio'][name]:>7.2f}"
        elif name != line["ours"]:
            text += " " * 21
    if "flops" in line:
        text += f"{line['flops'] / ours_of(line) / 1e9:>8.1f} GFLOP/s"
    if "share" in line:
        text += f" {line['share']:.0%} of peak"
    if "floor_share" in line:
        text += f" {line['floor_share']:.0%} of floor"
    for peer, reason in line.get("unable", {}).items():
        text += f"  ({peer} left out: {reason})"
    if "processors_busy_otherwise" in line:
        text += f"  (other programs kept {line['processors_busy_otherwise']:.2f} processors busy)"
    return text + "".join(f"  !{goal_text(what, line['goals'][what])}" for what in line.get("missed", ()))


def goal_text(what: str, goal: float) -> str:
    if what == "limit":
        return f"<={goal:g}"
    return f"{what}>={goal:g}"


def endings(result: dict) -> list[str]:
    """The lines under a group: means, goals missed, or why it was left out."""
    if "skipped" in result:
        return [f"skipped: {result['skipped']}"]
    lines = []
    if result["mean_ratio"]:
        lines.append("geometric mean: " + ", ".join(f"{p} {r:.2f}" for p, r in result["mean_ratio"].items()))
    lines += [f"mean missed: {goal_text(p, result['mean_goals'][p])}" for p in result.get("missed_means", ())]
    count = sum(bool(line.get("missed")) for line in result["lines"])
    if any("goals" in line for line in result["lines"]):
        lines.append(f"{count} of {len(result['lines'])} lines miss a goal")
    return lines


def amount(value: float, unit: str) -> str:
    """A duration (or a difference of two) or a size with three digits."""
    if unit == "bytes":
        return f"{value / 1e6:.3g} MB"
    for scale, name in ((1e-9, "ns"), (1e-6, "µs"), (1e-3, "ms")):
        if abs(value) < 999.5 * scale:
            return f"{value / scale:.3g} {name}"
    return f"{value:.3g} s"


def write_group(path: Path, name: str, result: dict) -> None:
    """Puts the group into the JSON file, one line of the file for each line of the group."""
    groups = json.loads(path.read_text()) if path.exists() else {}
    groups[name] = result
    parts = []
    for group, content in groups.items():
        head = {key: value for key, value in content.items() if key != "lines"}
        text = f" {json.dumps(group)}: {{\n  " + ",\n  ".join(
            f"{json.dumps(k)}: {json.dumps(v)}" for k, v in head.items()
        )
        if "lines" in content:
            text += ',\n  "lines": [\n   ' + ",\n   ".join(map(json.dumps, content["lines"])) + "\n  ]"
        parts.append(text + "\n }")
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n")


def _short(value: float) -> float:
    return float(f"{value:.5g}")
