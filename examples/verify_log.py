"""Verify a Tunesmith log with nothing but a Kafka client and hashlib: no code of the service is used.

    python examples/verify_log.py BOOTSTRAP

For each aggregate of each stream: versions are contiguous from 1, every event's `ce_chain` is the hash over
the one before it and over its own content, and nothing follows a terminal event. The first wrong record of
each kind is named; the exit status is 0 only if there is none. It can run while the service does: what is
there at the start is read.

The chain: SHA-256, in hex, over the `ce_chain` of the event before it in its aggregate (64 zeros for the
first), each header of `CHAINED` in that order, and the value; each of them preceded by its length in bytes,
decimal, and a colon.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

STREAMS = ("tunings", "files", "models", "accounts")
TERMINAL = {"tunesmith.tuning.succeeded", "tunesmith.tuning.failed", "tunesmith.tuning.cancelled"}
CHAINED = (
    "ce_specversion",
    "ce_id",
    "ce_type",
    "ce_source",
    "ce_subject",
    "ce_time",
    "ce_sequence",
    "ce_causationid",
    "ce_correlationid",
    "ce_actor",
)


@dataclass
class Aggregate:
    """What is known of one aggregate so far."""

    version: int = 0
    chain: str = "0" * 64
    ended: bool = False


@dataclass
class Verdict:
    """How much was read, and the first wrong record of each kind."""

    events: int = 0
    aggregates: dict[str, Aggregate] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)


def check(record: Any, verdict: Verdict) -> None:
    """Hold one event against what came before it."""
    where = f"{record.topic}[{record.partition}]@{record.offset}"
    verdict.events += 1
    headers = dict(record.headers)
    if missing := [name for name in (*CHAINED, "ce_chain") if name not in headers]:
        verdict.wrong.setdefault("header", f"{where} has no header {missing[0]}")
        return
    try:
        attributes = {name: headers[name].decode() for name in (*CHAINED, "ce_chain")}
        subject, version = attributes["ce_subject"], int(attributes["ce_sequence"])
    except ValueError as error:
        verdict.wrong.setdefault("header", f"{where} has a header that cannot be read: {error}")
        return
    known = verdict.aggregates.setdefault(subject, Aggregate())
    if version != known.version + 1:
        verdict.wrong.setdefault(
            "version", f"{where}: {subject} is at version {known.version}, and then comes {version}"
        )
    digest = hashlib.sha256()
    for part in (known.chain.encode(), *(headers[name] for name in CHAINED), record.value or b""):
        digest.update(b"%d:" % len(part) + part)
    if digest.hexdigest() != attributes["ce_chain"]:
        verdict.wrong.setdefault("chain", f"{where}: the chain of {subject} is broken at version {version}")
    if known.ended:
        verdict.wrong.setdefault("terminal", f"{where}: {subject} had ended before version {version}")
    known.version, known.chain = version, attributes["ce_chain"]
    known.ended = known.ended or attributes["ce_type"].rpartition(".v")[0] in TERMINAL


async def event_partitions(bootstrap: str) -> list[TopicPartition]:
    """Every partition of every event topic."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        topics = await admin.describe_topics([f"tunesmith.{stream}.events.v1" for stream in STREAMS])
    finally:
        await admin.close()
    return [
        TopicPartition(topic["topic"], one["partition"]) for topic in topics for one in topic["partitions"]
    ]


async def verify(bootstrap: str) -> Verdict:
    """Read every event that is on the log now."""
    verdict = Verdict()
    partitions = await event_partitions(bootstrap)
    if not partitions:
        verdict.wrong["topics"] = f"there are no event topics of Tunesmith at {bootstrap}"
        return verdict
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
    )
    await consumer.start()
    try:
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        while any([await consumer.position(one) < end for one, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    if record.offset < ends[TopicPartition(record.topic, record.partition)]:
                        check(record, verdict)
    finally:
        await consumer.stop()
    return verdict


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: python examples/verify_log.py BOOTSTRAP", file=sys.stderr)
        return 2
    verdict = asyncio.run(verify(sys.argv[1]))
    print(f"{verdict.events} events of {len(verdict.aggregates)} aggregates")
    for kind, first in verdict.wrong.items():
        print(f"wrong {kind}: {first}")
    print("the log is NOT as it was written" if verdict.wrong else "every version and chain is whole")
    return 1 if verdict.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
