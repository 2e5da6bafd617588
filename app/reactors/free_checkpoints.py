"""Checkpoints that no attempt will go on from: all of an ended job, and all but the newest of any other."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import asyncpg
import msgspec
import structlog

from app.domain.tunings import TUNINGS, Cancelled, CheckpointSaved, Failed, Succeeded, Tuning
from app.log.codec import Event
from app.log.port import Log
from app.reactors.following import PASSING, follow, interrupted, paused, tables_made
from app.storage.keys import MANIFEST, checkpoint_of, tuning_place
from app.storage.store import Store

REACTOR = "free_checkpoints"
# A worker that was cut off may still be writing when its job has ended: one looks a second time.
GRACE_SECONDS = 3600.0
SWEEP_SECONDS = 10.0
AT_A_TIME = 100

REMEMBER = """
INSERT INTO ops.checkpoints_to_free (tuning_id, ended) SELECT * FROM unnest($1::text[], $2::boolean[])
ON CONFLICT (tuning_id) DO UPDATE
SET ended = ops.checkpoints_to_free.ended OR excluded.ended, looked = false, due_at = clock_timestamp()
"""
DUE = """
SELECT c.tuning_id, c.due_at, c.looked, t.state
FROM ops.checkpoints_to_free c JOIN read.tunings t ON t.id = c.tuning_id
WHERE c.due_at <= clock_timestamp() AND (NOT c.ended OR t.status IN ('succeeded', 'failed', 'cancelled'))
ORDER BY c.due_at LIMIT $1
"""
LOOK_AGAIN = """
UPDATE ops.checkpoints_to_free SET looked = true, due_at = clock_timestamp() + make_interval(secs => $3)
WHERE tuning_id = $1 AND due_at = $2
"""
DONE = "DELETE FROM ops.checkpoints_to_free WHERE tuning_id = $1 AND due_at = $2"

logger = structlog.get_logger("reactor")


async def serve(
    log: Log,
    pool: asyncpg.Pool,
    store: Store,
    stop: asyncio.Event,
    *,
    grace: float = GRACE_SECONDS,
    sweep: float = SWEEP_SECONDS,
) -> None:
    """Free them until `stop`. Two that free the same ones free them once."""

    async def remember(events: Sequence[Event]) -> None:
        ended: dict[str, bool] = {}
        for event in events:
            if isinstance(event.body, CheckpointSaved | Succeeded | Failed | Cancelled):
                ended[event.aggregate_id] = not isinstance(event.body, CheckpointSaved)
        if ended:
            await pool.execute(REMEMBER, list(ended), list(ended.values()))

    async def sweep_up() -> None:
        await tables_made(pool, REACTOR, ["read.tunings"], stop)
        while not stop.is_set():
            try:
                while await _free(pool, store, grace) == AT_A_TIME:
                    pass
            except PASSING as error:
                await interrupted(REACTOR, error, stop)
            await paused(sweep, stop)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(follow(log, pool, REACTOR, TUNINGS, remember, stop))
        tasks.create_task(sweep_up())


async def _free(pool: asyncpg.Pool, store: Store, grace: float) -> int:
    """Free those of some tunings; of how many."""
    rows = await pool.fetch(DUE, AT_A_TIME)
    for row in rows:
        tuning = msgspec.json.decode(row["state"], type=Tuning)
        if freed := await free_checkpoints(store, tuning):
            logger.info("checkpoints_freed", job_id=tuning.id, count=freed)
        if tuning.ended and not row["looked"]:
            await pool.execute(LOOK_AGAIN, tuning.id, row["due_at"], grace)
            continue
        if tuning.ended:
            before = datetime.now(UTC) - timedelta(seconds=grace)
            await store.free_unfinished(tuning_place(tuning.id), before)
        await pool.execute(DONE, tuning.id, row["due_at"])
    return len(rows)


async def free_checkpoints(store: Store, tuning: Tuning) -> int:
    """Free what the tuning will not go on from; how many. Raises `StorageError`.

    As long as it may go on, it keeps as many as were asked for, up to the one that it knows of, and whatever
    is newer than that: it is on its way.
    """
    found: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
    for key in await store.keys(tuning_place(tuning.id)):
        if (one := checkpoint_of(key)) is not None:
            found[one].append(key)
    keep: set[tuple[int, str]] = set()
    if not tuning.ended:
        known = checkpoint_of(f"{tuning.checkpoint.key}/{MANIFEST}") if tuning.checkpoint else None
        if known is None:
            return 0
        whole = sorted(one for one in found if one <= known and _manifest(found[one]))
        keep = {*whole[-tuning.hyperparameters.checkpoints_kept :], *(one for one in found if one > known)}
    freed = 0
    for one in found.keys() - keep:
        for key in sorted(found[one], key=lambda key: not key.endswith(f"/{MANIFEST}")):
            await store.delete(key)  # the manifest first: what is half freed is no checkpoint
        freed += 1
    return freed


def _manifest(keys: Sequence[str]) -> bool:
    return any(key.endswith(f"/{MANIFEST}") for key in keys)
