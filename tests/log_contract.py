"""What every log must keep, whatever it is made of. Run against memory and against Kafka."""

from __future__ import annotations

import asyncio

import pytest

from app.log.port import (
    Fenced,
    Log,
    OutcomeUnknown,
    Partition,
    Received,
    Record,
    RecordTooLarge,
    Start,
    read_all,
)

COMMANDS, EVENTS = "tunesmith.tunings.commands.v1", "tunesmith.tunings.events.v1"


def record(topic: str, key: str, value: str, partition: int | None = None) -> Record:
    return Record(topic, key, value.encode(), (("ce_id", key.encode()),), partition)


async def everything(log: Log, topic: str) -> list[Received]:
    return [one async for one in read_all(log, topic)]


def values(records: list[Received]) -> list[str]:
    return [(one.value or b"").decode() for one in records]


class LogContract:
    """Subclasses bring a fixture `log` with three partitions a topic."""

    async def test_what_is_sent_is_read_in_order_with_its_headers(self, log: Log) -> None:
        writer = await log.writer()
        offsets = [await writer.send(record(EVENTS, "job-a", str(n))) for n in range(5)]
        await writer.close()
        found = await everything(log, EVENTS)
        assert values(found) == ["0", "1", "2", "3", "4"]
        assert [one.offset for one in found] == offsets
        assert found[0].header("ce_id") == "job-a"
        assert found[0].header("other") is None

    async def test_a_key_always_goes_to_the_same_partition(self, log: Log) -> None:
        writer = await log.writer()
        for n in range(30):
            await writer.send(record(EVENTS, f"job-{n % 10}", str(n)))
        await writer.close()
        places: dict[str | None, set[int]] = {}
        for one in await everything(log, EVENTS):
            places.setdefault(one.key, set()).add(one.partition.number)
        assert len(places) == 10
        assert all(len(indexes) == 1 for indexes in places.values())

    async def test_transactional_and_plain_writers_agree_on_the_partition_of_a_key(self, log: Log) -> None:
        plain, transactional = await log.writer(), await log.transactional_writer("t")
        for n in range(10):
            await plain.send(record(EVENTS, f"job-{n}", "plain"))
        await transactional.commit([record(EVENTS, f"job-{n}", "transactional") for n in range(10)])
        await plain.close()
        await transactional.close()
        places: dict[str | None, set[int]] = {}
        for one in await everything(log, EVENTS):
            places.setdefault(one.key, set()).add(one.partition.number)
        assert all(len(indexes) == 1 for indexes in places.values())

    async def test_a_transaction_tells_the_offset_of_each_record(self, log: Log) -> None:
        writer = await log.transactional_writer("t")
        await writer.commit([record(EVENTS, "a", "before", 0)])
        offsets = await writer.commit(
            [record(EVENTS, "a", "x", 0), record(COMMANDS, "a", "y", 1), record(EVENTS, "a", "z", 0)]
        )
        await writer.close()
        found = {
            (one.value or b"").decode(): one.offset
            for topic in (EVENTS, COMMANDS)
            for one in await everything(log, topic)
        }
        assert offsets == [found["x"], found["y"], found["z"]]

    async def test_a_second_writer_with_the_same_id_fences_the_first(self, log: Log) -> None:
        first = await log.transactional_writer("t")
        await first.commit([record(EVENTS, "a", "1", 0)])
        second = await log.transactional_writer("t")
        with pytest.raises(Fenced):
            await first.commit([record(EVENTS, "a", "never", 0)])
        await second.commit([record(EVENTS, "a", "2", 0)])
        await first.close()
        await second.close()
        assert values(await everything(log, EVENTS)) == ["1", "2"]

    async def test_a_writer_that_failed_once_is_worthless(self, log: Log) -> None:
        first = await log.transactional_writer("t")
        second = await log.transactional_writer("t")
        with pytest.raises(Fenced):
            await first.commit([record(EVENTS, "a", "1", 0)])
        with pytest.raises(OutcomeUnknown):
            await first.commit([record(EVENTS, "a", "2", 0)])
        await first.close()
        await second.close()

    async def test_a_record_too_large_is_refused_and_its_batch_with_it(self, log: Log) -> None:
        writer = await log.transactional_writer("t")
        with pytest.raises(RecordTooLarge):
            await writer.commit([record(EVENTS, "a", "small", 0), record(EVENTS, "a", "x" * 2_000_000, 0)])
        await writer.close()
        plain = await log.writer()
        with pytest.raises(RecordTooLarge):
            await plain.send(record(EVENTS, "a", "x" * 2_000_000))
        await plain.close()
        assert await everything(log, EVENTS) == []

    async def test_a_batch_larger_than_one_request_is_still_one_transaction(self, log: Log) -> None:
        writer = await log.transactional_writer("t")
        offsets = await writer.commit([record(EVENTS, "a", str(n) + "x" * 100_000, 0) for n in range(30)])
        await writer.close()
        found = await everything(log, EVENTS)
        assert [one.offset for one in found] == offsets
        assert [value.rstrip("x") for value in values(found)] == [str(n) for n in range(30)]

    async def test_a_reader_begins_where_it_is_told(self, log: Log) -> None:
        writer = await log.writer()
        offsets = [await writer.send(record(EVENTS, "a", str(n), 1)) for n in range(4)]
        there = Partition(EVENTS, 1)
        from_third = await log.reader({there: offsets[2]})
        from_end = await log.reader({there: Start.END})
        await writer.send(record(EVENTS, "a", "new", 1))
        assert values(await fetched(from_third, 3)) == ["2", "3", "new"]
        assert values(await fetched(from_end, 1)) == ["new"]
        for closing in (from_third, from_end, writer):
            await closing.close()

    async def test_a_tombstone_is_read_as_one(self, log: Log) -> None:
        writer = await log.transactional_writer("t")
        await writer.commit([Record(EVENTS, "a", None, partition=0)])
        await writer.close()
        [found] = await everything(log, EVENTS)
        assert (found.key, found.value) == ("a", None)

    async def test_a_group_shares_the_partitions_out(self, log: Log) -> None:
        first = await log.join("group", [COMMANDS])
        assert await owning(first, 3)
        second = await log.join("group", [COMMANDS])
        async with asyncio.timeout(30):
            mine, yours = await first.changed(), await second.changed()
            while mine & yours or len(mine | yours) < 3:
                _, pending = await asyncio.wait(
                    [asyncio.create_task(first.changed()), asyncio.create_task(second.changed())], timeout=1
                )
                for task in pending:
                    task.cancel()
                mine, yours = first_of(first), first_of(second)
        assert len(mine) + len(yours) == 3
        for one in mine:
            assert (await first.holds(one), await second.holds(one)) == (True, False)
        await second.close()
        assert not any([await second.holds(one) for one in mine | yours])
        assert await owning(first, 3)
        await first.close()


def first_of(membership: object) -> frozenset[Partition]:
    owned: frozenset[Partition] = membership._owned  # type: ignore[attr-defined]
    return owned


async def owning(membership: object, count: int) -> bool:
    """Wait until so many partitions are owned."""
    async with asyncio.timeout(30):
        while len(first_of(membership)) != count:
            await membership.changed()  # type: ignore[attr-defined]
    return True


async def fetched(reader: object, count: int) -> list[Received]:
    """Fetch until so many records have come."""
    found: list[Received] = []
    async with asyncio.timeout(30):
        while len(found) < count:
            found += await reader.fetch(100, 0.5)  # type: ignore[attr-defined]
    return found
