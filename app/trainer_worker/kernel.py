"""What the kernel did to processes of this machine because it had no memory left."""

from __future__ import annotations

import re
from pathlib import Path

VMSTAT = Path("/proc/vmstat")


def killed_for_memory() -> int:
    """How many processes it has killed since it began, in containers too; 0 where it does not say."""
    try:
        told = VMSTAT.read_text(encoding="ascii")
    except OSError:
        return 0
    found = re.search(r"^oom_kill (\d+)$", told, re.MULTILINE)
    return int(found[1]) if found else 0
