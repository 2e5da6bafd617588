"""A loss curve drawn with characters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bits of a braille character by row and column."""


def loss_curve(losses: Sequence[float], width: int, height: int, *, braille: bool = True) -> list[str]:
    """The curve as lines of text: `height` rows of `width` characters behind an axis.

    Without `braille`, for terminals that have none, it is drawn with asterisks. Empty below two losses.
    """
    if len(losses) < 2 or width < 1 or height < 2:
        return []
    low, high = min(losses), max(losses)
    across, down = (2, 4) if braille else (1, 1)
    columns, rows = width * across, height * down
    points = _resampled(losses, columns)
    cells = [[0] * width for _ in range(height)]
    before: int | None = None
    for x, loss in enumerate(points):
        y = round((high - loss) / (high - low) * (rows - 1)) if high > low else rows - 1
        # The line is closed between neighbours, so that a steep fall is not a scatter of dots.
        first, last = (y, y) if before is None else (min(y, before + 1), max(y, before - 1))
        for row in range(min(first, y), max(last, y) + 1):
            cells[row // down][x // across] |= DOTS[row % 4][x % 2] if braille else 1
        before = y
    marks = [
        "".join((chr(0x2800 + cell) if braille else "*") if cell else " " for cell in line).rstrip()
        for line in cells
    ]
    labels = [f"{high:.3g}", *[""] * (height - 2), f"{low:.3g}"]
    margin = max(len(label) for label in labels)
    tick, bar = ("┤", "│") if braille else ("+", "|")
    return [
        f"{label:>{margin}} {tick if label else bar}{line}" for label, line in zip(labels, marks, strict=True)
    ]


def _resampled(losses: Sequence[float], columns: int) -> list[float]:
    """One value per column: means where there are more losses than columns, interpolated where fewer."""
    count = len(losses)
    if count > columns:
        bounds = [index * count // columns for index in range(columns + 1)]
        return [sum(losses[a:b]) / (b - a) for a, b in pairwise(bounds)]
    points = []
    for x in range(columns):
        place = x * (count - 1) / (columns - 1)
        left = min(int(place), count - 2)
        share = place - left
        points.append(losses[left] * (1 - share) + losses[left + 1] * share)
    return points
