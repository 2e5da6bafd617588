"""The port on Apache Kafka, by aiokafka."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import MessageSizeTooLargeError

from app.log import bounds
from app.log.access import OPEN, Access, access_of
from app.log.kafka_clients import administrator, bounded, started, stopped, translated
from app.log.kafka_membership import KafkaMembership
from app.log.kafka_transactions import KafkaTransactionalWriter, open_transactional_writer
from app.log.port import (
    Membership,
    Partition,
    Received,
    Record,
    RecordTooLarge,
    Start,
    Unavailable,
)
from app.settings import Settings

EPOCH = datetime.fromtimestamp(0, UTC)


def log_of(settings: Settings) -> KafkaLog:
    """The log that the settings name."""
    return KafkaLog(settings.kafka or "", access_of(settings))


class KafkaLog:
    """A log on the brokers at `bootstrap` (host:port, comma separated)."""

    def __init__(self, bootstrap: str, access: Access = OPEN) -> None:
        self.bootstrap = bootstrap
        self._common: dict[str, Any] = {
            "bootstrap_servers": bootstrap,
            "request_timeout_ms": bounds.REQUEST_TIMEOUT_MS,
            "retry_backoff_ms": bounds.RETRY_BACKOFF_MS,
            **access.options(),
        }
        self._counts: dict[str, int] = {}

    async def partition_count(self, topic: str) -> int:
        """Partitions never change after the first event, so one answer lasts."""
        if topic not in self._counts:
            async with administrator(self._common, f"ask for {topic}") as admin:
                [found] = await admin.describe_topics([topic])
            if not found["partitions"]:
                raise Unavailable(f"topic {topic} does not exist; run `tunesmith-server topics apply`")
            self._counts[topic] = len(found["partitions"])
        return self._counts[topic]

    async def writer(self) -> KafkaWriter:
        producer = AIOKafkaProducer(
            **self._common,
            enable_idempotence=True,
            linger_ms=0,
            max_batch_size=bounds.LARGEST_RECORD_BYTES,
            max_request_size=bounds.LARGEST_RECORD_BYTES,
        )
        await started(producer, "connect a producer", self._common)
        return KafkaWriter(producer)

    async def transactional_writer(self, transactional_id: str) -> KafkaTransactionalWriter:
        return await open_transactional_writer(transactional_id, self._common)

    async def reader(
        self, positions: Mapping[Partition, int | Start], *, follows: bool = True
    ) -> KafkaReader:
        consumer = AIOKafkaConsumer(
            **self._common,
            group_id=None,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            isolation_level="read_committed",
            fetch_max_wait_ms=bounds.FETCH_WAIT_MS if follows else 0,
            max_partition_fetch_bytes=bounds.FETCH_BYTES,
        )
        await started(consumer, "connect a consumer", self._common)
        try:
            async with bounded("set a reader's positions"):
                consumer.assign([TopicPartition(*partition) for partition in positions])
                for partition, start in positions.items():
                    there = TopicPartition(*partition)
                    if start is Start.FIRST:
                        await consumer.seek_to_beginning(there)
                    elif start is Start.END:
                        # position() would be lazy; a reader from the end must begin at the end as of now
                        consumer.seek(there, (await consumer.end_offsets([there]))[there])
                    else:
                        consumer.seek(there, start)
        except BaseException:
            await stopped(consumer)
            raise
        return KafkaReader(consumer)

    async def join(self, group: str, topics: Iterable[str]) -> Membership:
        membership = KafkaMembership(group, tuple(topics), self._common)
        await membership.start()
        return membership

    async def answers(self) -> None:
        async with administrator(self._common, "list topics") as admin:
            await admin.list_topics()

    async def close(self) -> None:
        """Nothing is shared between readers and writers."""


class KafkaWriter:
    """An idempotent producer."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer

    async def send(self, record: Record) -> int:
        try:
            async with bounded(f"write to {record.topic}"):
                sent = await self._producer.send(
                    record.topic,
                    record.value,
                    record.key.encode() if record.key is not None else None,
                    partition=record.partition,
                    headers=list(record.headers),
                )
                return int((await sent).offset)
        except MessageSizeTooLargeError as error:
            raise RecordTooLarge(str(error)) from error

    async def close(self) -> None:
        await stopped(self._producer)


class KafkaReader:
    """A consumer with assigned partitions."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    async def fetch(self, limit: int, wait: float) -> list[Received]:
        async with translated("read"):
            batches = await self._consumer.getmany(timeout_ms=int(wait * 1000), max_records=limit)
        received = []
        for there, records in batches.items():
            partition, at, timestamp = Partition(there.topic, there.partition), EPOCH, 0
            for record in records:
                if record.timestamp != timestamp:  # what was appended at once has one time
                    timestamp = record.timestamp
                    at = datetime.fromtimestamp(timestamp / 1000, UTC)
                key = record.key.decode() if record.key is not None else None
                received.append(Received(partition, record.offset, at, key, record.value, record.headers))
        return received

    async def position(self, partition: Partition) -> int:
        async with bounded("ask for a position"):
            return int(await self._consumer.position(TopicPartition(*partition)))

    async def end(self, partition: Partition) -> int:
        there = TopicPartition(*partition)
        async with bounded("ask for an end"):
            return int((await self._consumer.end_offsets([there]))[there])

    async def ends(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        async with bounded("ask for ends"):
            found = await self._consumer.end_offsets([TopicPartition(*one) for one in partitions])
        return {one: int(found[TopicPartition(*one)]) for one in partitions}

    async def close(self) -> None:
        await stopped(self._consumer)
