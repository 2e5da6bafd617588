"""What each attempt's child process printed, kept in the store beside what the attempt made."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from app.storage.store import ObjectMissing, Store

LARGEST_LOG = 1024**2
NAME = "log.txt"


def log_key(tuning_id: str, attempt: int) -> str:
    """Where an attempt's log is in the store."""
    return f"{_folder(tuning_id)}{attempt}/{NAME}"


def _folder(tuning_id: str) -> str:
    return f"tunings/{tuning_id}/"


async def keep_log(
    store: Store, tuning_id: str, attempt: int, output: Path, names: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Store the end of what was printed into `output`. Raises `StorageError`, `OSError`.

    For each text of `names` the log has its name instead: whoever reads it need not know where things lie.
    """
    await store.put_bytes(log_key(tuning_id, attempt), await asyncio.to_thread(_end_of, output, names))


def _end_of(output: Path, names: Mapping[str, str]) -> bytes:
    """The last mebibyte of a file; of a longer one exactly that much, of a shorter one less."""
    with output.open("rb") as printed:
        size = printed.seek(0, os.SEEK_END)
        printed.seek(max(0, size - 2 * LARGEST_LOG))  # names are shorter than what they stand for
        end = printed.read(2 * LARGEST_LOG)
    for text in sorted(names, key=len, reverse=True):
        end = end.replace(text.encode(), names[text].encode())
    return end[-LARGEST_LOG:]


async def logged_attempts(store: Store, tuning_id: str) -> list[int]:
    """The numbers of the attempts whose log is kept, in order. Raises `StorageError`."""
    folder = _folder(tuning_id)
    found = [key.removeprefix(folder).split("/") for key in await store.keys(folder)]
    return sorted(int(parts[0]) for parts in found if parts[0].isdecimal() and parts[1:] == [NAME])


async def read_log(store: Store, tuning_id: str, attempt: int) -> tuple[str, bool] | None:
    """An attempt's log, and whether what was printed earlier is left out; None when none is kept."""
    try:
        kept = await store.get_bytes(log_key(tuning_id, attempt))
    except ObjectMissing:
        return None
    return kept.decode(errors="replace"), len(kept) >= LARGEST_LOG
