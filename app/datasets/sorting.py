"""Rows sorted by their digests, on disk, in memory that does not grow with their number."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path

IN_MEMORY = 500_000
RECORD = 16
HALF = RECORD // 2
READ_AT_A_TIME = 4096


class Sorted:
    """Records of two numbers of 8 bytes each, given in any order and got back in theirs."""

    def __init__(self, folder: Path, name: str) -> None:
        self.count = 0
        self._folder, self._name = folder, name
        self._held: list[bytes] = []
        self._runs: list[Path] = []

    def add(self, key: bytes, number: int) -> None:
        """Take one record, of a key of 8 bytes and a number."""
        self._held.append(key + number.to_bytes(HALF, "big"))
        self.count += 1
        if len(self._held) >= IN_MEMORY:
            self._spill()

    def _spill(self) -> None:
        self._held.sort()
        path = self._folder / f"{self._name}.{len(self._runs)}"
        path.write_bytes(b"".join(self._held))
        self._runs.append(path)
        self._held = []

    def __iter__(self) -> Iterator[tuple[bytes, int]]:
        """Every record in order: its key and its number."""
        self._held.sort()
        runs = [*(_run(path) for path in self._runs), iter(self._held)]
        for record in heapq.merge(*runs) if self._runs else self._held:
            yield record[:HALF], int.from_bytes(record[HALF:], "big")


def _run(path: Path) -> Iterator[bytes]:
    with path.open("rb") as run:
        while block := run.read(RECORD * READ_AT_A_TIME):
            yield from (block[place : place + RECORD] for place in range(0, len(block), RECORD))
