"""The digests of a file's rows, kept so that two files can be compared without reading either again.

`python -m app.datasets.overlap TRAINING VALIDATION` prints how far two files overlap whose digests these are,
null when one of them holds none.

The file of digests begins with `MAGIC`; then come the digests of all rows in order, then as many line numbers
in the same order, 8 bytes each, big-endian.
"""

from __future__ import annotations

import hashlib
import heapq
import shutil
import sys
from array import array
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from app.datasets.formats import AnyRow

MAGIC = b"TSROWS1\n"
NUMBER = 8
AT_A_TIME = 65_536
LINES_TOLD = 1_000

_encoder = msgspec.json.Encoder()


class Overlap(Struct, frozen=True):
    """How many of a validation file's rows are in the training file as well; a thousand lines of them."""

    rows: int
    validation_rows: int
    lines: tuple[int, ...]


class NoDigests(Exception):
    """This is no file of digests."""


def row_digest(row: AnyRow) -> bytes:
    """8 bytes that tell a row from others by what it trains, not by how it is written."""
    return hashlib.blake2b(_encoder.encode(row), digest_size=NUMBER).digest()


def write_digests(records: Iterable[tuple[bytes, int]], path: Path) -> Iterator[tuple[bytes, int]]:
    """Write a file of digests from sorted records; they are passed on as they come."""
    lines = path.with_name(f"{path.name}.lines")
    with path.open("wb") as out, lines.open("w+b") as behind:
        out.write(MAGIC)
        for digest, line in records:
            out.write(digest)
            behind.write(line.to_bytes(NUMBER, "big"))
            yield digest, line
        behind.seek(0)
        shutil.copyfileobj(behind, out)
    lines.unlink()


def overlap(training: Path, validation: Path) -> Overlap:
    """Compare two files of digests, in memory that does not grow with them. Raises `NoDigests`, `OSError`."""
    with training.open("rb") as known, validation.open("rb") as asked:
        rows, lines = 0, _Least(LINES_TOLD)
        trained = _numbers(known, 0, _count(known, training))
        some = next(trained, array("Q"))
        count = _count(asked, validation)
        for digests, places in zip(_numbers(asked, 0, count), _numbers_of(validation, count), strict=True):
            wanted, common = set(digests), set[int]()
            while some:
                common |= wanted.intersection(some)
                if some[-1] >= digests[-1]:
                    break
                some = next(trained, array("Q"))
            if common:
                found = [line for digest, line in zip(digests, places, strict=True) if digest in common]
                rows += len(found)
                lines.take(found)
        return Overlap(rows, count, tuple(lines.kept))


class _Least:
    """The smallest numbers of all that it takes."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.kept: list[int] = []

    def take(self, numbers: list[int]) -> None:
        self.kept = heapq.nsmallest(self._count, [*self.kept, *numbers])


def _count(file: BinaryIO, path: Path) -> int:
    size = path.stat().st_size - len(MAGIC)
    if file.read(len(MAGIC)) != MAGIC or size % (2 * NUMBER):
        raise NoDigests(f"{path.name} holds no digests of rows")
    return size // (2 * NUMBER)


def _numbers_of(path: Path, count: int) -> Iterator[array[int]]:
    """The line numbers, that stand behind as many digests."""
    with path.open("rb") as file:
        file.seek(len(MAGIC) + count * NUMBER)
        yield from _numbers(file, 0, count)


def _numbers(file: BinaryIO, done: int, count: int) -> Iterator[array[int]]:
    while done < count:
        numbers = array("Q", file.read(NUMBER * min(AT_A_TIME, count - done)))
        if sys.byteorder == "little":
            numbers.byteswap()
        done += len(numbers)
        yield numbers


def main(arguments: list[str]) -> int:
    """Print the overlap; 0 when the files could be read."""
    if len(arguments) != 2:
        print("usage: python -m app.datasets.overlap TRAINING VALIDATION", file=sys.stderr)
        return 2
    found: Overlap | None = None
    try:
        with suppress(NoDigests):
            found = overlap(*map(Path, arguments))
    except OSError as error:
        print(f"the digests cannot be read: {error}", file=sys.stderr)
        return 1
    sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
