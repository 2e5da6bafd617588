from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path

import msgspec
import pytest

from app.datasets import sources
from app.datasets.check import FAULTS_FILE, LONG_ROW, WARNINGS_FILE, Report, check
from app.datasets.json_rows import decode
from app.datasets.lines import LONGEST_LINE
from app.datasets.spool import faults_of

ROW = b'{"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "bye"}]}'


def checked(content: bytes) -> Report:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        return check(Path(file.name))


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
    assert places(report) == [
        *((2, "not_json"), (3, "no_messages"), (5, "not_an_object")),
        *((6, "not_finite"), (6, "no_messages")),
    ]
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
        (b"PK\x03\x04rest\nof it\n", [(1, "not_jsonl")]),
        (gzip.compress(gzip.compress(ROW)), [(1, "not_jsonl")]),
        (b"\x1f\x8b\x09\x00rest\nof it\n", [(1, "gzip_broken")]),
        (b"PAR1\nrest", [(1, "not_jsonl")]),
        (b"[" + ROW + b",\n" + ROW + b"]", [(1, "json_array")]),
        (b"[" + ROW + b"]\n", [(1, "json_array")]),
        (b"[\n" + ROW + b"\n]\n", [(1, "json_array")]),
        (b"messages,role\nhello,user\n", [(1, "not_json"), (2, "not_json")]),
        (ROW.replace(b'"', b"'"), [(1, "not_json")]),
        (ROW + b",", [(1, "not_json")]),
        (b'{"messages": "a\x00b"}', [(1, "not_json")]),
        (b"[" * 100_000 + b"]" * 100_000, [(1, "too_deep"), (1, "not_an_object")]),
        (b'{"text": "a", "b": ' + b"[" * 5_000, [(1, "too_deep")]),
        (ROW[:-1] + b', "a": ' + b"[" * 120 + b"]" * 120 + b"}", [(1, "too_deep")]),
        (b'{"text": "a"}\n' + ROW, [(2, "mixed_formats")]),
        (b'{"text": "a", "text": "b"}', [(1, "duplicate_key")]),
        (b'{"text": "a\\u0000b"}', [(1, "nul_character")]),
        (b'{"text": "a\\ud800b"}', [(1, "lone_surrogate")]),
        (b'{"text": 1e999}', [(1, "not_finite"), (1, "not_text")]),
        (b'{"text": ' + b"9" * 5000 + b"}", [(1, "not_json")]),
    ],
)
def test_content_that_is_no_chat_file_gets_its_fault(content: bytes, expected: list[tuple[int, str]]) -> None:
    assert places(checked(content)) == expected


def test_a_fault_says_what_to_do() -> None:
    for content in (b"{", ROW + b",", ROW.replace(b'"', b"'"), b"\xff\xfe", b'{"text": ""}', b'{"a": NaN}'):
        assert all(fault.fix for fault in checked(content).faults)


@pytest.mark.parametrize(
    ("lacking", "line"),
    [
        ("}", ROW[:-1]),
        ("]}", ROW[:-2]),
        ("}]}", ROW[:-3]),
        ('"}', b'{"text": "it says \\"{[ '),
    ],
)
def test_an_object_that_is_not_closed_is_told_what_it_lacks(lacking: str, line: bytes) -> None:
    [fault] = checked(line).faults
    assert fault.fix.startswith(f"write `{lacking}` at the end of the line")
    assert checked(line + lacking.encode()).fault_count == 0


def test_what_json_leaves_open_is_told_by_its_place_and_with_the_rows_own_faults() -> None:
    messages = b'[{"role": "user", "role": "human", "content": "a\\u0000"}]'
    report = checked(b'{"messages": ' + messages + b', "x/": {"a": 1, "a": 2, "a": 3}}')
    assert [(fault.code, fault.pointer) for fault in report.faults] == [
        ("duplicate_key", "/messages/0/role"),
        ("duplicate_key", "/x~1/a"),
        ("nul_character", "/messages/0/content"),
        ("bad_role", "/messages/0/role"),
    ]
    assert (report.rows, report.format) == (0, "chat")


@pytest.mark.parametrize("depth", [120, 20_000])
def test_a_line_with_no_number_or_too_deep_is_told_whole(depth: int) -> None:
    deep = b"[" * depth + b'"\\"]", {"a": NaN}' + b"]" * depth
    question = b'{"role": "human", "content": "a", "x": -Infinity, "x": 1e999}'
    line = b'{"messages": [' + question + b'], "deep": {"b": ' + deep + b"}, " + b'"c": NaN}'
    report = checked(line + b"\n" + ROW)
    assert [(fault.code, fault.pointer) for fault in report.faults] == [
        ("too_deep", "/deep/b" + "/0" * 98),
        ("not_finite", "/messages/0/x"),
        ("not_finite", "/c"),
        ("duplicate_key", "/messages/0/x"),
        ("bad_role", "/messages/0/role"),
    ]
    assert report.faults[1].message == "JSON has no number 1e999"
    assert (report.rows, report.format) == (1, "chat")


def test_a_line_that_is_all_faults_is_told_up_to_a_bound() -> None:
    is_row, _, faults = decode('{"text": [' + "NaN," * 20_000 + "1]}")
    assert (is_row, len(faults), faults[-1].code) == (True, 10_001, "more_faults")


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


def test_every_fault_is_kept_and_the_report_holds_the_first(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b"{\n" * 5_000)
    report = check(file, tmp_path, first=10)
    assert (report.fault_count, len(report.faults)) == (5_000, 10)
    assert report.faults[-1].line == 10
    written = (tmp_path / FAULTS_FILE).read_bytes()
    assert [fault.line for fault in faults_of(written)] == list(range(1, 5_001))
    places = report.kept_faults.places
    assert (report.kept_faults.count, len(places), places[-1]) == (5_000, 6, len(written))
    assert [fault.line for fault in faults_of(written[places[3] : places[4]])] == list(range(3_001, 4_001))


def test_warnings_of_every_kind_come_in_the_order_of_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    unused = ROW.replace(b'"hello"', b'"hello", "x": 1')  # trains the same
    file.write_bytes(b"\n".join([ROW, b"", unused, numbered(1), b"", ROW]))
    report = check(file, tmp_path)
    expected = [
        (2, "blank_line"),
        (3, "unused_field"),
        (3, "duplicate_row"),
        (5, "blank_line"),
        (6, "duplicate_row"),
    ]
    assert [(fault.line, fault.code) for fault in report.warnings] == expected
    written = faults_of((tmp_path / WARNINGS_FILE).read_bytes())
    assert (tuple(written), report.warning_count) == (report.warnings, 5)


def test_a_row_that_is_longer_than_models_read_warns() -> None:
    report = checked(ROW.replace(b"hello", b"a" * LONG_ROW) + b"\n" + ROW)
    assert [(fault.line, fault.code) for fault in report.warnings] == [(1, "long_row")]


def test_a_packed_file_is_checked_as_what_is_in_it() -> None:
    content = b"\n".join([ROW, numbered(2), b"{", numbered(4)])
    plain, packed = checked(content), checked(gzip.compress(content))
    assert packed.sha256 == hashlib.sha256(gzip.compress(content)).hexdigest() != plain.sha256
    assert packed.statistics.bytes == len(gzip.compress(content))
    assert packed.statistics.unpacked_bytes == plain.statistics.unpacked_bytes == len(content)
    assert (packed.faults, packed.rows, places(packed)) == (plain.faults, 3, [(3, "not_json")])


def test_a_packed_file_that_breaks_off_is_told_with_the_line_it_reached() -> None:
    rows = b"".join(hashlib.sha256(b"%d" % number).hexdigest().encode() for number in range(100))
    packed = gzip.compress(b"".join(numbered(number) + b"\n" for number in range(3)) + b'{"text": "' + rows)
    [fault] = checked(packed[:-100]).faults
    assert (fault.line, fault.code) == (3, "gzip_truncated")
    changed = bytearray(packed)
    changed[-5] ^= 1  # of the checksum
    assert [fault.code for fault in checked(bytes(changed)).faults][-1] == "gzip_broken"
    assert checked(b"".join(gzip.compress(numbered(one) + b"\n") for one in range(3))).rows == 3


def test_a_bomb_is_told_before_it_goes_off(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = gzip.compress(b" " * (80 * 1024**2), compresslevel=9)
    [fault] = checked(bomb).faults
    assert (fault.code, fault.message) == ("gzip_bomb", "the file unpacks to more than 200 times its size")
    monkeypatch.setattr(sources, "LARGEST_UNPACKED", 1000)
    [fault] = checked(gzip.compress(ROW * 20)).faults
    assert fault.code == "gzip_bomb"


def test_carriage_returns_and_spaces_around_a_row_do_no_harm() -> None:
    assert checked(b"  " + ROW + b" \r\n" + numbered(2) + b"\r\n").fault_count == 0


@pytest.mark.parametrize("line", [b"{", ROW, None])
def test_memory_grows_by_the_rows_compared_and_not_by_the_file(
    tmp_path: Path, line: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.datasets.sorting.IN_MEMORY", 500)
    peaks = []
    for rows in (2_000, 8_000):
        file = tmp_path / "rows.jsonl"
        file.write_bytes(b"".join((line or numbered(number)) + b"\n" for number in range(rows)))
        tracemalloc.start()
        try:
            report = check(file, first=100)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        assert report.rows + report.fault_count == rows
    assert peaks[1] < peaks[0] + 200_000, peaks


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
