"""The memory of this process: the most it held, and how what is free goes back to the machine."""

from __future__ import annotations

import ctypes
import gc
import re
from pathlib import Path

import torch


def memory_peak() -> int:
    """The most memory held so far, in bytes: of the GPU if it is used, or of this process."""
    if torch.cuda.is_available() and torch.cuda.is_initialized() and torch.cuda.max_memory_reserved():
        return int(torch.cuda.max_memory_reserved())
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    [kibibytes] = re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(kibibytes) * 1024


def give_back() -> None:
    """Hand what nobody uses any more back to the machine, or the GPU."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
