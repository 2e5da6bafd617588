"""What a process sees of the log: the log in memory, with all that can go wrong on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Any

from app.log.memory import MemoryLog, MemoryMembership, MemoryReader, MemoryTransactionalWriter
from app.log.port import Fenced, LogError, OutcomeUnknown, Partition, Received, Record, Start, Unavailable

SESSION = 6.0


class Chances(dict[str, float]):
    """How likely each fault is at each step."""


CHAOS = Chances(crash=0.01, stop=0.006, error=0.015, unknown_done=0.03, unknown_lost=0.03, unknown_late=0.03)
CALM = Chances()


class World:
    """One random generator for everything, the log, and what happened."""

    def __init__(self, seed: int, log: MemoryLog) -> None:
        self.random, self.log = Random(seed), log
        self.chances: Chances = CHAOS
        self.trace: list[str] = []
        self.background: set[asyncio.Task[None]] = set()

    def tell(self, who: str, what: str) -> None:
        self.trace.append(f"{asyncio.get_running_loop().time():9.3f}  {who:<12} {what}")

    def happens(self, fault: str) -> bool:
        return self.random.random() < self.chances.get(fault, 0.0)

    def later(self, seconds: float, do: Any) -> None:
        """Do something after that time, whatever becomes of who asked for it."""

        async def wait() -> None:
            await asyncio.sleep(seconds)
            do()

        task = asyncio.create_task(wait())
        self.background.add(task)
        task.add_done_callback(self.background.discard)


class Life:
    """A process's life: each step may be its last, or the last for a while."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.died = asyncio.Event()
        self.members: list[Member] = []
        self._stopped_until = 0.0

    async def step(self, what: str) -> None:
        """Get on with something, sooner or later or never. Raises `Unavailable`."""
        world, loop = self.world, asyncio.get_running_loop()
        await self._alive()
        world.tell(self.name, what)
        if world.happens("crash"):
            self.kill()
        elif world.happens("stop"):
            seconds = world.random.uniform(0.1, 3 * SESSION)
            world.tell(self.name, f"is stopped for {seconds:.3f} s")
            self._stopped_until = loop.time() + seconds
            world.later(SESSION, self._expire)
        elif world.happens("error"):
            world.tell(self.name, f"fails to {what}")
            raise Unavailable(f"fails to {what}")
        await asyncio.sleep(world.random.expovariate(200))
        await self._alive()

    def kill(self) -> None:
        """As by SIGKILL: not another step, and the group misses it after its session."""
        if not self.died.is_set():
            self.world.tell(self.name, "dies")
            self.died.set()
            self.world.later(SESSION, self._leave)

    async def _alive(self) -> None:
        """Nobody dead goes on, and nobody stopped before it is woken."""
        while self.died.is_set():
            await asyncio.Event().wait()
        wait = self._stopped_until - asyncio.get_running_loop().time()
        if wait > 0:
            await asyncio.sleep(wait)
            await self._alive()

    def _expire(self) -> None:
        if self._stopped_until > asyncio.get_running_loop().time():
            self._leave()

    def _leave(self) -> None:
        for member in self.members:
            member.expire()


class Member(MemoryMembership):
    """A member that the group may give up."""

    def expire(self) -> None:
        members = self._log._members.get(self._group, [])
        if self in members:
            members.remove(self)
            self._log._rebalance(self._group)


class FaultyLog:
    """The log as one process sees it."""

    def __init__(self, life: Life) -> None:
        self._life, self._log = life, life.world.log

    async def partition_count(self, topic: str) -> int:
        return await self._log.partition_count(topic)

    async def writer(self) -> Any:
        return await self._log.writer()

    async def transactional_writer(self, transactional_id: str) -> FaultyTransactions:
        await self._life.step(f"fence {transactional_id}")
        return FaultyTransactions(self._life, await self._log.transactional_writer(transactional_id))

    async def reader(
        self, positions: Mapping[Partition, int | Start], *, follows: bool = True
    ) -> FaultyReader:
        await self._life.step("open a reader")
        return FaultyReader(self._life, await self._log.reader(positions, follows=follows))

    async def join(self, group: str, topics: Iterable[str]) -> Member:
        await self._life.step(f"join {group}")
        member = Member(self._log, group, tuple(topics))
        await member.rejoin()
        self._life.members.append(member)
        return member

    async def answers(self) -> None:
        await self._log.answers()

    async def close(self) -> None:
        await self._log.close()


class FaultyTransactions:
    """Commits whose answer may be lost: done, not done, or done later unless a successor has fenced it."""

    def __init__(self, life: Life, writer: MemoryTransactionalWriter) -> None:
        self._life, self._writer = life, writer

    async def commit(self, records: Sequence[Record]) -> list[int]:
        world = self._life.world
        await self._life.step(f"commit {len(records)} records")
        if world.happens("unknown_lost"):
            raise self._unknown("lost")
        if world.happens("unknown_late"):
            world.later(world.random.expovariate(1.0), lambda: self._land(records))
            raise self._unknown("late")
        offsets = await self._writer.commit(records)
        if world.happens("unknown_done"):
            raise self._unknown("done")
        await self._life.step("go on after a commit")
        return offsets

    def _unknown(self, what: str) -> OutcomeUnknown:
        self._life.world.tell(self._life.name, f"hears nothing of its commit, which is {what}")
        return OutcomeUnknown(f"no answer: {what}")

    def _land(self, records: Sequence[Record]) -> None:
        """What was held up on the way arrives: it counts unless the producer was fenced since."""
        commit = self._writer.commit(records)
        try:
            commit.send(None)
        except StopIteration:
            self._life.world.tell(self._life.name, "has an old commit land")
        except (Fenced, LogError):
            self._life.world.tell(self._life.name, "has an old commit refused")
        finally:
            commit.close()

    async def close(self) -> None:
        await self._writer.close()


class FaultyReader:
    """Reads what has come through to it; that may be a little behind what is there."""

    def __init__(self, life: Life, reader: MemoryReader) -> None:
        self._life, self._reader = life, reader

    async def fetch(self, limit: int, wait: float) -> list[Received]:
        await self._life.step("fetch")
        world = self._life.world
        if world.random.random() < 0.2:
            await asyncio.sleep(min(wait, world.random.expovariate(20)))
            return []  # what is there has not come through yet
        found = await self._reader.fetch(max(1, min(limit, world.random.choice((1, 2, 5, limit)))), wait)
        await self._life.step(f"take {len(found)} records")
        return found

    async def position(self, partition: Partition) -> int:
        return await self._reader.position(partition)

    async def end(self, partition: Partition) -> int:
        await self._life.step("ask for an end")
        return await self._reader.end(partition)

    async def ends(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        await self._life.step("ask for ends")
        return await self._reader.ends(partitions)

    async def close(self) -> None:
        await self._reader.close()
