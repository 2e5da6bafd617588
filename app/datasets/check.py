"""The check of an uploaded file, free of any model: `python -m app.datasets.check FILE` prints its report."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from app.datasets.rows import Row, RowFault, read_row

FAULTS_KEPT = 1_000
LONGEST_LINE = 16 * 1024**2
BOM = b"\xef\xbb\xbf"


class Fault(Struct, frozen=True):
    """One thing wrong: the 1-based line, a stable code, a JSON pointer into the row, a sentence, a fix."""

    line: int
    code: str
    pointer: str
    message: str
    fix: str = ""


class Statistics(Struct, frozen=True):
    """Counts over the rows without fault; lengths are in characters."""

    rows: int
    bytes: int
    messages: int
    duplicate_rows: int
    length_p50: int
    length_p90: int
    length_max: int


class Report(Struct, frozen=True):
    """What the check found: all faults counted, the first thousand kept."""

    format: str | None
    rows: int
    fault_count: int
    faults: tuple[Fault, ...]
    statistics: Statistics


def check(path: Path) -> Report:
    """Check a JSONL file line by line."""
    faults: list[Fault] = []
    fault_count, messages = 0, 0
    lengths: list[int] = []
    seen: set[bytes] = set()
    formats: dict[str, int] = {}
    for line, row, format, found in read_lines(path):
        fault_count += len(found)
        for fault in found[: FAULTS_KEPT - len(faults)]:
            faults.append(Fault(line, **msgspec.structs.asdict(fault)))
        if format is not None:
            formats.setdefault(format, line)
        if row is not None:
            messages += len(row.messages)
            lengths.append(sum(len(message["content"]) for message in row.messages))
            seen.add(hashlib.sha256(msgspec.json.encode(row)).digest()[:16])
    if len(formats) > 1:
        fault_count += 1
        told = ", ".join(f"{name} from line {line}" for name, line in formats.items())
        faults.insert(0, Fault(max(formats.values()), "mixed_formats", "", f"the file mixes formats: {told}"))
    if not lengths and not fault_count:
        fault_count = 1
        faults.append(Fault(1, "no_rows", "", "the file has no rows"))
    lengths.sort()
    statistics = Statistics(
        rows=len(lengths),
        bytes=path.stat().st_size,
        messages=messages,
        duplicate_rows=len(lengths) - len(seen),
        length_p50=lengths[len(lengths) // 2] if lengths else 0,
        length_p90=lengths[len(lengths) * 9 // 10] if lengths else 0,
        length_max=lengths[-1] if lengths else 0,
    )
    format = next(iter(formats), None)
    return Report(format, len(lengths), fault_count, tuple(faults[:FAULTS_KEPT]), statistics)


def read_lines(path: Path) -> Iterator[tuple[int, Row | None, str | None, list[RowFault]]]:
    """Each line's number, its row when it has no fault, its format, and its faults. Trailing blank lines are none."""
    with path.open("rb") as source:
        blank: list[int] = []
        number = 0
        while content := source.readline(LONGEST_LINE + 1):
            number += 1
            if len(content) > LONGEST_LINE:
                fault = RowFault("line_too_long", "", f"the line is longer than {LONGEST_LINE} bytes")
                yield number, None, None, [fault]
                return
            if not content.strip():
                blank.append(number)
                continue
            for earlier in blank:
                yield earlier, None, None, [RowFault("blank_line", "", "the line is blank", "remove it")]
            blank.clear()
            yield number, *_read_line(content, first=number == 1)


def _read_line(content: bytes, *, first: bool) -> tuple[Row | None, str | None, list[RowFault]]:
    if first and content.startswith(BOM):
        return None, None, [RowFault("bom", "", "the file begins with a byte order mark", "save it as UTF-8 without")]
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        fault = RowFault("not_utf8", "", f"byte {error.start + 1} of the line is not UTF-8", "save the file as UTF-8")
        return None, None, [fault]
    try:
        value: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        fault = RowFault("not_json", "", f"the line is not JSON: {error}", "write one JSON object per line (JSONL)")
        return None, None, [fault]
    return read_row(value)


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(check(Path(sys.argv[1]))))
