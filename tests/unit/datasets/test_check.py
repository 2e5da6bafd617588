from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from io import BytesIO, RawIOBase
from pathlib import Path

import msgspec
import pytest

from app.datasets.check import Report, check, check_stream
from app.datasets.lines import LONGEST_LINE

ROW = b'{"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "bye"}]}'


def checked(content: bytes) -> Report:
    return check_stream(BytesIO(content))


def places(report: Report) -> list[tuple[int, str]]:
    """Line and code of each fault."""
    return [(fault.line, fault.code) for fault in report.faults]


def numbered(number: int) -> bytes:
    return ROW.replace(b"hello", f"hello {number}".encode())


def test_a_sound_file_has_no_fault_and_its_rows_are_counted() -> None:
    report = checked(numbered(1) + b"\n" + numbered(2) + b"\n")
    assert (report.format, report.rows, report.fault_count, report.warning_count) == ("chat", 2, 0, 0)
    assert report.statistics.messages == 4
    assert report.statistics.roles == {"assistant": 2, "user": 2}
    assert report.statistics.characters == 2 * len("hello 1bye")


def test_the_report_names_the_content_it_is_about() -> None:
    content = ROW + b"\n"
    report = checked(content)
    assert report.sha256 == hashlib.sha256(content).hexdigest()
    assert report.statistics.bytes == len(content)


def test_every_faulty_line_is_told_by_its_number() -> None:
    lines = [ROW, b"{", b'{"messages": []}', numbered(2), b"[1]", b'{"a": NaN}']
    report = checked(b"\n".join(lines))
    assert places(report) == [(2, "not_json"), (3, "no_messages"), (5, "not_an_object"), (6, "not_json")]
    assert report.rows == 2


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", [(1, "no_rows")]),
        (b"\n \n", [(1, "no_rows")]),
        (b"\xef\xbb\xbf" + ROW, [(1, "bom")]),
        (ROW + b"\n" + b'{"messages": "\xff"}', [(2, "not_utf8")]),
        (ROW.decode().encode("utf-16"), [(1, "not_utf8")]),
        (ROW.decode().encode("utf-16-be"), [(1, "not_json")]),
        (b"\x1f\x8b\x08\x00rest\nof it\n", [(1, "not_jsonl")]),
        (b"PAR1\nrest", [(1, "not_jsonl")]),
        (b"[" + ROW + b",\n" + ROW + b"]", [(1, "json_array")]),
        (b"[" + ROW + b"]\n", [(1, "json_array")]),
        (b"[\n" + ROW + b"\n]\n", [(1, "json_array")]),
        (b"messages,role\nhello,user\n", [(1, "not_json"), (2, "not_json")]),
        (ROW.replace(b'"', b"'"), [(1, "not_json")]),
        (ROW + b",", [(1, "not_json")]),
        (b'{"messages": "a\x00b"}', [(1, "not_json")]),
        (b"[" * 100_000 + b"]" * 100_000, [(1, "not_json")]),
        (b'{"text": "a"}\n' + ROW, [(1, "unsupported_format"), (2, "mixed_formats")]),
    ],
)
def test_content_that_is_no_chat_file_gets_its_fault(content: bytes, expected: list[tuple[int, str]]) -> None:
    assert places(checked(content)) == expected


def test_a_fault_says_what_to_do() -> None:
    for content in (b"{", ROW + b",", ROW.replace(b'"', b"'"), b"\xff\xfe", b'{"text": "a"}'):
        assert all(fault.fix for fault in checked(content).faults)


def test_a_line_without_end_is_told_and_the_next_one_is_read() -> None:
    long = b'{"messages": "' + b"a" * LONGEST_LINE + b'"}'
    report = checked(numbered(1) + b"\n" + long + b"\n" + numbered(2) + b"\n")
    assert places(report) == [(2, "line_too_long")]
    assert report.rows == 2


def test_rows_that_are_the_same_warn_and_name_the_first() -> None:
    report = checked(b"\n".join([ROW, numbered(2), ROW, ROW]))
    assert [(fault.line, fault.code, fault.message) for fault in report.warnings] == [
        (3, "duplicate_row", "the row is the same as line 1"),
        (4, "duplicate_row", "the row is the same as line 1"),
    ]
    assert (report.fault_count, report.warning_count, report.statistics.duplicate_rows) == (0, 2, 2)


def test_a_blank_line_warns_in_the_middle_and_is_nothing_at_the_end() -> None:
    report = checked(ROW + b"\n\n\n" + numbered(2) + b"\n\n")
    assert [(fault.line, fault.code) for fault in report.warnings] == [(2, "blank_line")]
    assert report.fault_count == 0


def test_only_the_first_faults_are_kept_and_all_are_counted() -> None:
    report = check_stream(BytesIO(b"{\n" * 5_000), faults_kept=10)
    assert (report.fault_count, len(report.faults)) == (5_000, 10)
    assert report.faults[-1].line == 10


def test_carriage_returns_and_spaces_around_a_row_do_no_harm() -> None:
    assert checked(b"  " + ROW + b" \r\n" + numbered(2) + b"\r\n").fault_count == 0


class Endless(RawIOBase):
    """A file of many rows that is never in memory as a whole."""

    def __init__(self, rows: int) -> None:
        self._lines: Iterator[bytes] = (numbered(number) + b"\n" for number in range(rows))

    def readline(self, limit: int | None = -1, /) -> bytes:
        return next(self._lines, b"")


def test_memory_grows_by_the_rows_compared_and_not_by_the_file() -> None:
    tracemalloc.start()
    try:
        rows = 20_000
        report = check_stream(Endless(rows))  # type: ignore[arg-type]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert report.rows == rows
    assert peak < rows * 200


def test_the_command_prints_one_document(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(ROW + b"\n{\n")
    done = subprocess.run(
        [sys.executable, "-m", "app.datasets.check", str(file)], capture_output=True, check=True
    )
    assert msgspec.json.decode(done.stdout, type=Report) == check(file)
    assert json.loads(done.stdout)["faults"][0]["line"] == 2


def test_the_command_says_in_a_sentence_that_there_is_no_file(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone.jsonl")
    done = subprocess.run([sys.executable, "-m", "app.datasets.check", gone], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("the file cannot be read: ")
    assert len(done.stderr.splitlines()) == 1


def test_the_check_loads_no_model_library() -> None:
    loaded = "import sys, app.datasets.check, app.datasets.tokenise; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
