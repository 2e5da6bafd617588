"""The verifier that uses none of our code, against a real broker."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from app.domain.files import FILES, DeleteFile, RecordCheck, RegisterFile
from app.log.kafka import KafkaLog
from app.log.port import Received, Record, read_all
from app.log.topics import events
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
    assert not ran.stderr, ran.stderr
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


@pytest.mark.parametrize(
    ("forge", "kind"), [(other_value, "chain"), (other_actor, "chain"), (skipping_one, "version")]
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
