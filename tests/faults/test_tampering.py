"""Somebody with the broker's trust, or the database's, changes what was written: both verifiers name it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable

import asyncpg
import pytest
from msgspec.structs import replace

from app.domain.streams import STREAMS
from app.domain.tunings import TUNINGS, Started
from app.log.audit import audit
from app.log.codec import Command, event_record
from app.log.kafka import KafkaLog
from app.log.port import Partition, Received, Record, read_all
from app.log.topics import declared, events
from app.projections.copies import read_model_copies
from examples.verify_log import verify
from tests.faults.conftest import projecting
from tests.faults.load import loading
from tests.faults.oracle import answered, caught_up
from tests.faults.story import story
from tests.handling import handling
from tests.servers import RemakeTopics

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
EVENTS = events("tunings")
WRONG_BY_BOTH = {"version", "chain", "terminal"}

Tamper = Callable[[list[Received]], list[Received]]


def honest(records: list[Received]) -> list[Received]:
    return records


def a_byte_flipped(records: list[Received]) -> list[Received]:
    value = bytearray(records[4].value or b"")
    value[len(value) // 2 - 1] ^= 1
    return [*records[:4], replace(records[4], value=bytes(value)), *records[5:]]


def two_flipped(records: list[Received]) -> list[Received]:
    first, second = a_byte_flipped(records), a_byte_flipped(records[2:])
    return [*first[:6], *second[4:]]


def one_removed(records: list[Received]) -> list[Received]:
    return records[:4] + records[5:]


def the_last_removed(records: list[Received]) -> list[Received]:
    return records[:-1]


def two_swapped(records: list[Received]) -> list[Received]:
    return [*records[:4], records[5], records[4], *records[6:]]


def one_told_twice(records: list[Received]) -> list[Received]:
    return [*records[:5], records[4], *records[5:]]


def one_after_the_end(records: list[Received]) -> list[Received]:
    last = records[-1]
    number = int(last.header("ce_sequence") or 0) + 1
    command = Command("cmd-x", last.key or "", "key:k", "r", last.at, None)
    record, _ = event_record(
        TUNINGS,
        command=command,
        version=number,
        at=last.at,
        chain=last.header("ce_chain") or "",
        body=Started(1),
        partition=0,
    )
    return [*records, Received(Partition(EVENTS, 0), 0, last.at, record.key, record.value, record.headers)]


async def told(bootstrap: str, database: str) -> dict[str, list[Received]]:
    """Two jobs' stories, decided and projected; every record of every topic."""
    log = KafkaLog(bootstrap)
    async with loading(log) as load, handling(log, "tunings"), projecting(log, database):
        await load.send([one for number in range(2) for one in story(f"job-{number}")])
        await answered(log, load.sent)
        await caught_up(log, database)
    return {topic.name: [one async for one in read_all(log, topic.name)] for topic in declared("embedded")}


async def copied(bootstrap: str, kept: dict[str, list[Received]], tamper: Tamper) -> None:
    """The log once more, its tunings' events changed."""
    writer = await KafkaLog(bootstrap).writer()
    for name, records in kept.items():
        for one in tamper(records) if name == EVENTS else records:
            await writer.send(Record(name, one.key, one.value, one.headers, one.partition.number))
    await writer.close()


@pytest.mark.parametrize(
    ("tamper", "kind", "named"),
    [
        (honest, "", ""),
        (a_byte_flipped, "chain", "job-0:5"),
        (two_flipped, "chain", "job-0:5"),
        (one_removed, "version", "job-0:6"),
        (the_last_removed, "cut off", "job-1"),
        (two_swapped, "version", "job-0:6"),
        (one_told_twice, "version", "job-0:5"),
        (one_after_the_end, "terminal", "job-1:10"),
    ],
)
async def test_what_was_done_to_the_events_is_named(
    remake_topics: RemakeTopics, database: str, tamper: Tamper, kind: str, named: str
) -> None:
    kept = await told(await remake_topics(), database)
    bootstrap = await remake_topics()
    await copied(bootstrap, kept, tamper)
    found = await audit(KafkaLog(bootstrap), STREAMS.values(), await read_model_copies(database))
    if not kind:
        assert found.wrong == {}
    else:
        assert named in found.wrong[kind], found.wrong
    status, said = await log_verify(bootstrap, database)
    assert status == (1 if kind else 0), said
    assert not kind or named in next(line for line in said.splitlines() if f"wrong ({kind})" in line)
    # What needs neither states nor read model, a third party finds with its own code.
    theirs = (await verify(bootstrap)).wrong
    assert theirs.keys() & WRONG_BY_BOTH == found.wrong.keys() & WRONG_BY_BOTH
    assert kind not in WRONG_BY_BOTH or "job-" in theirs[kind]


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        (None, ""),
        ("UPDATE read.tunings SET status = 'running' WHERE id = 'job-1'", "job-1"),
        ("DELETE FROM read.tuning_events WHERE tuning_id = 'job-0' AND version = 3", "job-0"),
    ],
)
async def test_a_row_of_the_read_model_that_was_edited_is_named_by_the_command(
    topics: str, database: str, harm: str | None, named: str
) -> None:
    await told(topics, database)
    if harm is not None:
        connection = await asyncpg.connect(database)
        await connection.execute(harm)
        await connection.close()
    status, said = await log_verify(topics, database)
    if harm is None:
        assert (status, "the log is whole" in said) == (0, True), said
    else:
        assert (status, "wrong (the read model): the read model's row" in said, named in said) == (
            1,
            True,
            True,
        ), said


async def test_both_verifiers_can_run_while_writes_go_on(topics: str, database: str) -> None:
    log = KafkaLog(topics)
    read: list[int] = []
    async with loading(log) as load, handling(log, "tunings"), projecting(log, database):
        async with load.going_on("job"):
            for _ in range(3):
                before = len(load.sent)
                async with asyncio.timeout(20):
                    while len(load.sent) < before + 10:
                        await asyncio.sleep(0.02)
                await answered(log, [*load.sent])
                (status, said), theirs = await asyncio.gather(log_verify(topics, database), verify(topics))
                assert status == 0, said
                assert theirs.wrong == {}
                read.append(theirs.events)
        await answered(log, load.sent)
    assert 0 < read[0] < read[1] < read[2]


async def log_verify(bootstrap: str, database: str) -> tuple[int | None, str]:
    """Exit status and output of `tunesmith-server log verify`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "app.cli", "log", "verify"),
        env=os.environ | {"TUNESMITH_KAFKA": bootstrap, "TUNESMITH_DATABASE": database},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    return process.returncode, out.decode()
