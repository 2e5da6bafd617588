"""The lines of a JSONL file, one at a time, each decoded or with the fault that kept it from being so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from app.datasets.formats import RowFault

LONGEST_LINE = 16 * 1024**2

BOM = b"\xef\xbb\xbf"
FOREIGN = (
    (b"\xff\xfe", "not_utf8", "the file is UTF-16, not UTF-8", "save it as UTF-8"),
    (b"\xfe\xff", "not_utf8", "the file is UTF-16, not UTF-8", "save it as UTF-8"),
    (b"\x1f\x8b", "not_jsonl", "the file is compressed with gzip", "upload it unpacked"),
    (b"PK\x03\x04", "not_jsonl", "the file is a zip archive", "upload the JSONL file in it"),
    (b"PAR1", "not_jsonl", "the file is Parquet", "write one JSON object per line"),
)


class LineSource(Protocol):
    """What lines are read from."""

    def readline(self, limit: int, /) -> bytes: ...


class Line(Struct, frozen=True):
    """A line by its 1-based number: what it says, or why that cannot be known. `content` is its raw bytes."""

    number: int
    content: bytes
    value: Any = None
    fault: RowFault | None = None


def read_lines(source: LineSource) -> Iterator[Line]:
    """Decode a file line by line. A blank line is a warning, at the end of the file it is nothing.

    A file that is no JSONL at all is one fault, and nothing of it is read on.
    """
    number, blank = 0, 0
    while raw := source.readline(LONGEST_LINE + 1):
        number += 1
        if number == 1:
            if (foreign := _foreign(raw)) is not None:
                yield Line(1, b"", fault=foreign)
                return
            if raw.startswith(BOM):
                fix = "save the file as UTF-8 without a byte order mark"
                yield Line(1, b"", fault=RowFault("bom", "", "the file begins with a byte order mark", fix))
                raw = raw.removeprefix(BOM)
        if len(raw) > LONGEST_LINE:
            while raw and not raw.endswith(b"\n"):
                raw = source.readline(LONGEST_LINE)
            message = f"the line is longer than {LONGEST_LINE // 1024**2} MiB"
            yield Line(number, b"", fault=RowFault("line_too_long", "", message, "split the row"))
            continue
        content = raw.strip(b" \t\r\n")
        if not content:
            blank = blank or number
            continue
        if blank:
            fault = RowFault("blank_line", "", "the line is blank", "remove it", warning=True)
            yield Line(blank, b"", fault=fault)
            blank = 0
        yield _decoded(number, content)


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
        content.decode()
    except UnicodeDecodeError as error:
        message = f"byte {error.start + 1} of the line, 0x{content[error.start]:02x}, is not UTF-8"
        fault = RowFault("not_utf8", "", message, "save the file as UTF-8")
        return Line(number, content, fault=fault)
    try:
        return Line(number, content, value=msgspec.json.decode(content))
    except RecursionError:
        fault = RowFault("not_json", "", "the JSON is nested too deeply", "flatten the row")
    except msgspec.DecodeError as error:
        fault = RowFault("not_json", "", f"the line is not JSON: {error}", _fix(content))
    return Line(number, content, fault=fault)


def _fix(content: bytes) -> str:
    if content.startswith(b"{'"):
        return "use double quotes around keys and strings"
    if content.endswith(b","):
        return "remove the comma at the end of the line"
    if content.startswith(b"{") and not content.endswith(b"}"):
        return "write the whole object on one line"
    return "write one JSON object per line"
