#!/usr/bin/env python
"""Shows what moved between two JSON files of run.py: our time new / old, divided by how far the machine drifted.

The drift of a line is the geometric mean of new / old over the peers measured in both files, which had the same slices
of time as we had; a peer whose version changed does not count.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import geometric_mean

from peers import PACKAGES
from report import OURS, amount, ours_of


def lines_of(results: dict) -> dict[tuple[str, str], tuple[dict, dict]]:
    """(line, versions) by (group, name), of what was measured for us."""
    return {
        (group, line["name"]): (line, content["versions"])
        for group, content in results.items()
        for line in content.get("lines", ())
        if ours_of(line) is not None
    }


def moves(old: dict, new: dict) -> list[dict]:
    """The lines in both, the one that got slowest first."""
    before, after = lines_of(old), lines_of(new)
    found = []
    for key in before.keys() & after.keys():
        (line, versions), (line_now, versions_now) = before[key], after[key]
        was, now = line["median"], line_now["median"]
        package = {p: PACKAGES.get(p, p) for p in was.keys() & now.keys()}
        same = [p for p, q in package.items() if q != OURS and versions.get(q) == versions_now.get(q)]
        peers = [p for p in same if was[p] > 0]
        drift = geometric_mean([now[p] / was[p] for p in peers]) if peers else 1.0
        found.append(
            {
                "group": key[0],
                "name": key[1],
                "old": ours_of(line),
                "new": ours_of(line_now),
                "unit": line["unit"],
                "drift": drift,
                "moved": ours_of(line_now) / ours_of(line) / drift,
            }
        )
    return sorted(found, key=lambda move: (-move["moved"], move["group"], move["name"]))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--threshold", type=float, default=0.05, help="leave out smaller moves (default: 0.05)")
    options = parser.parse_args(arguments)
    old, new = (json.loads(path.read_text()) for path in (options.old, options.new))
    all_moves = moves(old, new)
    shown = [m for m in all_moves if max(m["moved"], 1 / m["moved"]) > 1 + options.threshold]
    print(f"{'group':<13}{'line':<36}{'old':>10}{'new':>10}{'drift':>8}{'moved':>8}")
    for m in shown:
        times = "".join(f"{amount(m[key], m['unit']):>10}" for key in ("old", "new"))
        print(f"{m['group']:<13}{m['name']:<36}{times}{m['drift']:>8.2f}{m['moved']:>8.2f}")
    if all_moves:
        mean = geometric_mean([m["moved"] for m in all_moves])
        print(f"{len(shown)} of {len(all_moves)} lines moved by more than {options.threshold:.0%}; mean {mean:.3f}")
    for what, keys in (
        ("only in OLD", lines_of(old).keys() - lines_of(new)),
        ("only in NEW", lines_of(new).keys() - lines_of(old)),
    ):
        if keys:
            print(f"{what}: " + ", ".join(f"{group}: {name}" for group, name in sorted(keys)))


if __name__ == "__main__":
    main()
