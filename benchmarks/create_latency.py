"""How long a client waits for `tunings.create`, against the floor: one Kafka transaction, sent and read.

    python -m benchmarks.create_latency [--creates 500]

A create is decided, committed, projected and read back before it is answered. The floor is what no service on
this log could go below: a record through a transaction to a read_committed consumer. Both are measured in
turns, by one client, and the ratio of their medians is the figure to watch.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any
from uuid import uuid4

from aiokafka.admin import NewTopic
from tunesmith import AsyncTuningClient

from app.log.kafka import KafkaLog
from app.log.kafka_clients import administrator
from app.log.port import Partition, Record, Start
from benchmarks.report import percentile, table, written
from benchmarks.service import Service, running_service

MODEL = "smollm2-135m-instruct"
ROW = b'{"messages": [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2"}]}\n'
WARM_UP = 50
ROUND = 25


def main() -> None:
    arguments = argparse.ArgumentParser(description="Latency of tunings.create at one client.")
    arguments.add_argument("--creates", type=int, default=500)
    given = arguments.parse_args()
    with running_service() as service:
        creates, floor = asyncio.run(measured(service, given.creates))
    sides = {"tunings.create, one client": creates, "one transaction, sent and read": floor}
    figures: dict[str, Any] = {
        name: {"p50": percentile(times, 50), "p99": percentile(times, 99)} for name, times in sides.items()
    }
    ratio = percentile(creates, 50) / percentile(floor, 50)
    rows = [[name, f"{one['p50']:.1f}", f"{one['p99']:.1f}"] for name, one in figures.items()]
    print(table(["", "p50 ms", "p99 ms"], [*rows, ["ratio of the medians", f"{ratio:.2f}", ""]]))
    written("create_latency", figures | {"ratio": ratio}, {})


async def measured(service: Service, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each create and of each bare transaction, taken in turns."""
    log, topic = KafkaLog(service.kafka), f"bench.{uuid4().hex}"
    async with administrator({"bootstrap_servers": service.kafka}, "make a topic") as admin:
        await admin.create_topics([NewTopic(topic, 1, 1)])
    writer = await log.transactional_writer(topic)
    reader = await log.reader({Partition(topic, 0): Start.FIRST})

    async def transaction() -> None:
        await writer.commit([Record(topic, "key", b"value")])
        while not await reader.fetch(10, 1.0):
            pass

    async with AsyncTuningClient(service.key, base_url=service.url) as client:
        file = await client.files.upload(ROW, filename="row.jsonl")

        async def create() -> None:
            await client.tunings.create(MODEL, file.id)

        for _ in range(WARM_UP):
            await create()
            await transaction()
        creates: list[float] = []
        floor: list[float] = []
        while len(creates) < count:
            for what, times in ((create, creates), (transaction, floor)):
                for _ in range(ROUND):
                    began = time.perf_counter()
                    await what()
                    times.append((time.perf_counter() - began) * 1000)
    await reader.close()
    await writer.close()
    return creates, floor


if __name__ == "__main__":
    main()
