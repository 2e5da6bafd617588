"""The check of an uploaded file, free of any model: `python -m app.datasets.check FILE` prints its report."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from app.datasets.formats import Format, RowFault, read_row
from app.datasets.lines import read_lines
from app.datasets.statistics import Counter, Statistics
from app.domain.files import Fault

FAULTS_KEPT = 1_000
ROWS_COMPARED = 1_000_000


class Report(Struct, frozen=True, kw_only=True):
    """What the check found: counts are of all, of faults and warnings each the first thousand are kept.

    A file with a fault cannot be trained on; warnings stop nothing. `rows` are those without a fault.
    """

    format: Format | None
    rows: int
    sha256: str
    fault_count: int
    faults: tuple[Fault, ...]
    warning_count: int
    warnings: tuple[Fault, ...]
    statistics: Statistics


def check(path: Path, faults_kept: int = FAULTS_KEPT) -> Report:
    """Check a JSONL file line by line, in memory that does not grow with it. Raises `OSError`."""
    with path.open("rb") as stream:
        return check_stream(stream, faults_kept)


def check_stream(stream: BinaryIO, faults_kept: int = FAULTS_KEPT) -> Report:
    """Check what a binary stream gives."""
    source = _Hashed(stream)
    faults, warnings = _Kept(faults_kept), _Kept(faults_kept)
    counter, duplicates = Counter(), _Duplicates()
    formats: dict[Format, int] = {}
    number = 1
    for line in read_lines(source):
        number = line.number
        if line.fault is not None:
            (warnings if line.fault.warning else faults).add(number, line.fault)
            continue
        row, form, found = read_row(line.value)
        for fault in found:
            (warnings if fault.warning else faults).add(number, fault)
        if form is not None and form not in formats:
            if formats:
                faults.add(number, _mixed(form, formats))
            formats[form] = number
        if row is not None:
            counter.add(row)
            if (earlier := duplicates.earlier(line.content, number)) is not None:
                warnings.add(number, _duplicate(earlier))
    source.drain()
    statistics = counter.statistics(bytes=source.bytes, duplicate_rows=duplicates.count)
    if not statistics.rows and not faults.count:
        fix = 'write one object per line: {"messages": [...]}'
        faults.add(1, RowFault("no_rows", "", "the file has no rows", fix))
    return Report(
        format=next(iter(formats), None),
        rows=statistics.rows,
        sha256=source.digest.hexdigest(),
        fault_count=faults.count,
        faults=tuple(faults.kept),
        warning_count=warnings.count,
        warnings=tuple(warnings.kept),
        statistics=statistics,
    )


def _mixed(form: Format, formats: dict[Format, int]) -> RowFault:
    told = ", ".join(f"{name} from line {line}" for name, line in formats.items())
    return RowFault(
        "mixed_formats", "", f"the row is {form}, but there are rows of {told}", "make it two files"
    )


def _duplicate(earlier: int) -> RowFault:
    fix = "remove the row, unless it is to weigh more"
    return RowFault("duplicate_row", "", f"the row is the same as line {earlier}", fix, warning=True)


class _Kept:
    """Counts faults and keeps the first ones."""

    def __init__(self, limit: int) -> None:
        self.count = 0
        self.kept: list[Fault] = []
        self._limit = limit

    def add(self, line: int, fault: RowFault) -> None:
        self.count += 1
        if len(self.kept) < self._limit:
            self.kept.append(Fault(line, fault.code, fault.pointer, fault.message, fault.fix))


class _Duplicates:
    """Knows the first million rows by a short hash; rows are the same when their bytes are."""

    def __init__(self) -> None:
        self.count = 0
        self._lines: dict[bytes, int] = {}

    def earlier(self, content: bytes, number: int) -> int | None:
        key = hashlib.blake2b(content, digest_size=12).digest()
        found = self._lines.get(key)
        if found is not None:
            self.count += 1
        elif len(self._lines) < ROWS_COMPARED:
            self._lines[key] = number
        return found


class _Hashed:
    """Reads through to a stream, counts and hashes what it gives."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()
        self.bytes = 0

    def readline(self, limit: int, /) -> bytes:
        line = self._stream.readline(limit)
        self.digest.update(line)
        self.bytes += len(line)
        return line

    def drain(self) -> None:
        while self.readline(1024**2):
            pass


def main(arguments: list[str]) -> int:
    """Print the report; 0 when the file could be read, whatever was found in it."""
    if len(arguments) != 1:
        print("usage: python -m app.datasets.check FILE", file=sys.stderr)
        return 2
    try:
        report = check(Path(arguments[0]))
    except OSError as error:
        print(f"the file cannot be read: {error}", file=sys.stderr)
        return 1
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
