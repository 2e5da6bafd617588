"""Events, metrics and places in the queue as they would be appended, for a projector to read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from app.domain.accounts import ACCOUNTS, KeyIssued, Opened
from app.domain.decider import Decider
from app.domain.files import FILES, Checked, Uploaded
from app.domain.hyperparameters import Hyperparameters, resolve
from app.domain.tunings import (
    TUNINGS,
    Attempt,
    Created,
    Dispatched,
    FileRef,
    ModelRef,
    Started,
    Succeeded,
)
from app.log import topics
from app.log.codec import FIRST_CHAIN, Command, event_record
from app.log.memory import MemoryLog
from app.log.port import Log, Record
from app.log.topics import declared

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

resolved = resolve({"epochs": 2}, rows=10, context_length=2048)
assert isinstance(resolved, Hyperparameters)
CREATED = Created(
    "acct-a",
    ModelRef("base", "r1"),
    FileRef("file-a", "00", "files/a", 10, 10),
    None,
    resolved,
    "supervised",
    "mails",
    {"team": "a"},
    1,
    0,
    0,
    "",
)
ATTEMPT = Attempt(1, "w", "s", 0)
RUN = (CREATED, Dispatched(ATTEMPT), Started(1))
UPLOADED = (Uploaded("acct-a", "a.jsonl", "fine-tune", 10, "00", "files/a"), Checked("chat", 10, 0))
OPENED = (Opened("acct"), KeyIssued("key-a", "ab", "first", ("read", "write"), None))

__all__ = ["ACCOUNTS", "AT", "CREATED", "FILES", "OPENED", "RUN", "TUNINGS", "UPLOADED", "Succeeded"]


def memory_log(partitions: int = 1) -> MemoryLog:
    """Every declared topic, in memory."""
    return MemoryLog({topic.name: partitions for topic in declared("embedded")})


def events(
    decider: Decider, id: str, bodies: Sequence[Any], first: int = 1, partition: int = 0
) -> list[Record]:
    """The records of an aggregate's events from version `first` on."""
    made, chain = [], FIRST_CHAIN
    for version, body in enumerate(bodies, first):
        at = AT + timedelta(seconds=version)
        command = Command(f"cmd-{id}-{version}", id, "system:test", "req", at, body)
        record, chain = event_record(
            decider, command=command, version=version, at=at, chain=chain, body=body, partition=partition
        )
        made.append(record)
    return made


def garbage(stream: str, partition: int = 0) -> Record:
    """A record on an events topic that no version knows."""
    return Record(topics.events(stream), "x", b"{}", (), partition)


async def append(log: Log, *records: Record) -> None:
    """Append records one by one."""
    writer = await log.writer()
    try:
        for record in records:
            await writer.send(record)
    finally:
        await writer.close()
