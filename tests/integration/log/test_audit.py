"""The audit of a log that no longer keeps every reply, as retention leaves it on a real broker."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from app.domain.files import FILES, RecordCheck, RegisterFile
from app.domain.streams import STREAMS
from app.log import audit as auditing
from app.log import topics
from app.log.audit import audit
from app.log.kafka import KafkaLog
from app.log.kafka_clients import administrator
from app.log.port import Partition, all_partitions, begins_of, read_all
from tests.deciding import decided
from tests.handler_contract import keys_of_partition
from tests.handling import handling, replies_to, send
from tests.servers import RemakeTopics

REGISTER = RegisterFile("acct-a", "train.jsonl", "fine-tune", 10, "aa", "files/a")


@pytest.fixture
async def log(remake_topics: RemakeTopics) -> KafkaLog:
    return KafkaLog(await remake_topics(3))


async def expired(log: KafkaLog, begins: dict[int, int]) -> None:
    """Forget the replies before these offsets, by partition; -1 is the end."""
    async with administrator({"bootstrap_servers": log.bootstrap}, "delete replies") as admin:
        await admin.delete_records(
            {TopicPartition(topics.REPLIES, n): RecordsToDelete(offset) for n, offset in begins.items()}
        )


async def test_replies_that_are_too_old_are_not_missed_and_younger_ones_are(
    log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditing, "A_TRANSACTION", timedelta())
    async with handling(log):
        for number in range(30):
            await send(log, FILES, f"file-{number}", REGISTER)
        await replies_to(log, 30)
        await asyncio.sleep(0.1)
        for number in range(30):
            await send(log, FILES, f"file-{number}", RecordCheck("chat", 4, 0), ids=[f"check-{number}"])
        await replies_to(log, 60)
    places = {one.key or "": one async for one in read_all(log, topics.REPLIES)}
    middle = min(one.offset for id, one in places.items() if id.startswith("check") and one.partition[1] == 1)
    await expired(log, {0: -1, 1: middle})  # and of the third everything is kept
    begins = await begins_of(log, await all_partitions(log, topics.REPLIES))
    assert begins[Partition(topics.REPLIES, 0)] > 0
    assert begins[Partition(topics.REPLIES, 1)] == middle
    assert begins[Partition(topics.REPLIES, 2)] == 0
    found = await audit(log, STREAMS.values(), {})
    assert found.wrong == {}
    assert found.events == 60

    late = (await keys_of_partition(log, 1, 100))[-1]
    await send(log, FILES, late, REGISTER, ids=["cmd-late"])
    commands = [
        one async for one in read_all(log, topics.commands("files")) if one.header("ce_id") == "cmd-late"
    ]
    made = decided(FILES, {}, commands).records
    writer = await log.transactional_writer("tunesmith-files-1")
    await writer.commit([record for record in made if record.topic != topics.REPLIES])
    await writer.close()
    found = await audit(log, STREAMS.values(), {})
    assert found.wrong == {"reply": f"command cmd-late made {late}:1 and has 0 replies, not 1"}
