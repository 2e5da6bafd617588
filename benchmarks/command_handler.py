"""Commands a second that the command handler decides while it drains a backlog.

    python -m benchmarks.command_handler [--commands 50000] [--rounds 3]

The commands are real ones through real transactions. Two backlogs: creates alone, and whole lives (create,
assign, started, three epochs, succeeded), some hundred of them at a time. Beside it the floor: bare aiokafka
that reads the same commands in as large batches, and writes the very records that the handler wrote in as
many transactions, deciding nothing.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Sequence
from functools import partial

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from app.command_handler.batch import decide_batch
from app.domain.tunings import TUNINGS
from app.log import bounds, topics
from app.log.kafka import KafkaLog
from app.log.port import Partition, Record, Start
from benchmarks import bulk
from benchmarks.draining import drain
from benchmarks.lives import COMMANDS_A_LIFE, commands
from benchmarks.report import median, table, written
from benchmarks.servers import run, running_broker

GOAL = 20_000
BACKLOGS = {"creates": True, "lives": False}


def main() -> None:
    parser = argparse.ArgumentParser(description="Commands a second, from a backlog.")
    parser.add_argument("--commands", type=int, default=42_000, help="in each backlog")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    figures: dict[str, dict[str, float]] = {}
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in BACKLOGS}
    for _ in range(given.rounds):
        for name, creates_only in BACKLOGS.items():
            with running_broker() as broker:
                rounds[name].append(run(partial(_round, broker.bootstrap, given.commands, creates_only)))
    for name, pairs in rounds.items():
        figures[name] = {
            "commands_per_second": median([ours for ours, _ in pairs]),
            "floor_per_second": median([floor for _, floor in pairs]),
            "ratio": median([ours / floor for ours, floor in pairs]),
        }
    rows = [
        [
            name,
            *(f"{one[key]:,.0f}" for key in ("commands_per_second", "floor_per_second")),
            f"{one['ratio']:.2f}",
        ]
        for name, one in figures.items()
    ]
    print(table(["backlog", "commands/s", "floor/s", "ratio"], rows))
    goals = {
        f"{name}: {GOAL:,} commands/s": one["commands_per_second"] >= GOAL for name, one in figures.items()
    }
    written("command_handler", figures, goals)


async def _round(bootstrap: str, count: int, creates_only: bool) -> tuple[float, float]:
    """Commands a second of the handler and of the floor."""
    jobs = count if creates_only else count // COMMANDS_A_LIFE
    count = jobs if creates_only else jobs * COMMANDS_A_LIFE
    await bulk.append(bootstrap, commands(jobs, creates_only=creates_only))
    drained = await drain(bootstrap, count)
    floor = await _bare(bootstrap, count, await _transactions(bootstrap))
    return count / (drained.ended - drained.began), count / floor


async def _transactions(bootstrap: str) -> list[list[Record]]:
    """What the handler writes, decided once more in memory."""
    there = Partition(topics.commands(TUNINGS.stream), 0)
    reader = await KafkaLog(bootstrap).reader({there: Start.FIRST})
    states: dict[str, bytes] = {}
    made = []
    try:
        end = await reader.end(there)
        while await reader.position(there) < end:
            if commands := await reader.fetch(bounds.LARGEST_BATCH, 0.5):
                batch = await decide_batch(TUNINGS, states, commands, 1)
                states.update(batch.states)
                made.append(batch.records)
    finally:
        await reader.close()
    gc.freeze()  # what waits to be written is none of the floor's garbage
    return made


async def _bare(bootstrap: str, count: int, transactions: Sequence[Sequence[Record]]) -> float:
    """Seconds in which bare aiokafka reads the commands and writes these transactions."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed")
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        transactional_id="floor",
        max_batch_size=bounds.LARGEST_RECORD_BYTES,
        max_request_size=bounds.LARGEST_RECORD_BYTES,
    )
    await consumer.start()
    await producer.start()
    try:
        there = TopicPartition(topics.commands(TUNINGS.stream), 0)
        consumer.assign([there])
        began = time.perf_counter()
        await consumer.seek_to_beginning(there)
        left = list(transactions)
        while count > 0:
            for batch in (await consumer.getmany(timeout_ms=500, max_records=bounds.LARGEST_BATCH)).values():
                count -= len(batch)
                if left:
                    await _transaction(producer, left.pop(0))
        for records in left:
            await _transaction(producer, records)
        return time.perf_counter() - began
    finally:
        await producer.stop()
        await consumer.stop()


async def _transaction(producer: AIOKafkaProducer, records: Sequence[Record]) -> None:
    by_topic: dict[str, list[Record]] = {}
    for record in records:
        by_topic.setdefault(record.topic, []).append(record)
    await producer.begin_transaction()
    sent = []
    for topic, members in by_topic.items():
        batch = producer.create_batch()
        for record in members:
            key = record.key.encode() if record.key is not None else None
            headers = list(record.headers)
            if batch.append(timestamp=None, key=key, value=record.value, headers=headers) is None:
                sent.append(await producer.send_batch(batch, topic, partition=0))
                batch = producer.create_batch()
                batch.append(timestamp=None, key=key, value=record.value, headers=headers)
        sent.append(await producer.send_batch(batch, topic, partition=0))
    for future in sent:
        await future
    await producer.commit_transaction()


if __name__ == "__main__":
    main()
