"""A batch of commands: everything that one transaction holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from app.command_handler.batch import Batch
from app.domain.files import FILES, RecordCheck, RegisterFile
from app.log import bounds, topics
from app.log.aggregates import CURSOR_KEY, read_aggregate
from app.log.codec import FIRST_CHAIN, Reply, chain_hash, command_record, read_event
from app.log.port import Partition, Received, Record
from tests.deciding import decided

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
THERE = Partition(topics.commands("files"), 0)
REGISTER = RegisterFile("acct-a", "train.jsonl", "fine-tune", 10, "aa", "files/a", "hash")
CHECK = RecordCheck("chat", 4, 0)


def command(
    body: Any, offset: int = 0, id: str = "cmd-1", file: str = "file-a", at: datetime = AT
) -> Received:
    record = command_record(
        FILES, id=id, aggregate_id=file, actor="key:k", correlation_id="req-1", source="api", body=body
    )
    return Received(THERE, offset, at, record.key, record.value, record.headers)


def decide(*commands: Received, states: dict[str, bytes] | None = None) -> Batch:
    return decided(FILES, states or {}, commands)


def replies(batch: Batch) -> list[Reply]:
    return [
        msgspec.json.decode(r.value or b"", type=Reply) for r in batch.records if r.topic == topics.REPLIES
    ]


def events(batch: Batch) -> list[Record]:
    return [record for record in batch.records if record.topic == topics.events("files")]


def test_a_command_makes_events_a_reply_a_state_and_the_cursor() -> None:
    batch = decide(command(REGISTER, offset=41))
    assert [record.topic.split(".")[-2] for record in batch.records] == [
        "events",
        "replies",
        "state",
        "state",
    ]
    [reply] = replies(batch)
    assert (reply.command_id, reply.accepted, reply.version) == ("cmd-1", True, 1)
    assert read_aggregate(FILES, batch.states["file-a"]).state.filename == "train.jsonl"
    cursor = batch.records[-1]
    assert (cursor.key, cursor.value) == (CURSOR_KEY, b'{"next_offset":42}')


def test_commands_of_one_batch_build_on_one_another() -> None:
    batch = decide(command(REGISTER), command(CHECK, offset=1, id="cmd-2"))
    assert [reply.version for reply in replies(batch)] == [1, 2]
    aggregate = read_aggregate(FILES, batch.states["file-a"])
    assert (aggregate.version, aggregate.state.status) == (2, "processed")


def test_versions_are_contiguous_and_each_event_hangs_on_the_one_before() -> None:
    batch = decide(command(REGISTER), command(CHECK, offset=1, id="cmd-2"))
    chain = FIRST_CHAIN
    for version, record in enumerate(events(batch), start=1):
        read = read_event(FILES, Received(THERE, 0, AT, record.key, record.value, record.headers))
        assert read.version == version
        chain = chain_hash(chain, record.headers, record.value or b"")
        assert read.chain == chain
    assert read_aggregate(FILES, batch.states["file-a"]).chain == chain


def test_a_command_decided_before_gets_the_first_reply_and_no_event() -> None:
    first = decide(command(REGISTER), command(CHECK, offset=1, id="cmd-2"))
    again = decide(command(REGISTER, offset=2), states=first.states)
    assert events(again) == []
    [reply] = replies(again)
    assert (reply.accepted, reply.repeated, reply.version) == (True, True, 1)
    assert again.states == {}


def test_the_same_command_twice_in_one_batch_is_decided_once() -> None:
    batch = decide(command(REGISTER), command(REGISTER, offset=1))
    assert len(events(batch)) == 1
    assert [reply.repeated for reply in replies(batch)] == [False, True]


def test_the_last_64_accepted_commands_are_remembered() -> None:
    batch = decide(*(command(REGISTER, offset=n, id=f"cmd-{n}") for n in range(100)))
    recent = read_aggregate(FILES, batch.states["file-a"]).recent
    assert len(recent) == bounds.REMEMBERED_COMMANDS
    assert recent[-1].command_id == "cmd-99"


def test_a_refused_command_gets_its_reason_and_leaves_nothing() -> None:
    batch = decide(command(CHECK))
    [reply] = replies(batch)
    assert (reply.accepted, reply.code) == (False, "not_found")
    assert (events(batch), batch.states) == ([], {})


def test_a_refused_command_is_decided_again_when_it_comes_again() -> None:
    batch = decide(command(CHECK), command(REGISTER, offset=1, id="cmd-2"), command(CHECK, offset=2))
    assert [reply.accepted for reply in replies(batch)] == [False, True, True]


def test_a_command_that_cannot_be_read_is_refused_and_the_rest_of_its_batch_unharmed() -> None:
    broken = msgspec.structs.replace(command(REGISTER), value=b"{")
    batch = decide(broken, command(REGISTER, offset=1, id="cmd-2"))
    assert [reply.code for reply in replies(batch)] == ["malformed_command", None]
    assert len(events(batch)) == 1
    assert batch.next_offset == 2


def test_a_command_that_does_not_even_say_who_asks_is_passed_over() -> None:
    nameless = msgspec.structs.replace(command(REGISTER), headers=())
    batch = decide(nameless)
    assert [record.key for record in batch.records] == [CURSOR_KEY]


def test_a_command_whose_event_would_be_too_large_is_refused_alone() -> None:
    huge = RegisterFile("acct-a", "x" * bounds.LARGEST_RECORD_BYTES, "fine-tune", 10, "aa", "files/a", "hash")
    batch = decide(command(huge), command(REGISTER, offset=1, id="cmd-2", file="file-b"))
    assert [reply.code for reply in replies(batch)] == ["too_large", None]
    assert list(batch.states) == ["file-b"]


def test_a_command_that_breaks_its_decider_is_refused_alone() -> None:
    def decide_or_break(state: Any, body: Any, context: Any) -> Any:
        if context.aggregate_id == "file-a":
            raise ZeroDivisionError
        return FILES.decide(state, body, context)

    fragile = msgspec.structs.replace(FILES, decide=decide_or_break)
    commands = [command(REGISTER), command(REGISTER, offset=1, id="cmd-2", file="file-b")]
    batch = decided(fragile, {}, commands)
    assert [reply.code for reply in replies(batch)] == ["internal_error", None]
    assert list(batch.states) == ["file-b"]
    assert batch.next_offset == 2


def test_headers_that_are_not_text_harm_nobody() -> None:
    sent = command(REGISTER)
    garbled = tuple((name, b"\xff\xfe" if name == "ce_id" else value) for name, value in sent.headers)
    batch = decide(msgspec.structs.replace(sent, headers=garbled), command(REGISTER, offset=1, id="cmd-2"))
    assert [reply.code for reply in replies(batch)] == ["malformed_command", None]


def test_time_never_goes_back_within_an_aggregate() -> None:
    earlier = AT - timedelta(hours=1)
    batch = decide(command(REGISTER), command(CHECK, offset=1, id="cmd-2", at=earlier))
    assert [dict(record.headers)["ce_time"] for record in events(batch)] == [
        b"2026-11-23T12:00:00.000000Z"
    ] * 2
