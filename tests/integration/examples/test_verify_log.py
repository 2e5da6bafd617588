"""The verifier that uses none of our code, against a real broker."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from app.domain.files import FILES, DeleteFile, RecordCheck, RegisterFile
from app.log.aggregates import Aggregate, state_record
from app.log.audit import audit
from app.log.codec import encode, read_event
from app.log.history import history_of, past
from app.log.kafka import KafkaLog
from app.log.port import Received, Record, read_all
from app.log.topics import events
from tests.contract.golden import kept, record_of
from tests.handling import handling, replies_to, send
from tests.servers import RemakeTopics

pytestmark = pytest.mark.timeout(120)

VERIFIER = Path(__file__).parents[3] / "examples" / "verify_log.py"
STORY = (
    RegisterFile("acct-a", "train.jsonl", "fine-tune", 10, "aa", "files/a"),
    RecordCheck("chat", 4, 0),
    DeleteFile(),
)


def verified(bootstrap: str) -> tuple[int, str]:
    ran = subprocess.run([sys.executable, VERIFIER, bootstrap], capture_output=True, text=True, timeout=60)
    assert "Traceback" not in ran.stderr, ran.stderr
    return ran.returncode, ran.stdout


async def told(bootstrap: str) -> list[Received]:
    """Two files' stories on the log, by a real command handler; the events."""
    log = KafkaLog(bootstrap)
    async with handling(log, "files"):
        await send(log, FILES, "file-a", *STORY)
        await send(log, FILES, "file-b", *STORY)
        await replies_to(log, 6)
    return [one async for one in read_all(log, events("files"))]


async def written(bootstrap: str, records: list[Received]) -> None:
    """Write events past the command handler, as only somebody with the broker's trust could."""
    writer = await KafkaLog(bootstrap).writer()
    for one in records:
        await writer.send(Record(one.partition.topic, one.key, one.value, one.headers, one.partition.number))
    await writer.close()


async def test_an_honest_log_is_whole(topics: str) -> None:
    await told(topics)
    assert verified(topics) == (0, "6 events of 2 aggregates\nevery version and chain is whole\n")


async def test_an_empty_log_is_whole(topics: str) -> None:
    assert verified(topics) == (0, "0 events of 0 aggregates\nevery version and chain is whole\n")


def with_header(record: Received, name: str, value: bytes) -> Received:
    return replace(record, headers=tuple((key, value if key == name else old) for key, old in record.headers))


def other_value(record: Received) -> Received:
    return replace(record, value=(record.value or b"").replace(b"chat", b"chap"))


def other_actor(record: Received) -> Received:
    return with_header(record, "ce_actor", b"key:somebody-else")


def skipping_one(record: Received) -> Received:
    return with_header(record, "ce_sequence", b"3")


def no_number(record: Received) -> Received:
    return with_header(record, "ce_sequence", b"two")


def no_text(record: Received) -> Received:
    return with_header(record, "ce_subject", b"\xff")


def tombstone(record: Received) -> Received:
    return replace(record, value=None)


@pytest.mark.parametrize(
    ("forge", "kind"),
    [
        (other_value, "chain"),
        (other_actor, "chain"),
        (skipping_one, "version"),
        (no_number, "header"),
        (no_text, "header"),
        (tombstone, "chain"),
    ],
)
async def test_a_forged_event_is_named(
    remake_topics: RemakeTopics, forge: Callable[[Received], Received], kind: str
) -> None:
    honest = await told(await remake_topics())
    bootstrap = await remake_topics()
    await written(bootstrap, honest)
    assert verified(bootstrap)[0] == 0
    bootstrap = await remake_topics()
    await written(bootstrap, [honest[0], forge(honest[1]), *honest[2:]])
    status, said = verified(bootstrap)
    assert status == 1
    assert f"wrong {kind}: tunesmith.files.events.v1[0]@1" in said
    assert "NOT" in said


async def test_an_event_told_twice_is_named(topics: str) -> None:
    await written(topics, [(await told(topics))[-1]])
    status, said = verified(topics)
    assert status == 1
    assert "is at version 3, and then comes 3" in said


async def test_a_log_with_an_older_schema_is_whole_and_folded_alike(topics: str) -> None:
    """A v1 upload as it was written before schema 2, and what a handler of today adds to it."""
    old = record_of(kept("tunesmith.file.uploaded.v1")[0].read_bytes())
    await written(topics, [old])
    log = KafkaLog(topics)
    event = read_event(FILES, old)
    state = FILES.evolve(None, event.body, event.recorded)
    aggregate = Aggregate(event.aggregate_id, 1, event.chain, event.at, (), state)
    handler = await log.transactional_writer("tunesmith-files-0")
    await handler.commit([state_record(FILES, aggregate.id, encode(aggregate), 0)])
    await handler.close()
    async with handling(log, "files"):
        await send(log, FILES, event.aggregate_id, *STORY[1:])
        await replies_to(log, 2)
    assert verified(topics) == (0, "3 events of 1 aggregates\nevery version and chain is whole\n")
    found = await history_of(log, [FILES], event.aggregate_id)
    assert found is not None
    then = past(*found)
    assert then is not None
    assert (then.version, then.state.key, then.state.status) == (3, f"files/{event.aggregate_id}", "deleted")
    assert (await audit(log, [FILES], {})).wrong.keys() <= {"reply"}, "nobody asked for the v1 upload here"
