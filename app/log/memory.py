"""The port in memory: the same promises as Kafka's within one event loop, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from aiokafka.partitioner import murmur2

from app.log import bounds
from app.log.port import (
    Fenced,
    OutcomeUnknown,
    Partition,
    Received,
    Record,
    RecordTooLarge,
    Start,
    Unavailable,
)


class MemoryLog:
    """Topics with their partition counts. `now` gives the append time."""

    def __init__(
        self, partitions: Mapping[str, int], now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._records: dict[Partition, list[Received | None]] = {
            Partition(topic, index): [] for topic, count in partitions.items() for index in range(count)
        }
        self._counts = dict(partitions)
        self._epochs: dict[str, int] = {}
        self._members: dict[str, list[MemoryMembership]] = {}
        self._appended = asyncio.Event()
        self._now = now

    async def partition_count(self, topic: str) -> int:
        if topic not in self._counts:
            raise Unavailable(f"topic {topic} does not exist; run `tunesmith-server topics apply`")
        return self._counts[topic]

    async def writer(self) -> MemoryWriter:
        return MemoryWriter(self)

    async def transactional_writer(self, transactional_id: str) -> MemoryTransactionalWriter:
        self._epochs[transactional_id] = self._epochs.get(transactional_id, 0) + 1
        return MemoryTransactionalWriter(self, transactional_id, self._epochs[transactional_id])

    async def reader(
        self, positions: Mapping[Partition, int | Start], *, follows: bool = True
    ) -> MemoryReader:
        return MemoryReader(
            self,
            {
                partition: len(self._of(partition))
                if start is Start.END
                else (0 if start is Start.FIRST else start)
                for partition, start in positions.items()
            },
        )

    async def join(self, group: str, topics: Iterable[str]) -> MemoryMembership:
        membership = MemoryMembership(self, group, tuple(topics))
        await membership.rejoin()
        return membership

    async def answers(self) -> None:
        """Memory always does."""

    async def close(self) -> None:
        """Nothing is held."""

    def _of(self, partition: Partition) -> list[Received | None]:
        try:
            return self._records[partition]
        except KeyError:
            raise Unavailable(f"there is no {partition}") from None

    def _append(self, record: Record) -> int:
        if len(record.value or b"") > bounds.LARGEST_RECORD_BYTES:
            raise RecordTooLarge(f"{record.topic} takes {bounds.LARGEST_RECORD_BYTES} bytes a record")
        index = record.partition
        if index is None:
            key = (record.key or "").encode()
            index = (murmur2(key) & 0x7FFFFFFF) % self._counts[record.topic]
        partition = Partition(record.topic, index)
        there = self._of(partition)
        there.append(Received(partition, len(there), self._now(), record.key, record.value, record.headers))
        return len(there) - 1

    def _wake(self) -> None:
        self._appended.set()
        self._appended = asyncio.Event()

    def _rebalance(self, group: str) -> None:
        members = self._members.get(group, [])
        shares: list[set[Partition]] = [set() for _ in members]
        topics = sorted({topic for member in members for topic in member.topics})
        turn = 0
        for topic in topics:
            for index in range(self._counts[topic]):
                shares[turn % len(members)].add(Partition(topic, index))
                turn += 1
        for member, share in zip(members, shares, strict=True):
            member.tell(frozenset(share))


class MemoryWriter:
    """Appends at once."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    async def send(self, record: Record) -> int:
        offset = self._log._append(record)
        self._log._wake()
        return offset

    async def close(self) -> None:
        """Nothing is held."""


class MemoryTransactionalWriter:
    """Appends whole batches, each followed by a marker that takes up an offset, as Kafka's do."""

    def __init__(self, log: MemoryLog, transactional_id: str, epoch: int) -> None:
        self._log, self._id, self._epoch = log, transactional_id, epoch
        self._broken = False

    async def commit(self, records: Sequence[Record]) -> list[int]:
        if self._broken:
            raise OutcomeUnknown(f"{self._id} was given up after an error")
        if self._log._epochs[self._id] != self._epoch:
            self._broken = True
            raise Fenced(f"{self._id} was taken by another writer")
        for record in records:
            if len(record.value or b"") > bounds.LARGEST_RECORD_BYTES:
                raise RecordTooLarge(f"{record.topic} takes {bounds.LARGEST_RECORD_BYTES} bytes a record")
        offsets, touched = [], set[Partition]()
        for record in records:
            offsets.append(self._log._append(record))
            index = record.partition
            if index is None:
                key = (record.key or "").encode()
                index = (murmur2(key) & 0x7FFFFFFF) % self._log._counts[record.topic]
            touched.add(Partition(record.topic, index))
        for partition in touched:
            self._log._of(partition).append(None)
        self._log._wake()
        return offsets

    async def close(self) -> None:
        """Nothing is held."""


class MemoryReader:
    """Reads its partitions in turn."""

    def __init__(self, log: MemoryLog, positions: dict[Partition, int]) -> None:
        self._log, self._positions = log, positions

    async def fetch(self, limit: int, wait: float) -> list[Received]:
        try:
            async with asyncio.timeout(wait):
                while not (found := self._take(limit)):
                    await self._log._appended.wait()
        except TimeoutError:
            return []
        return found

    def _take(self, limit: int) -> list[Received]:
        found: list[Received] = []
        for partition, position in self._positions.items():
            there = self._log._of(partition)
            taken = there[position : position + limit - len(found)]
            found += [record for record in taken if record is not None]
            self._positions[partition] = position + len(taken)
        return found

    async def position(self, partition: Partition) -> int:
        return self._positions[partition]

    async def end(self, partition: Partition) -> int:
        return len(self._log._of(partition))

    async def ends(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        return {partition: await self.end(partition) for partition in partitions}

    async def close(self) -> None:
        """Nothing is held."""


class MemoryMembership:
    """A member of a group; partitions are dealt round."""

    def __init__(self, log: MemoryLog, group: str, topics: tuple[str, ...]) -> None:
        self._log, self._group, self.topics = log, group, topics
        self._owned: frozenset[Partition] = frozenset()
        self._news = asyncio.Event()

    def tell(self, owned: frozenset[Partition]) -> None:
        self._owned = owned
        self._news.set()

    async def changed(self) -> frozenset[Partition]:
        await self._news.wait()
        self._news.clear()
        return self._owned

    async def holds(self, partition: Partition) -> bool:
        return self in self._log._members.get(self._group, []) and partition in self._owned

    async def publish(self, positions: Mapping[Partition, int]) -> None:
        """Nobody monitors memory."""

    async def rejoin(self) -> None:
        await self.close()
        self._log._members.setdefault(self._group, []).append(self)
        self._log._rebalance(self._group)

    async def close(self) -> None:
        members = self._log._members.get(self._group, [])
        if self in members:
            members.remove(self)
            self._log._rebalance(self._group)
