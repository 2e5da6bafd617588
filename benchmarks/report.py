"""How figures leave a benchmark: a table for people, and build/bench/<name>.json for machines."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = Path("build/bench")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first column to the left, the others to the right, each as wide as it must be."""
    widths = [max(len(row[place]) for row in (heads, *rows)) for place in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (heads, *rows)
    )


def written(name: str, figures: dict[str, Any], goals: dict[str, bool]) -> None:
    """Write figures and goals down, and say which goals were reached."""
    for goal, reached in goals.items():
        print(f"{'reached' if reached else 'MISSED '}  {goal}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.json"
    load = os.getloadavg()[0]
    path.write_text(json.dumps({"figures": figures, "goals": goals, "load_average": load}, indent=2) + "\n")
    print(f"{path} has the figures; load average {load:.1f} on {os.cpu_count()} cores")


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def median(values: Sequence[float]) -> float:
    """The middle of several rounds."""
    return float(statistics.median(values))
