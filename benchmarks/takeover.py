"""How long taking over a partition lasts, by the number of events behind its jobs.

    python -m benchmarks.takeover [--jobs 5000] [--events 10000,1000000] [--rounds 7]

Two partitions hold the states of equally many jobs, one after few events and one after many. Once both are
compacted, each is taken over in turns: from the fence to the first command that could be decided.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from app.command_handler.partition import recover
from app.domain.decider import Recorded
from app.domain.ids import derive_id
from app.domain.tunings import TUNINGS, Attempt, AttemptLost, Created, Dispatched
from app.log import bounds, topics
from app.log.aggregates import CURSOR_KEY, Aggregate, Cursor, Decided, state_record
from app.log.codec import encode
from app.log.kafka import KafkaLog
from app.log.port import Partition, Record
from benchmarks import bulk
from benchmarks.lives import DIGEST, create
from benchmarks.report import median, table, written
from benchmarks.servers import run, running_broker, topic

GOAL = 1.5
SEGMENT_BYTES = 2**20
COMPACTED_WITHIN = 300.0
SLACK = 1.1
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


class Written(Struct, frozen=True):
    """Bytes of a state partition: written in all, and left after compaction."""

    bytes: int
    left: int


def main() -> None:
    parser = argparse.ArgumentParser(description="Takeover of a partition after few events and after many.")
    parser.add_argument("--jobs", type=int, default=5_000)
    parser.add_argument("--events", default="10000,1000000", help="behind all jobs together: few, many")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    few, many = (int(one) for one in given.events.split(","))
    state = topic(
        topics.state(TUNINGS.stream),
        2,
        segment_bytes=str(SEGMENT_BYTES),
        segment_ms="1000",
        max_compaction_lag_ms="1000",
        min_cleanable_dirty_ratio="0.01",
    )
    commands = topic(topics.commands(TUNINGS.stream), 2)
    with running_broker(state, commands) as broker:
        sizes, times = run(
            lambda: _rounds(broker.bootstrap, broker.segments, given.jobs, (few, many), given.rounds)
        )
    figures = {
        "few_ms": median([one for one, _ in times]),
        "many_ms": median([one for _, one in times]),
        "ratio": median([b / a for a, b in times]),
    }
    rows = [
        [
            f"{given.jobs:,} jobs, {events:,} events",
            f"{size.bytes / 1e6:,.0f}",
            f"{size.left / 1e6:,.0f}",
            f"{figures[key]:,.0f}",
        ]
        for events, size, key in zip((few, many), sizes, ("few_ms", "many_ms"), strict=True)
    ]
    rows.append(["ratio", "", "", f"{figures['ratio']:.2f}"])
    print(table(["", "MB written", "MB compacted", "takeover ms"], rows))
    written("takeover", figures, {f"at most {GOAL} x": figures["ratio"] <= GOAL})


async def _rounds(
    bootstrap: str, segments: Path, jobs: int, events: tuple[int, int], rounds: int
) -> tuple[list[Written], list[tuple[float, float]]]:
    """What both partitions hold, and milliseconds of their takeovers."""
    written_ = [
        await _written(bootstrap, segments / f"{topics.state(TUNINGS.stream)}-{number}", number, jobs, count)
        for number, count in enumerate(events)
    ]
    log = KafkaLog(bootstrap)
    return written_, [(await _taken(log, 0, jobs), await _taken(log, 1, jobs)) for _ in range(rounds)]


async def _written(bootstrap: str, folder: Path, partition: int, jobs: int, events: int) -> Written:
    """Write a partition, and wait until nearly nothing but each job's last state is left of it."""
    bytes_ = last = 0

    def counted() -> Iterator[Record]:
        nonlocal bytes_, last
        for record in states(jobs, events // jobs, partition):
            last = max(last, len(record.value or b""))
            bytes_ += len(record.value or b"")
            yield record

    await bulk.append(bootstrap, counted())
    async with asyncio.timeout(COMPACTED_WITHIN):
        while _size(folder) > jobs * (last + 100) * SLACK + 2 * SEGMENT_BYTES:
            # A segment ends when something is appended after its time; the one written to is never compacted.
            await bulk.append(bootstrap, [_control(CURSOR_KEY, Cursor(events), partition)])
            await asyncio.sleep(1.1)
    return Written(bytes_, _size(folder))


def _size(folder: Path) -> int:
    """Bytes of all segments; some vanish while they are counted."""
    sizes = []
    for path in folder.glob("*.log"):
        with suppress(FileNotFoundError):
            sizes.append(path.stat().st_size)
    return sum(sizes)


def states(jobs: int, events: int, partition: int) -> Iterator[Record]:
    """What the handler writes to the state topic for these jobs, each with so many events in the end."""
    ids = [derive_id("job", str(number)) for number in range(jobs)]
    held = {id: Aggregate(id, chain=DIGEST) for id in ids}
    for version in range(1, events + 1):
        at = BEGAN + timedelta(seconds=version)
        for id in ids:
            before = held[id]
            state = TUNINGS.evolve(before.state, event(id, version), Recorded(id, version, at))
            decided = Decided(derive_id("cmd", id, str(version)), version)
            recent = (*before.recent, decided)[-bounds.REMEMBERED_COMMANDS :]
            held[id] = replace(before, version=version, at=at, recent=recent, state=state)
            yield state_record(TUNINGS, id, encode(held[id]), partition)
    yield _control(CURSOR_KEY, Cursor(jobs * events), partition)


def event(id: str, version: int) -> Any:
    """Created, then one attempt after the other lost before it started: of that there is no limit."""
    if version == 1:
        command = create(id)
        return Created(**{name: getattr(command, name) for name in command.__struct_fields__})
    number = version // 2
    if version % 2 == 0:
        return Dispatched(Attempt(number, "trainer-1", "session-1", 0))
    return AttemptLost(number, "worker_lost")


def _control(key: str, value: Any, partition: int) -> Record:
    return Record(topics.state(TUNINGS.stream), key, encode(value), partition=partition)


async def _taken(log: KafkaLog, partition: int, jobs: int) -> float:
    """Milliseconds from the fence until commands can be read, as `serve_partition` does it."""
    began = time.perf_counter()
    writer = await log.transactional_writer(f"tunesmith-{TUNINGS.stream}-{partition}")
    recovered = await recover(log, writer, TUNINGS, partition)
    reader = await log.reader({Partition(topics.commands(TUNINGS.stream), partition): recovered.next_offset})
    seconds = time.perf_counter() - began
    await reader.close()
    await writer.close()
    if len(recovered.states) != jobs:
        raise RuntimeError(f"{len(recovered.states)} of {jobs} jobs were recovered")
    return seconds * 1000


if __name__ == "__main__":
    main()
