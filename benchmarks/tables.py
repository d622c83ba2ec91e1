"""The Markdown tables made from a JSON of results: in README.md the training steps and a line per group, and beside the
JSON every line that was measured."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import geometric_mean

from cases import GROUPS, STEPS_ADAM
from peers import LABELS
from report import OURS, amount, goal_text, ours_of

BEGIN, END = "<!-- benchmark table: begin -->", "<!-- benchmark table: end -->"
SUMMARIZED = ("calls", "elementwise", "reductions", "gemm", "steps-sgd", "epoch")


def update(readme: Path, results: Path) -> None:
    """Puts the tables between the marks of `readme`, and those of all lines into `results` with the suffix .md."""
    groups = json.loads(results.read_text())
    head, begin, rest = readme.read_text().partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{readme} lacks the lines {BEGIN} and {END}")
    readme.write_text(f"{head}{BEGIN}\n{readme_tables(groups)}\n{END}{tail}")
    results.with_suffix(".md").write_text(all_tables(groups))


def readme_tables(groups: dict[str, dict]) -> str:
    parts = []
    if steps := groups.get("steps-adam"):
        parts.append(steps_table(steps, ("numpy", "sklearn", "torch", "jax")))
    if steps := groups.get("steps-replay"):
        parts.append(steps_table(steps, ("jax", "torch_compile", "torch", "numpy", "tapegrad")))
    if summary := summary_table(groups):
        parts.append(summary)
    parts += [text for text in (size_text(groups),) if text]
    return "\n\n".join([*parts, f"Measured on {heading(groups)}."])


def steps_table(group: dict, order: tuple[str, ...]) -> str:
    """The time of ours, its share of the floor where that was measured, and the ratios to the others."""
    others = [peer for peer in order if peer in group["mean_ratio"]]
    batches = {case.name: case.batch for case in STEPS_ADAM}
    lines = [line for line in group["lines"] if "median" in line]
    floor = any("floor" in line for line in lines)
    rows = []
    for line in lines:
        cells = [line["name"], str(batches[line["name"]]), amount(ours_of(line), "s")]
        rows.append([*cells, *_share(line, "floor_share") * floor, *_ratios(line["ratio"], others)])
    rows.append(["geometric mean", "", "", *[""] * floor, *_ratios(group["mean_ratio"], others)])
    ours = LABELS[lines[0].get("ours", OURS)] if lines else ""
    return table(["training step", "batch", ours, *["of floor"] * floor, *(LABELS[p] for p in others)], rows)


def summary_table(groups: dict[str, dict]) -> str:
    """Geometric means and the least ratios against NumPy and PyTorch."""
    rows = []
    for name in SUMMARIZED:
        group = groups.get(name, {})
        if not group.get("mean_ratio"):
            continue
        cells = []
        for peer in ("numpy", "torch"):
            ratios = [line["ratio"][peer] for line in group["lines"] if peer in line.get("ratio", ())]
            cells += [f"{geometric_mean(ratios):.2f}", f"{min(ratios):.2f}"] if ratios else ["", ""]
        rows.append([f"{name} ({len(group['lines'])})", *cells])
    return table(["group (lines)", "NumPy: mean", "least", "PyTorch: mean", "least"], rows) if rows else ""


def size_text(groups: dict[str, dict]) -> str:
    lines = {(name, line["name"]): line for name, group in groups.items() for line in group.get("lines", ())}
    parts = []
    for key, what in (
        (("memory", "2048x4-10"), "peak memory of the step 2048x4-10"),
        (("footprint", "import"), "import after NumPy"),
    ):
        if line := lines.get(key):
            others = [p for p in ("torch", "jax") if p in line["median"]]
            values = [f"{LABELS[p]} {amount(line['median'][p], line['unit'])}" for p in (OURS, *others)]
            parts.append(f"{what}: {', '.join(values)}")
    if captures := groups.get("capture", {}).get("lines"):
        most = max(ours_of(line) for line in captures if line["unit"] == "s")
        parts.append(f"capture of one of these steps: {amount(most, 's')} at most")
    if line := lines.get(("footprint", "wheel")):
        parts.append(f"wheel: {amount(line['median'][OURS], 'bytes')}")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def heading(groups: dict[str, dict]) -> str:
    """The machine and the versions; the commits, if there is more than one, are in the JSON."""
    contents = list(groups.values())
    versions = {name: version for content in contents for name, version in content["versions"].items()}
    first = contents[0]
    isa = next((content["isa"] for content in contents if content["isa"]), "unknown ISA")
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{first['cpu']}, {isa}, {first['threads']} threads; {named}; {max(c['date'] for c in contents)[:10]}"


def all_tables(groups: dict[str, dict]) -> str:
    """Every line; a goal that is missed stands in the last column, and who could not take part."""
    parts = ["# Benchmark results", f"Measured on {heading(groups)}. A ratio is the other's time divided by ours."]
    for name in [*(n for n in GROUPS if n in groups), *(n for n in groups if n not in GROUPS)]:
        group = groups[name]
        note = f"{group['note']}; " if group.get("note") else ""
        parts.append(f"## {name}\n\n{note}commit {group['commit']}, {group['date'][:16].replace('T', ' ')} UTC.")
        parts.append(f"Skipped: {group['skipped']}." if "skipped" in group else group_table(group))
        parts += [f"Mean missed: {goal_text(p, group['mean_goals'][p])}." for p in group.get("missed_means", ())]
    return "\n\n".join(parts) + "\n"


def group_table(group: dict) -> str:
    measured = [line for line in group["lines"] if "median" in line]
    if measured and ours_of(measured[0]) is None:
        return table(["", "giga a second"], [[x["name"], f"{x['median']['machine'] / 1e9:.1f}"] for x in measured])
    others = [p for p in group["mean_ratio"] if p in LABELS]
    rated, shared, floored = (any(key in line for line in measured) for key in ("flops", "share", "floor_share"))
    rows = []
    for line in group["lines"]:
        if "skipped" in line:
            rows.append([line["name"], f"skipped: {line['skipped']}"])
            continue
        cells = [line["name"], amount(ours_of(line), line["unit"]), *_ratios(line["ratio"], others)]
        cells += [f"{line['flops'] / ours_of(line) / 1e9:.0f}" if "flops" in line else ""] if rated else []
        cells += _share(line, "share") * shared + _share(line, "floor_share") * floored
        remarks = [goal_text(what, line["goals"][what]) for what in line.get("missed", ())]
        remarks += [f"{LABELS[peer]} left out: {reason}" for peer, reason in line.get("unable", {}).items()]
        rows.append([*cells, ", ".join(remarks)])
    if others:
        rows.append(["geometric mean", "", *_ratios(group["mean_ratio"], others)])
    extra = ["GFLOP/s"] * rated + ["of peak"] * shared + ["of floor"] * floored
    ours = measured[0].get("ours", OURS) if measured else OURS
    return table(["", LABELS[ours], *(LABELS[p] for p in others), *extra, "missed"], rows)


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)]]
    lines += [row + [""] * (len(header) - len(row)) for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _ratios(ratios: dict[str, float], others: list[str]) -> list[str]:
    return [f"{ratios[p]:.2f}" if p in ratios else "" for p in others]


def _share(line: dict, key: str) -> list[str]:
    return [f"{line[key]:.0%}" if key in line else ""]
