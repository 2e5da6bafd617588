"""Records written and read as fast as the broker can, past everything of ours."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from app.log import bounds
from app.log.port import Record

IN_FLIGHT = 8


async def append(bootstrap: str, records: Iterable[Record]) -> None:
    """Append records of one partition, in order, in batches as large as the broker takes."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        enable_idempotence=True,
        max_batch_size=bounds.LARGEST_RECORD_BYTES,
        max_request_size=bounds.LARGEST_RECORD_BYTES,
    )
    await producer.start()
    try:
        sent: list[Any] = []
        batch, last = producer.create_batch(), None
        for record in records:
            if not _added(batch, record):
                sent.append(await producer.send_batch(batch, record.topic, partition=record.partition or 0))
                batch = producer.create_batch()
                _added(batch, record)
            last = record
            while len(sent) > IN_FLIGHT:
                await sent.pop(0)
        if last is not None:
            sent.append(await producer.send_batch(batch, last.topic, partition=last.partition or 0))
        for future in sent:
            await future
    finally:
        await producer.stop()


def _added(batch: Any, record: Record) -> bool:
    key = record.key.encode() if record.key is not None else None
    added = batch.append(timestamp=None, key=key, value=record.value, headers=list(record.headers))
    return added is not None


async def read(bootstrap: str, topic: str, at_once: int = 5_000) -> tuple[int, float]:
    """Read a topic's first partition by aiokafka alone; how many records it has, and in how many seconds."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        there = TopicPartition(topic, 0)
        consumer.assign([there])
        end = (await consumer.end_offsets([there]))[there]
        await consumer.seek_to_beginning(there)
        count, began = 0, time.perf_counter()
        while await consumer.position(there) < end:
            for batch in (await consumer.getmany(timeout_ms=500, max_records=at_once)).values():
                count += len(batch)
        return count, time.perf_counter() - began
    finally:
        await consumer.stop()
