"""Messages on the wire: headers, types, and the chain that a third party can verify."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from app.domain.files import FILES, RecordCheck, Uploaded
from app.log.codec import (
    CHAINED,
    FIRST_CHAIN,
    Command,
    Undecodable,
    command_record,
    event_record,
    read_command,
    read_event,
    timestamp,
)
from app.log.port import Partition, Received, Record

AT = datetime(2026, 11, 23, 12, 0, 0, 5, tzinfo=UTC)
BODY = Uploaded("acct-a", "train.jsonl", "fine-tune", 10, "aa", "files/a", "hash")
COMMAND = Command("cmd-1", "file-a", "key:key-1", "req-1", AT, None)


def received(record: Record) -> Received:
    return Received(Partition(record.topic, 0), 7, AT, record.key, record.value, record.headers)


def event(version: int = 1, chain: str = FIRST_CHAIN) -> tuple[Record, str]:
    return event_record(FILES, command=COMMAND, version=version, at=AT, chain=chain, body=BODY, partition=0)


def test_a_command_comes_back_as_it_was_sent() -> None:
    record = command_record(
        FILES,
        id="cmd-1",
        aggregate_id="file-a",
        actor="key:key-1",
        correlation_id="req-1",
        source="api",
        body=RecordCheck("chat", 4, 0),
    )
    read = read_command(FILES, received(record))
    assert read == Command("cmd-1", "file-a", "key:key-1", "req-1", AT, RecordCheck("chat", 4, 0))
    assert record.key == "file-a"


def test_an_event_comes_back_as_it_was_written() -> None:
    record, chain = event()
    read = read_event(FILES, received(record))
    assert (read.id, read.version, read.at, read.body, read.chain) == ("file-a:1", 1, AT, BODY, chain)


def test_an_event_is_a_cloudevent_in_binary_mode() -> None:
    headers = dict(event()[0].headers)
    assert headers["ce_specversion"] == b"1.0"
    assert headers["ce_type"] == b"tunesmith.file.uploaded.v2"
    assert headers["ce_source"] == b"/tunesmith/files"
    assert headers["ce_time"] == b"2026-11-23T12:00:00.000005Z"
    assert headers["content-type"] == b"application/json"


def test_a_time_always_has_six_places() -> None:
    assert timestamp(AT.replace(microsecond=0)) == "2026-11-23T12:00:00.000000Z"


def test_the_chain_can_be_computed_without_our_code() -> None:
    record, chain = event()
    found = dict(record.headers)
    parts = [b"0" * 64, *(found[name] for name in CHAINED), record.value or b""]
    assert hashlib.sha256(b"".join(b"%d:" % len(part) + part for part in parts)).hexdigest() == chain
    assert found["ce_chain"].decode() == chain


def test_each_event_hangs_on_the_one_before() -> None:
    _, first = event()
    assert event(2, first)[1] != event(2, FIRST_CHAIN)[1]


def test_an_unknown_type_is_told_by_its_place_before_it_is_decoded() -> None:
    record, _ = event()
    headers = tuple((k, b"tunesmith.file.moved.v1" if k == "ce_type" else v) for k, v in record.headers)
    with pytest.raises(
        Undecodable, match=r"tunesmith\.files\.events\.v1\[0\]@7 is of type tunesmith\.file\.moved\.v1"
    ):
        read_event(FILES, received(replace(record, headers=headers, value=b"not json")))


def test_a_broken_value_and_a_missing_header_are_told() -> None:
    record, _ = event()
    with pytest.raises(Undecodable, match=r"is no tunesmith\.file\.uploaded\.v2"):
        read_event(FILES, received(replace(record, value=b"{")))
    with pytest.raises(Undecodable, match="has no header 'ce_chain'"):
        read_event(FILES, received(replace(record, headers=record.headers[:-1])))
