"""Bytes that no file will ever have: parts of ended uploads, and what requests and checks left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import asyncpg
import structlog
from msgspec import Struct

from app.domain.files import FILES
from app.log.port import Log
from app.reactors.following import PASSING, interrupted, paused, tables_made
from app.reactors.lag import caught_up
from app.storage import keys
from app.storage.store import Store

REACTOR = "free_uploads"
AT_A_TIME = 100

EXPIRE = """
UPDATE ops.uploads SET status = 'expired' WHERE status = 'pending' AND expires_at <= clock_timestamp()
"""
ENDED = """
SELECT p.id, p.key FROM ops.upload_parts p JOIN ops.uploads u ON u.id = p.upload_id
WHERE u.status <> 'pending' LIMIT $1
"""
FREED = "DELETE FROM ops.upload_parts WHERE id = $1"
FORGET = """
DELETE FROM ops.uploads u WHERE expires_at <= clock_timestamp() - make_interval(secs => $1)
AND NOT EXISTS (SELECT FROM ops.upload_parts p WHERE p.upload_id = u.id)
"""
# The digits of a place are its own, so it stands in the state as it is. As json the state cannot be looked
# into, for somebody's text in it may hold a NUL.
NOBODYS_FILES = """
SELECT key FROM unnest($1::text[], $2::text[]) AS stored (key, id)
WHERE NOT EXISTS (
    SELECT FROM read.files f
    WHERE f.id = stored.id AND position('"' || stored.key || '"' IN f.state::text) > 0
)
AND NOT EXISTS (SELECT FROM ops.uploads u WHERE u.file_id = stored.id AND u.key = stored.key)
"""
# A check may end after its file was freed, and leaves then what nobody frees.
NOBODYS_CHECKS = """
SELECT key FROM unnest($1::text[], $2::text[]) AS stored (key, id)
WHERE NOT EXISTS (SELECT FROM read.files f WHERE f.id = stored.id AND f.status <> 'deleted')
AND NOT EXISTS (SELECT FROM ops.deleted_files d WHERE d.id = stored.id)
"""
NOBODYS_PARTS = """
SELECT key FROM unnest($1::text[], $2::text[]) AS stored (key, id)
WHERE NOT EXISTS (SELECT FROM ops.upload_parts p WHERE p.upload_id = stored.id AND p.key = stored.key)
"""
KINDS = (
    (keys.FILES, keys.owner_of, NOBODYS_FILES),
    (keys.FILES, keys.checked_in, NOBODYS_CHECKS),
    (keys.UPLOADS, keys.owner_of, NOBODYS_PARTS),
)

logger = structlog.get_logger("reactor")


class Patience(Struct, frozen=True):
    """Seconds: between two looks at ended uploads, and at the store; until what nobody has is freed.

    A command that names bytes may wait for its handler as long as the log keeps commands, 7 days: younger
    bytes are never freed. An ended upload can be asked for as long as `remembered`.
    """

    ended: float = 30.0
    store: float = 6 * 3600.0
    age: float = 8 * 86400.0
    remembered: float = 30 * 86400.0


async def serve(
    log: Log, pool: asyncpg.Pool, store: Store, stop: asyncio.Event, *, patience: Patience | None = None
) -> None:
    """Free them until `stop`. Two that free the same bytes free them once."""
    patience = patience or Patience()

    async def ended() -> None:
        await _free_ended(pool, store, patience.remembered)

    async def nobodys() -> None:
        await _free_nobodys(log, pool, store, patience.age)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_again(ended, patience.ended, stop))
        if await tables_made(pool, REACTOR, ["read.files", "read.checkpoints"], stop):
            tasks.create_task(_again(nobodys, patience.store, stop))


async def _again(work: Callable[[], Awaitable[None]], seconds: float, stop: asyncio.Event) -> None:
    while not stop.is_set():
        try:
            await work()
        except PASSING as error:
            await interrupted(REACTOR, error, stop)
        await paused(seconds, stop)


async def _free_ended(pool: asyncpg.Pool, store: Store, remembered: float) -> None:
    """Free the parts of uploads that are complete, cancelled or expired."""
    await pool.execute(EXPIRE)
    while parts := await pool.fetch(ENDED, AT_A_TIME):
        for part in parts:
            await store.delete(part["key"])
            await pool.execute(FREED, part["id"])
    await pool.execute(FORGET, remembered)


async def _free_nobodys(log: Log, pool: asyncpg.Pool, store: Store, age: float) -> None:
    """Free old bytes that no event and no upload names."""
    before = datetime.now(UTC) - timedelta(seconds=age)
    for prefix, owner_of, nobodys in KINDS:
        if not await caught_up(log, pool, FILES.stream):
            return  # what the read model does not show yet may be somebody's
        old: list[tuple[str, str]] = []
        async for found in store.listed(prefix):
            owner = owner_of(found.key)
            if owner is not None and found.modified < before:
                old.append((found.key, owner))
            if len(old) == AT_A_TIME:
                await _free(pool, store, nobodys, old)
                old = []
        await _free(pool, store, nobodys, old)
        if freed := await store.free_unfinished(prefix, before):
            logger.info("unfinished_writes_freed", prefix=prefix, count=freed)


async def _free(pool: asyncpg.Pool, store: Store, nobodys: str, old: list[tuple[str, str]]) -> None:
    for row in await pool.fetch(nobodys, [key for key, _ in old], [owner for _, owner in old]):
        await store.delete(row["key"])
        logger.info("nobodys_bytes_freed", key=row["key"])
