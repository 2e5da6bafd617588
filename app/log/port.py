"""The port to the message log: records, readers, writers and who owns which partition.

LogError
├── Unavailable        the brokers cannot be reached or do not answer in time
├── Fenced             another writer has taken this transactional id
├── OutcomeUnknown     it is not known whether a transaction was committed
├── NotAuthorized      the brokers do not let this user do this, or do not know the user
└── RecordTooLarge     a record is larger than the log takes
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import NamedTuple, Protocol

from msgspec import Struct

from app.log import bounds

Headers = tuple[tuple[str, bytes], ...]


class LogError(Exception):
    """Something is wrong with the message log."""


class Unavailable(LogError):
    """The brokers cannot be reached or do not answer in time."""


class Fenced(LogError):
    """Another writer has taken this transactional id."""


class OutcomeUnknown(LogError):
    """It is not known whether the transaction was committed."""


class NotAuthorized(LogError):
    """The brokers do not let this user do this, or do not know the user."""


class RecordTooLarge(LogError):
    """A record is larger than the log takes."""


class Partition(NamedTuple):
    """One partition of one topic."""

    topic: str
    number: int


class Start(Enum):
    """Where a reader begins when it has no offset."""

    FIRST = "first"
    END = "end"


class Record(Struct, frozen=True):
    """A record to append. Without `partition`, the key's hash picks one; a `value` of None is a tombstone."""

    topic: str
    key: str | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None


class Received(Struct, frozen=True):
    """A record as it lies on the log; `at` is its timestamp, the append time where the topic says so."""

    partition: Partition
    offset: int
    at: datetime
    key: str | None
    value: bytes | None
    headers: Headers

    def header(self, name: str) -> str | None:
        """The first header of that name, as text, whatever its bytes are; None where there is none."""
        for key, value in self.headers:
            if key == name:
                return value.decode(errors="replace")
        return None


class Writer(Protocol):
    """Appends records one by one, in order and without duplicates per partition."""

    async def send(self, record: Record) -> int:
        """Append, wait for the acknowledgement, return the offset. Raises `Unavailable`, `RecordTooLarge`."""
        ...

    async def close(self) -> None: ...


class TransactionalWriter(Protocol):
    """Appends batches of records, each batch wholly or not at all. Opening one fences its predecessor."""

    async def commit(self, records: Sequence[Record]) -> list[int]:
        """Append all in one transaction; their offsets, in order.

        Raises `Fenced`, `RecordTooLarge` or `OutcomeUnknown`; after any of them the writer is worthless.
        """
        ...

    async def close(self) -> None: ...


class Reader(Protocol):
    """Reads assigned partitions in order, committed records only."""

    async def fetch(self, limit: int, wait: float) -> list[Received]:
        """Up to `limit` records; an empty list when none came within `wait` seconds."""
        ...

    async def position(self, partition: Partition) -> int:
        """Offset of the next record that `fetch` would look at."""
        ...

    async def end(self, partition: Partition) -> int:
        """Offset behind the last committed record."""
        ...

    async def ends(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """The same of several at once, in their order, in as few requests as there are brokers."""
        ...

    async def close(self) -> None: ...


class Membership(Protocol):
    """A share of a topic's partitions, among all members of a group."""

    async def changed(self) -> frozenset[Partition]:
        """Wait until the partitions owned differ from those last told; those owned now."""
        ...

    async def holds(self, partition: Partition) -> bool:
        """Ask the group whether the partition is this member's, as far as anybody knows by now.

        Who was stopped for a while may have lost it without having heard. Raises `Unavailable`.
        """
        ...

    async def rejoin(self) -> None:
        """Leave and join again: what is owned afterwards was assigned anew."""
        ...

    async def publish(self, positions: Mapping[Partition, int]) -> None:
        """Tell monitors of the group's lag how far it is. Nobody relies on it; failing is no error."""
        ...

    async def close(self) -> None: ...


class Log(Protocol):
    """A message log."""

    async def partition_count(self, topic: str) -> int: ...

    async def writer(self) -> Writer: ...

    async def transactional_writer(self, transactional_id: str) -> TransactionalWriter:
        """A writer that has fenced every earlier one with this id. Raises `Unavailable`."""
        ...

    async def reader(self, positions: Mapping[Partition, int | Start], *, follows: bool = True) -> Reader:
        """A reader of just these partitions, each from its offset.

        One that `follows` lets the brokers wait for what comes; else all of its answers come at once.
        """
        ...

    async def join(self, group: str, topics: Iterable[str]) -> Membership: ...

    async def answers(self) -> None:
        """Make a real request. Raises `Unavailable`."""
        ...

    async def close(self) -> None: ...


async def all_partitions(log: Log, topic: str) -> list[Partition]:
    """Every partition of a topic."""
    return [Partition(topic, number) for number in range(await log.partition_count(topic))]


async def ends_of(log: Log, partitions: Collection[Partition]) -> dict[Partition, int]:
    """The offsets behind the last committed records, as of now."""
    reader = await log.reader(dict.fromkeys(partitions, Start.END), follows=False)
    try:
        return await reader.ends(partitions)
    finally:
        await reader.close()


async def begins_of(log: Log, partitions: Iterable[Partition]) -> dict[Partition, int]:
    """The offsets of the first records that are still kept, as of now."""
    reader = await log.reader(dict.fromkeys(partitions, Start.FIRST), follows=False)
    try:
        return {partition: await reader.position(partition) for partition in partitions}
    finally:
        await reader.close()


async def read_all(
    log: Log, topic: str, begin: Mapping[Partition, int] | None = None
) -> AsyncIterator[Received]:
    """Every committed record of a topic up to what is the end now, in the order of each partition.

    `begin`: the offsets to begin at, where it is not the first record.
    """
    async for batch in batches_of(log, topic, begin):
        for received in batch:
            yield received


async def batches_of(
    log: Log, topic: str, begin: Mapping[Partition, int] | None = None
) -> AsyncIterator[list[Received]]:
    """The same in batches as they come, for whoever has many to go through."""
    partitions = await all_partitions(log, topic)
    places = {partition: (begin or {}).get(partition, Start.FIRST) for partition in partitions}
    async for batch in batches_from(log, places):
        yield batch


async def batches_from(log: Log, places: Mapping[Partition, int | Start]) -> AsyncIterator[list[Received]]:
    """Every committed record of these partitions from there on, up to what is their end now."""
    reader = await log.reader(places, follows=False)
    try:
        ends = await reader.ends(places)
        while any([await reader.position(partition) < end for partition, end in ends.items()]):
            batch = await reader.fetch(bounds.LARGEST_FETCH, bounds.POLL_SECONDS)
            yield [received for received in batch if received.offset < ends[received.partition]]
    finally:
        await reader.close()
