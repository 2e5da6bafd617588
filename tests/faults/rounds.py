"""How often a fault is made to happen: a few times in `make test`, every time in `make test-faults`."""

from __future__ import annotations

import os


def rounds(few: int, every: int) -> int:
    """`few`, or with FAULTS=every in the environment `every`."""
    return every if os.environ.get("FAULTS") == "every" else few
