"""The lines of a JSONL file, one at a time, each decoded or with the fault that kept it from being so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from msgspec import Struct

from app.datasets.faults import RowFault
from app.datasets.json_rows import decode
from app.datasets.sources import GZIP, Unreadable

LONGEST_LINE = 16 * 1024**2

BOM = b"\xef\xbb\xbf"
FOREIGN = (
    (b"\xff\xfe", "not_utf8", "the file is UTF-16, not UTF-8", "save it as UTF-8"),
    (b"\xfe\xff", "not_utf8", "the file is UTF-16, not UTF-8", "save it as UTF-8"),
    (GZIP, "not_jsonl", "the file is packed with gzip twice", "unpack it once"),
    (b"PK\x03\x04", "not_jsonl", "the file is a zip archive", "upload the JSONL file in it"),
    (b"PAR1", "not_jsonl", "the file is Parquet", "write one JSON object per line"),
)


class LineSource(Protocol):
    """What lines are read from."""

    def readline(self, limit: int, /) -> bytes: ...


class Line(Struct, frozen=True):
    """A line by its 1-based number: what it says, or why that cannot be known.

    `fault` is set when the line cannot be trained on, or is no row; `others` are more of the same line.
    `is_row` when `value` is what the line says, whatever else is wrong with it.
    """

    number: int
    value: Any = None
    fault: RowFault | None = None
    others: tuple[RowFault, ...] = ()
    is_row: bool = False


def read_lines(source: LineSource) -> Iterator[Line]:
    """Decode a file line by line. A blank line is a warning, at the end of the file it is nothing.

    A file that is no JSONL at all is one fault, and nothing of it is read on.
    """
    number, blank = 0, 0
    try:
        while raw := source.readline(LONGEST_LINE + 1):
            number += 1
            if number == 1:
                if (foreign := _foreign(raw)) is not None:
                    yield Line(1, fault=foreign)
                    return
                if raw.startswith(BOM):
                    fix = "save the file as UTF-8 without a byte order mark"
                    yield Line(1, fault=RowFault("bom", "", "the file begins with a byte order mark", fix))
                    raw = raw.removeprefix(BOM)
            if len(raw) > LONGEST_LINE:
                while raw and not raw.endswith(b"\n"):
                    raw = source.readline(LONGEST_LINE)
                said = f"the line is longer than {LONGEST_LINE // 1024**2} MiB"
                yield Line(number, fault=RowFault("line_too_long", "", said, "split the row"))
                continue
            content = raw.strip(b" \t\r\n")
            if not content:
                blank = blank or number
                continue
            if blank:
                fault = RowFault("blank_line", "", "the line is blank", "remove it", warning=True)
                yield Line(blank, fault=fault)
                blank = 0
            yield _decoded(number, content)
    except Unreadable as error:
        yield Line(max(1, number), fault=error.fault)


def _foreign(start: bytes) -> RowFault | None:
    for magic, code, message, fix in FOREIGN:
        if start.startswith(magic):
            return RowFault(code, "", message, fix)
    text = start.removeprefix(BOM).strip()
    if text.startswith(b"[") and (not text.endswith(b"]") or text.startswith((b"[{", b"[ {"))):
        fix = "write one object per line, without the brackets and commas around them"
        return RowFault("json_array", "", "the file is one JSON array, not one row per line", fix)
    return None


def _decoded(number: int, content: bytes) -> Line:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        said = f"byte {error.start + 1} of the line, 0x{content[error.start]:02x}, is not UTF-8"
        return Line(number, fault=RowFault("not_utf8", "", said, "save the file as UTF-8"))
    is_row, value, faults = decode(text)
    first, *others = faults or (None,)
    return Line(number, value, first, tuple(fault for fault in others if fault is not None), is_row)
