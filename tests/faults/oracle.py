"""What must hold after any fault: the log verifies, each acknowledged command took effect exactly once, and
the fold of the log is the read model is a rebuilt read model.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

import asyncpg
import msgspec

from app.domain.decider import Decider
from app.domain.streams import STREAMS
from app.domain.tunings import TUNINGS
from app.log import topics
from app.log.audit import audit
from app.log.codec import Event, Reply, read_event
from app.log.port import Log, Start, all_partitions, read_all
from app.projections import read_model
from app.projections.copies import read_model_copies
from tests.faults.load import Load
from tests.faults.story import Sent, outcomes

ANSWERED_WITHIN = 60.0
# What no event makes: how far running attempts are, and places in the queue.
NOT_FOLDED = {"tuning_progress", "tuning_steps", "queue", "checkpoints", "meta"}


async def replies(log: Log) -> list[Reply]:
    """Every reply."""
    return [msgspec.json.decode(one.value or b"", type=Reply) async for one in read_all(log, topics.REPLIES)]


async def answered(log: Log, sent: Iterable[Sent], within: float = ANSWERED_WITHIN) -> None:
    """Wait until each of these commands has a reply."""
    missing = {one.id for one in sent}
    reader = await log.reader(dict.fromkeys(await all_partitions(log, topics.REPLIES), Start.FIRST))
    try:
        async with asyncio.timeout(within):
            while missing:
                missing -= {record.key or "" for record in await reader.fetch(5_000, 0.2)}
    except TimeoutError:
        raise AssertionError(f"{len(missing)} commands got no reply, {min(missing)} among them") from None
    finally:
        await reader.close()


async def log_is_true(
    log: Log, load: Load, decider: Decider = TUNINGS, *, others: Collection[str] = ()
) -> None:
    """Every acknowledged command took effect exactly once, as the deciders by themselves would have it.

    `others` are aggregates that somebody else sent commands to.
    """
    await answered(log, load.sent)
    found = await audit(log, STREAMS.values(), {})
    assert found.wrong == {}
    events = [read_event(decider, one) async for one in read_all(log, topics.events(decider.stream))]
    made: dict[str, list[Event]] = {}
    for event in events:
        if event.aggregate_id in others:
            continue
        made.setdefault(event.causation_id, []).append(event)
    told = Counter((one.command_id, one.accepted) for one in await replies(log) if not one.repeated)
    for id, expected in _expected(load.sent, decider).items():
        assert tuple(event.body for event in made.pop(id, [])) == expected.events, id
        accepted, refused = told[id, True], told[id, False]
        assert accepted == (expected.refused is None), f"{id} was accepted {accepted} times"
        assert id in load.repeated or accepted + refused == 1, f"{id} was decided more than once"
    assert made == {}, "events of commands that nobody sent"


def _expected(sent: Iterable[Sent], decider: Decider) -> dict[str, Any]:
    by_job: dict[str, list[Sent]] = {}
    for one in sent:
        by_job.setdefault(one.aggregate_id, []).append(one)
    return {id: one for commands in by_job.values() for id, one in outcomes(commands, decider).items()}


async def read_model_is_true(log: Log, dsn: str) -> None:
    """The read model is the fold of the log, and so is one that is built anew, row by row."""
    await caught_up(log, dsn)
    await _verified(log, dsn)
    before = await tables(dsn)
    await read_model.rebuild(log, dsn)
    await _verified(log, dsn)
    after = await tables(dsn)
    assert before.keys() == after.keys()
    for name, rows in before.items():
        assert rows == after[name], f"table {name} is another one after a rebuild"


async def _verified(log: Log, dsn: str) -> None:
    found = await audit(log, STREAMS.values(), await read_model_copies(dsn))
    assert found.wrong == {}


async def caught_up(log: Log, dsn: str, within: float = 30.0) -> None:
    """Wait until the read model is where the log ends now."""
    # A checkpoint is just behind a record; a transaction's marker lies behind that.
    last = {
        (record.partition.topic, record.partition.number): record.offset + 1
        for stream in STREAMS
        async for record in read_all(log, topics.events(stream))
    }
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "read"})
    try:
        async with asyncio.timeout(within):
            while behind := [
                (row["topic"], row["partition"], row["next_offset"])
                for row in await connection.fetch("SELECT * FROM checkpoints")
                if row["next_offset"] < last.get((row["topic"], row["partition"]), 0)
            ]:
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"the read model stayed behind: {behind}, the log ends at {last}") from None
    finally:
        await connection.close()


async def tables(dsn: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table that is folded from events, in the order of its text."""
    connection = await asyncpg.connect(dsn)
    try:
        names = [
            row["table_name"]
            for row in await connection.fetch(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = 'read'"
            )
        ]
        return {
            name: [
                tuple(row)
                for row in await connection.fetch(f"SELECT t::text AS row FROM read.{name} t ORDER BY 1")
            ]
            for name in names
            if name not in NOT_FOLDED
        }
    finally:
        await connection.close()
