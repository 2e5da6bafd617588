"""Webhooks: each event of a tuning is queued for the endpoints of its account that want to be told of it.

It follows from the log's end when it has no cursor, and no endpoint is told of what was before it: neither a
reset nor a rebuild sends history. What is queued goes out by `app.reactors.deliveries`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import asyncpg

from app.domain.telling import event_name, event_view
from app.domain.tunings import TUNINGS
from app.log.codec import Event
from app.log.port import Log
from app.log.sender import Sender
from app.reactors.deliveries import Sending, send_queued
from app.reactors.following import follow, paused
from app.webhooks.payloads import event_payload, types_of
from app.webhooks.queue import Delivery, enqueue

REACTOR = "webhooks"
VISIBLE_WITHIN = 10.0
LOOK_SECONDS = 0.02

WANTED = "SELECT DISTINCT unnest(types) AS type FROM read.webhooks WHERE enabled"
BEHIND = """
SELECT FROM unnest($1::text[], $2::int[]) AS e (id, version)
WHERE NOT EXISTS (SELECT FROM read.tunings t WHERE t.id = e.id AND t.version >= e.version) LIMIT 1
"""
TOLD = """
SELECT t.id AS tuning_id, w.id, w.types, w.created_at
FROM read.tunings t JOIN read.webhooks w ON w.account_id = t.account_id AND w.enabled
WHERE t.id = ANY($1::text[])
"""


async def serve(log: Log, pool: asyncpg.Pool, sending: Sending, stop: asyncio.Event) -> None:
    """Queue and send until `stop`. Any number may do so: each delivery is queued once and taken by one."""
    news = asyncio.Event()
    commands = Sender(log)

    async def tell(events: Sequence[Event]) -> None:
        if await queue_events(pool, events, stop):
            news.set()

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(follow(log, pool, REACTOR, TUNINGS, tell, stop, from_end=True))
            tasks.create_task(send_queued(pool, commands, sending, news, stop))
    finally:
        await commands.close()


async def queue_events(pool: asyncpg.Pool, events: Sequence[Event], stop: asyncio.Event) -> int:
    """Queue what these events have to tell; how much. Raises TimeoutError when the read model lags behind."""
    wanted = {row["type"] for row in await pool.fetch(WANTED)}
    told = [event for event in events if wanted.intersection(_types(event))]
    if not told:
        return 0
    await _visible(pool, told, stop)
    deliveries = []
    endpoints = await pool.fetch(TOLD, sorted({event.aggregate_id for event in told}))
    for event in told:
        view = event_view(event.aggregate_id, event.version, event.at, event.body)
        for row in endpoints:
            if row["tuning_id"] != event.aggregate_id or event.at < row["created_at"]:
                continue
            deliveries += [
                Delivery(row["id"], event.id, type, event_payload(type, view))
                for type in _types(event)
                if type in row["types"]
            ]
    await enqueue(pool, deliveries)
    return len(deliveries)


def _types(event: Event) -> tuple[str, ...]:
    return types_of(event_name(event.type))


async def _visible(pool: asyncpg.Pool, events: Sequence[Event], stop: asyncio.Event) -> None:
    """Wait until the api shows what these events made: whoever is told of them looks there."""
    newest: dict[str, int] = {}
    for event in events:
        newest[event.aggregate_id] = event.version
    async with asyncio.timeout(VISIBLE_WITHIN):
        while await pool.fetchrow(BEHIND, list(newest), list(newest.values())) is not None:
            if stop.is_set():
                raise TimeoutError("asked to stop while the read model lagged behind")
            await paused(LOOK_SECONDS, stop)
