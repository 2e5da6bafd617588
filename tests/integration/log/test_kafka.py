"""The log on Kafka keeps what every log must, and what only a real broker can show."""

from __future__ import annotations

import asyncio
import inspect

import aiokafka.producer.sender as sender
import pytest
from aiokafka.admin import NewTopic
from aiokafka.errors import RequestTimedOutError

from app.log.kafka import KafkaLog
from app.log.kafka_clients import administrator
from app.log.kafka_membership import KafkaMembership
from app.log.kafka_transactions import GuardedSender, KafkaTransactionalWriter
from app.log.port import OutcomeUnknown, Partition, RecordTooLarge, Start, Unavailable
from tests.log_contract import EVENTS, LogContract, everything, fetched, record, values
from tests.servers import RemakeTopics


class TestKafkaLog(LogContract):
    @pytest.fixture
    async def log(self, remake_topics: RemakeTopics) -> KafkaLog:
        return KafkaLog(await remake_topics(3))


async def test_an_open_transaction_of_the_predecessor_is_never_seen(topics: str) -> None:
    log = KafkaLog(topics)
    first = await log.transactional_writer("t")
    await first._producer.begin_transaction()
    await first._producer.send_and_wait(EVENTS, b"torn", b"a", partition=0)
    second = await log.transactional_writer("t")
    await second.commit([record(EVENTS, "a", "whole", 0)])
    assert values(await everything(log, EVENTS)) == ["whole"]
    first._broken = True
    await first.close()
    await second.close()


async def test_an_end_of_transaction_without_an_answer_is_sent_once_and_fatal(
    topics: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = KafkaLog(topics)
    writer = await log.transactional_writer("t")
    await writer.commit([record(EVENTS, "a", "1", 0)])
    sent = unanswered(writer, monkeypatch)
    with pytest.raises(OutcomeUnknown):
        await writer.commit([record(EVENTS, "a", "2", 0)])
    with pytest.raises(OutcomeUnknown):
        await writer.commit([record(EVENTS, "a", "3", 0)])
    assert sent == ["EndTxnRequest"]
    await writer.close()
    successor = await log.transactional_writer("t")  # its fence settles what became of the second
    await successor.commit([record(EVENTS, "a", "4", 0)])
    await successor.close()
    assert values(await everything(log, EVENTS)) in (["1", "4"], ["1", "2", "4"])


def unanswered(writer: KafkaTransactionalWriter, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the producer's client time out on every EndTxn; the requests that met with it."""
    client = writer._producer.client
    really, sent = client.send, []

    async def send(node_id: int, request: object, **options: object) -> object:
        if type(request).__name__.startswith("EndTxn"):
            sent.append("EndTxnRequest")
            raise RequestTimedOutError
        return await really(node_id, request, **options)

    monkeypatch.setattr(client, "send", send)
    return sent


def test_the_insides_of_aiokafka_that_the_guard_relies_on_are_as_they_were() -> None:
    """When this fails, aiokafka has changed: read its new `_do_txn_commit`, then mend `GuardedSender`."""
    guarded = inspect.getsource(sender.Sender._do_txn_commit)
    for relied_on in (
        "flush_for_commit",
        "is_empty_transaction",
        "complete_transaction",
        "EndTxnHandler(self",
    ):
        assert relied_on in guarded
    assert "_do_txn_commit(commit_result)" in inspect.getsource(sender.Sender._maybe_do_transactional_request)
    assert sender.BACKOFF_OVERRIDE == 0.002
    assert issubclass(GuardedSender, sender.Sender)


async def test_a_broker_that_is_not_there_is_told_in_a_sentence() -> None:
    with pytest.raises(Unavailable, match="Kafka"):
        await KafkaLog("127.0.0.1:9").answers()


async def test_a_topic_that_is_not_there_is_told_with_what_to_do(topics: str) -> None:
    with pytest.raises(Unavailable, match="topics apply"):
        await KafkaLog(topics).partition_count("tunesmith.nothing.v1")


async def test_a_cancelled_commit_leaves_no_stuck_writer_behind(topics: str) -> None:
    log = KafkaLog(topics)
    writer = await log.transactional_writer("t")
    committing = asyncio.create_task(writer.commit([record(EVENTS, "a", "1", 0)]))
    await asyncio.sleep(0)
    committing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await committing
    async with asyncio.timeout(10):
        await writer.close()
    successor = await log.transactional_writer("t")
    await successor.commit([record(EVENTS, "a", "2", 0)])
    reader = await log.reader({Partition(EVENTS, 0): Start.FIRST})
    assert (await fetched(reader, 1))[-1].value in (b"1", b"2")
    await reader.close()
    await successor.close()


async def test_a_member_is_paused_whatever_it_is_assigned(remake_topics: RemakeTopics) -> None:
    log = KafkaLog(await remake_topics(3))
    first = await log.join("test-paused", [EVENTS])
    second = None
    try:
        assert len(await first.changed()) == 3
        second = await log.join("test-paused", [EVENTS])
        shares = await asyncio.gather(first.changed(), second.changed())
        assert sorted(len(one) for one in shares) == [1, 2]
        for member in (first, second):
            assert isinstance(member, KafkaMembership)
            assert member._consumer is not None
            assert member._consumer.paused() == member._consumer.assignment() != set()
    finally:
        await first.close()
        if second is not None:
            await second.close()


async def test_a_record_that_the_broker_refuses_takes_its_whole_transaction_with_it(
    topics: str, topic_prefix: str
) -> None:
    """aiokafka would commit what it could send; each record's own answer tells better."""
    narrow = f"{topic_prefix}narrow"
    async with administrator({"bootstrap_servers": topics}, "make a topic") as admin:
        await admin.create_topics([NewTopic(narrow, 1, 1, topic_configs={"max.message.bytes": "10000"})])
    log = KafkaLog(topics)
    writer = await log.transactional_writer("t-narrow")
    with pytest.raises(RecordTooLarge):
        await writer.commit([record(EVENTS, "a", "small", 0), record(narrow, "a", "x" * 50_000, 0)])
    await writer.close()
    successor = await log.transactional_writer("t-narrow")
    await successor.commit([record(EVENTS, "a", "after", 0)])
    await successor.close()
    assert values(await everything(log, EVENTS)) == ["after"]
