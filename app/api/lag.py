"""How far behind each role is, by the log's ends and what the roles leave: every api finds the same."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import asyncpg
import msgspec
import structlog
from msgspec import Struct

from app.domain.streams import STREAMS
from app.log import topics
from app.log.aggregates import CURSOR_KEY, Cursor
from app.log.port import Log, LogError, Partition, all_partitions, batches_from, ends_of

FRESH_SECONDS = 5.0  # measured no more often, however many scrape
MEASURED_WITHIN = 5.0
# So many offsets before an end are read: a transaction's marker takes an offset and is no record, so an end
# alone says too much, and the first record behind tells how old it is. Beyond these the offsets are counted.
TAIL = 100
TAIL_OF_STATE = 20  # a batch's last record is its cursor

READ_MODEL = "SELECT topic, partition, next_offset FROM checkpoints"
REACTORS = "SELECT reactor, topic, partition, next_offset FROM ops.cursors"

logger = structlog.get_logger("api")

Positions = dict[Partition, int]
Consumer = tuple[str, str]  # the role, and what of it


class Lag(Struct, frozen=True):
    """Records of a topic that a consumer has yet to take in, and how long the oldest has lain there."""

    role: str
    consumer: str
    topic: str
    records: int
    seconds: float


class Lags:
    """What was measured last."""

    def __init__(self, log: Log, pool: asyncpg.Pool) -> None:
        self._log, self._pool = log, pool
        self._measuring = asyncio.Lock()
        self._found: list[Lag] = []
        self._due = 0.0
        self._cursors: Positions = {}

    async def now(self) -> list[Lag]:
        """The lag of each role; nothing while Kafka does not answer. Raises the database's errors."""
        async with self._measuring:
            if time.monotonic() >= self._due:
                consumers = await self._taken_in()
                try:
                    async with asyncio.timeout(MEASURED_WITHIN):
                        self._found = await self._measured(consumers)
                except (LogError, TimeoutError) as error:
                    logger.warning("lag_unknown", error=repr(error))
                    self._found = []
                self._due = time.monotonic() + FRESH_SECONDS
            return self._found

    async def _taken_in(self) -> dict[Consumer, Positions]:
        found: dict[Consumer, Positions] = {("projector", "read_model"): {}}
        for row in await self._pool.fetch(READ_MODEL):
            there = Partition(row["topic"], row["partition"])
            found["projector", "read_model"][there] = row["next_offset"]
        for row in await self._pool.fetch(REACTORS):
            there = Partition(row["topic"], row["partition"])
            found.setdefault(("reactor", row["reactor"]), {})[there] = row["next_offset"]
        return found

    async def _measured(self, consumers: dict[Consumer, Positions]) -> list[Lag]:
        projected = [*map(topics.events, STREAMS), topics.METRICS, topics.QUEUE]
        for partition in await self._partitions(projected):  # one that nothing was taken from has no row
            consumers["projector", "read_model"].setdefault(partition, 0)
        consumers["command-handler", "decisions"] = await self._decided()
        ends = await ends_of(self._log, {one for taken in consumers.values() for one in taken})
        starts: Positions = {}
        for taken in consumers.values():
            for partition, position in taken.items():
                start = max(position, ends[partition] - TAIL)
                if start < ends[partition]:
                    starts[partition] = min(start, starts.get(partition, start))
        tails = await self._tails(starts)
        now = datetime.now(UTC)
        found = []
        for consumer, taken in consumers.items():
            for topic in sorted({one.topic for one in taken}):
                there = {one: position for one, position in taken.items() if one.topic == topic}
                found.append(_lag(consumer, topic, there, starts, tails, now))
        return found

    async def _partitions(self, names: Iterable[str]) -> list[Partition]:
        return [partition for name in names for partition in await all_partitions(self._log, name)]

    async def _decided(self) -> Positions:
        """The next command of each partition, by the cursors at the ends of the states."""
        states = await self._partitions(map(topics.state, STREAMS))
        ends = await ends_of(self._log, states)
        starts = {one: max(0, end - TAIL_OF_STATE) for one, end in ends.items() if end}
        commands = {topics.state(stream): topics.commands(stream) for stream in STREAMS}
        async for batch in batches_from(self._log, starts.copy()):
            for record in batch:
                if record.key == CURSOR_KEY and record.value is not None:
                    there = Partition(commands[record.partition.topic], record.partition.number)
                    self._cursors[there] = msgspec.json.decode(record.value, type=Cursor).next_offset
        for state in states:
            if starts.get(state, 0) == 0:  # all of it was looked at
                self._cursors.setdefault(Partition(commands[state.topic], state.number), 0)
        return self._cursors.copy()

    async def _tails(self, starts: Positions) -> dict[Partition, list[tuple[int, datetime]]]:
        """Offset and time of the records from there on."""
        found: dict[Partition, list[tuple[int, datetime]]] = {}
        if starts:
            async for batch in batches_from(self._log, starts.copy()):
                for record in batch:
                    found.setdefault(record.partition, []).append((record.offset, record.at))
        return found


def _lag(
    consumer: Consumer,
    topic: str,
    taken: Positions,
    starts: Positions,
    tails: Mapping[Partition, list[tuple[int, datetime]]],
    now: datetime,
) -> Lag:
    records, seconds = 0, 0.0
    for partition, position in taken.items():
        if partition in starts:
            behind = [at for offset, at in tails.get(partition, []) if offset >= position]
            records += len(behind) + max(0, starts[partition] - position)
            if behind:
                seconds = max(seconds, (now - min(behind)).total_seconds())
    return Lag(*consumer, topic, records, seconds)
