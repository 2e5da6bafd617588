"""Faults on disk, one JSON object a line, with the place of each thousandth: read back by number."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from msgspec import Struct

from app.domain.files import Fault

PAGE = 1_000
LARGEST_SPOOL = 1024**3

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Fault)


class Kept(Struct, frozen=True):
    """How many faults are kept; byte places of the first and of each thousandth after it, and of the end."""

    count: int
    places: tuple[int, ...]


class Spool:
    """Takes faults in the order of their lines, all of them to disk and the first ones to memory.

    Only a spool of a gigabyte takes no more: `count` is of all that were given, `written` of those kept.
    """

    def __init__(self, path: Path, first: int = PAGE) -> None:
        self.count = self.written = 0
        self.first: list[Fault] = []
        self._limit = first
        self._path = path
        self._file = path.open("wb")
        self._bytes = 0
        self._places: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, fault: Fault) -> None:
        """Take one fault."""
        self.count += 1
        if len(self.first) < self._limit:
            self.first.append(fault)
        if self._bytes >= LARGEST_SPOOL:
            return
        if self.written % PAGE == 0:
            self._places.append(self._bytes)
        self._bytes += self._file.write(_encoder.encode(fault) + b"\n")
        self.written += 1

    def kept(self) -> Kept:
        """What is on disk now."""
        self._file.flush()
        return Kept(self.written, (*self._places, self._bytes))

    def faults(self) -> Iterator[Fault]:
        """Everything that was written, from disk."""
        self._file.flush()
        with self._path.open("rb") as written:
            yield from map(_decoder.decode, written)


def faults_of(lines: bytes) -> list[Fault]:
    """The faults in some whole lines of a spool's file."""
    return [_decoder.decode(line) for line in lines.splitlines()]
