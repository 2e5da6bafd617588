"""The check of an uploaded file, free of any model: `python -m app.datasets.check FILE` prints its report.

With a folder behind the file, that gets everything: all faults, all warnings, and the digests of the rows.
"""

from __future__ import annotations

import heapq
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from operator import attrgetter
from pathlib import Path

import msgspec
from msgspec import Struct

from app.datasets.faults import RowFault
from app.datasets.formats import AnyRow, Format, read_row
from app.datasets.lines import Line, read_lines
from app.datasets.overlap import row_digest, write_digests
from app.datasets.sorting import HALF, Sorted
from app.datasets.sources import Source, open_source
from app.datasets.spool import PAGE, Kept, Spool
from app.datasets.statistics import Counter, Statistics
from app.domain.files import Fault

FAULTS_KEPT = PAGE
LONG_ROW = 128 * 1024
FAULTS_FILE, WARNINGS_FILE, DIGESTS_FILE = "faults.jsonl", "warnings.jsonl", "rows.digests"


class Report(Struct, frozen=True, kw_only=True):
    """What the check found: counts are of all, of faults and warnings each the first thousand are here.

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
    kept_faults: Kept = Kept(0, ())
    kept_warnings: Kept = Kept(0, ())


def check(path: Path, folder: Path | None = None, *, first: int = FAULTS_KEPT) -> Report:
    """Check a file line by line, in memory that does not grow with it; what is found lies in `folder`.

    Raises `OSError`.
    """
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tunesmith-check-")))
        return _Check(stack.enter_context(open_source(path)), folder, first, stack).report()


class _Check:
    """One file being checked."""

    def __init__(self, source: Source, folder: Path, first: int, stack: ExitStack) -> None:
        self._source, self._folder = source, folder
        self._faults = stack.enter_context(Spool(folder / FAULTS_FILE, first))
        self._warnings = stack.enter_context(Spool(folder / "warnings.part", first))
        self._all_warnings = stack.enter_context(Spool(folder / WARNINGS_FILE, first))
        self._counter = Counter()
        self._rows = Sorted(folder, "rows")
        self._formats: dict[Format, int] = {}

    def report(self) -> Report:
        for line in read_lines(self._source):
            self._take(line)
        self._source.drain()
        duplicates = self._duplicates()
        for fault in heapq.merge(self._warnings.faults(), _repeats(duplicates), key=attrgetter("line")):
            self._all_warnings.add(fault)
        rows = self._counter.rows
        if not rows and not self._faults.count:
            fix = 'write one object per line: {"messages": [...]}'
            self._add(1, RowFault("no_rows", "", "the file has no rows", fix))
        faults, warnings = self._faults, self._all_warnings
        return Report(
            format=next(iter(self._formats), None),
            rows=rows,
            sha256=self._source.sha256,
            fault_count=faults.count,
            faults=tuple(faults.first),
            # Of a spool that was full, not all came through.
            warning_count=self._warnings.count + duplicates.count,
            warnings=tuple(warnings.first),
            statistics=self._counter.statistics(
                bytes=self._source.bytes,
                unpacked_bytes=self._source.unpacked,
                duplicate_rows=duplicates.count,
            ),
            kept_faults=faults.kept(),
            kept_warnings=warnings.kept(),
        )

    def _take(self, line: Line) -> None:
        number = line.number
        if line.fault is not None:
            self._add(number, line.fault)
            for fault in line.others:
                self._add(number, fault)
        if not line.is_row:
            return
        row, form, found = read_row(line.value)
        for fault in found:
            self._add(number, fault)
        if form is not None and form not in self._formats:
            if self._formats:
                self._add(number, _mixed(form, self._formats))
            self._formats[form] = number
        if row is not None and line.fault is None:
            self._count(row, number)

    def _count(self, row: AnyRow, number: int) -> None:
        characters = self._counter.add(row)
        if characters > LONG_ROW:
            said = f"the row has {characters:,} characters: most models cut it before its end"
            fix = "split the row, or see with `estimate` what is cut"
            self._add(number, RowFault("long_row", "", said, fix, warning=True))
        self._rows.add(row_digest(row), number)

    def _add(self, line: int, fault: RowFault) -> None:
        spool = self._warnings if fault.warning else self._faults
        spool.add(Fault(line, fault.code, fault.pointer, fault.message, fault.fix))

    def _duplicates(self) -> Sorted:
        """Lines and the earlier lines that they are the same as; the rows' digests are written on the way."""
        repeats = Sorted(self._folder, "repeats")
        digest, earlier = b"", 0
        for found, line in write_digests(self._rows, self._folder / DIGESTS_FILE):
            if found == digest:
                repeats.add(line.to_bytes(HALF, "big"), earlier)
            else:
                digest, earlier = found, line
        return repeats


def _repeats(duplicates: Sorted) -> Iterator[Fault]:
    fix = "remove the row, unless it is to weigh more"
    for line, earlier in duplicates:
        said = f"the row is the same as line {earlier}"
        yield Fault(int.from_bytes(line, "big"), "duplicate_row", "", said, fix)


def _mixed(form: Format, formats: dict[Format, int]) -> RowFault:
    told = ", ".join(f"{name} from line {line}" for name, line in formats.items())
    said = f"the row is {form}, but there are rows of {told}"
    return RowFault("mixed_formats", "", said, "make it two files")


def main(arguments: list[str]) -> int:
    """Print the report; 0 when the file could be read, whatever was found in it."""
    if len(arguments) not in (1, 2):
        print("usage: python -m app.datasets.check FILE [FOLDER]", file=sys.stderr)
        return 2
    try:
        report = check(*map(Path, arguments))
    except OSError as error:
        print(f"the file cannot be read: {error}", file=sys.stderr)
        return 1
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
