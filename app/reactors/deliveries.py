"""The sender of webhooks: what is queued and due is taken, sent once, and its attempt kept.

Who has taken a delivery holds it for a while only: of one that dies between sending and keeping the attempt,
another sends it again, with the same `webhook-id`. So a receiver may get a webhook twice, and in any order.
What is due for a suspended account waits for the suspension's end; what waits for an endpoint that is deleted
or turned off is never sent.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec
import structlog
from msgspec import Struct

from app.domain.accounts import ACCOUNTS
from app.domain.ids import derive_id
from app.domain.webhooks import UpdateWebhook
from app.log.codec import command_record
from app.log.sender import Sender
from app.reactors.following import PASSING, interrupted, paused
from app.reactors.retrying import ONCE, THREE_DAYS, Schedule, next_try, retry_after
from app.webhooks.addresses import Network, Resolve, resolve
from app.webhooks.payloads import TEST
from app.webhooks.posting import ANSWERED_WITHIN, Outcome, Poster
from app.webhooks.signing import signatures

REACTOR = "webhooks"
POLL_SECONDS = 0.5
CLEAN_SECONDS = 3600.0
CLEANED_AT_A_TIME = 1000
KEPT_DAYS = 30
GONE = 410
USER_AGENT = "Tunesmith-Webhooks/1"

STILL_THERE = "SELECT true FROM read.webhooks WHERE id = $1 AND url = $2"
STOP = """
UPDATE ops.deliveries d SET status = 'stopped', ended_at = now()
WHERE status = 'pending' AND (taken_until IS NULL OR taken_until <= now())
AND NOT EXISTS (SELECT FROM read.webhooks w WHERE w.id = d.webhook_id AND w.enabled)
"""
# An endpoint has so many under way at a time and no more, and an account no more than there is room left: its
# dead ones, however many, hold up nobody else's. Accounts take turns, and so do the endpoints of each.
TAKE = """
WITH under_way AS (
    SELECT w.id, w.account_id, given.number
    FROM unnest($1::text[], $2::int[]) AS given (id, number) JOIN read.webhooks w USING (id)
), taking AS (
    SELECT account_id, sum(number) AS number FROM under_way GROUP BY account_id
), waiting AS (
    SELECT one.id, one.next_at, w.account_id,
        coalesce(busy.number, 0) + row_number() OVER (PARTITION BY w.id ORDER BY one.next_at, one.id) AS turn
    FROM (
        SELECT DISTINCT webhook_id FROM ops.deliveries
        WHERE status = 'pending' AND next_at <= now() AND (taken_until IS NULL OR taken_until <= now())
    ) AS due
    JOIN read.webhooks w ON w.id = due.webhook_id AND w.enabled
    JOIN read.accounts a ON a.id = w.account_id AND NOT a.suspended
    LEFT JOIN under_way busy ON busy.id = w.id
    CROSS JOIN LATERAL (
        SELECT d.id, d.next_at FROM ops.deliveries d
        WHERE d.webhook_id = w.id AND d.status = 'pending' AND d.next_at <= now()
            AND (d.taken_until IS NULL OR d.taken_until <= now())
        ORDER BY d.next_at, d.id LIMIT greatest(0, $3 - coalesce(busy.number, 0))
        FOR UPDATE SKIP LOCKED
    ) AS one
), shared AS (
    SELECT id, next_at, coalesce(taking.number, 0)
        + row_number() OVER (PARTITION BY account_id ORDER BY turn, next_at, id) AS share
    FROM waiting LEFT JOIN taking USING (account_id)
), due AS (
    SELECT id FROM (
        SELECT id, share, row_number() OVER (ORDER BY share, next_at, id) AS place FROM shared
    ) AS placed
    WHERE share <= $4 - place + 1
)
UPDATE ops.deliveries d SET
    taken_until = now() + make_interval(secs => $5), begun_at = coalesce(begun_at, now()),
    tries = tries + 1, attempts = attempts + 1
FROM due, read.webhooks w WHERE d.id = due.id AND w.id = d.webhook_id
RETURNING d.id, d.webhook_id, d.event_id, d.type, d.payload, d.begun_at, d.tries, d.attempts,
    w.account_id, w.url, w.generation, w.previous_until
"""
KEEP = """
INSERT INTO ops.delivery_attempts (delivery_id, number, at, seconds, request, answer, error)
SELECT $1, $2, $3, $4, $5::json, $6::json, $7 WHERE EXISTS (SELECT FROM ops.deliveries WHERE id = $1)
"""
END = """
UPDATE ops.deliveries SET status = $2, next_at = coalesce($3, next_at), taken_until = NULL,
    ended_at = CASE WHEN $2 = 'pending' THEN NULL ELSE now() END
WHERE id = $1 AND status = 'pending'
"""
CLEAN = """
DELETE FROM ops.deliveries WHERE id IN (
    SELECT id FROM ops.deliveries WHERE queued_at < now() - make_interval(days => $1) LIMIT $2)
"""

logger = structlog.get_logger("reactor")


def utc_now() -> datetime:
    """The time that requests are signed with."""
    return datetime.now(UTC)


class Sending(Struct, frozen=True, kw_only=True):
    """How webhooks are sent: `at_a_time` in all by this process, and to one endpoint; times in seconds."""

    installation_key: str
    allowed: tuple[Network, ...] = ()
    schedule: Schedule = THREE_DAYS
    answered_within: float = ANSWERED_WITHIN
    taken_for: float = 60.0
    looks_every: float = POLL_SECONDS
    at_a_time: int = 256
    at_a_time_each: int = 4
    resolve: Resolve = resolve
    now: Callable[[], datetime] = utc_now
    chance: Callable[[], float] = random.random


async def send_queued(
    pool: asyncpg.Pool, commands: Sender, sending: Sending, news: asyncio.Event, stop: asyncio.Event
) -> None:
    """Send what is due until `stop`, then finish what is under way. `news`: something was queued."""
    poster = Poster(
        sending.allowed,
        within=sending.answered_within,
        resolve=sending.resolve,
        most_connections=sending.at_a_time,
    )
    sender = _Sender(pool, commands, sending, poster)
    cleaning = asyncio.create_task(_clean(pool, stop))
    stopped = asyncio.create_task(stop.wait())
    try:
        while not stop.is_set():
            news.clear()
            try:
                await sender.take()
            except PASSING as error:
                await interrupted(REACTOR, error, stop)
            told = asyncio.create_task(news.wait())
            await asyncio.wait(
                [stopped, told, *sender.under_way],
                timeout=sending.looks_every,
                return_when=asyncio.FIRST_COMPLETED,
            )
            told.cancel()
        await asyncio.gather(*sender.under_way)
    finally:
        tasks = [cleaning, stopped, *sender.under_way]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await poster.close()


class _Sender:
    """The deliveries that this process has taken."""

    def __init__(self, pool: asyncpg.Pool, commands: Sender, sending: Sending, poster: Poster) -> None:
        self._pool, self._commands, self._sending, self._poster = pool, commands, sending, poster
        self.under_way: dict[asyncio.Task[None], str] = {}
        self._stopped_at = 0.0

    async def take(self) -> None:
        """Take what is due, as far as there is room, and begin to send it."""
        free = self._sending.at_a_time - len(self.under_way)
        if free <= 0:
            return
        if (now := asyncio.get_running_loop().time()) - self._stopped_at >= self._sending.looks_every:
            await self._pool.execute(STOP)
            self._stopped_at = now
        busy = Counter(self.under_way.values())
        rows = await self._pool.fetch(
            TAKE,
            list(busy),
            list(busy.values()),
            self._sending.at_a_time_each,
            free,
            self._sending.taken_for,
        )
        for row in rows:
            task = asyncio.create_task(self._deliver(row))
            self.under_way[task] = row["webhook_id"]
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self.under_way.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("delivery_broke", exc_info=error)

    async def _deliver(self, row: Any) -> None:
        """Send a delivery and keep how it went. When that fails, it is taken again later."""
        at = self._sending.now()
        headers = {
            "content-type": "application/json",
            "user-agent": USER_AGENT,
            "webhook-id": row["id"],
            "webhook-timestamp": str(int(at.timestamp())),
        }
        signed = signatures(
            self._sending.installation_key,
            row["webhook_id"],
            row["generation"],
            row["previous_until"],
            id=row["id"],
            at=at,
            payload=row["payload"],
        )
        outcome = await self._poster.post(
            row["url"], headers | {"webhook-signature": signed}, row["payload"].encode()
        )
        try:
            gone = outcome.answer is not None and outcome.answer.status == GONE
            # Its url may have been changed meanwhile: then the new one is tried.
            if gone and (gone := await self._pool.fetchval(STILL_THERE, row["webhook_id"], row["url"])):
                await self._turn_off(row)
            await self._keep(row, at, headers, outcome, gone=bool(gone))
        except PASSING as error:
            logger.warning("delivery_not_kept", delivery_id=row["id"], error=repr(error))

    async def _turn_off(self, row: Any) -> None:
        """The receiver has asked for nothing more."""
        body = UpdateWebhook(row["webhook_id"], enabled=False, reason="gone", only_at=row["url"])
        id = derive_id("cmd", REACTOR, row["id"], str(row["attempts"]))
        await self._commands.send(
            command_record(
                ACCOUNTS,
                id=id,
                aggregate_id=row["account_id"],
                actor="system:reactor",
                correlation_id=row["id"],
                source="reactor",
                body=body,
            )
        )

    async def _keep(
        self, row: Any, at: datetime, headers: dict[str, str], outcome: Outcome, *, gone: bool
    ) -> None:
        status, again = ("failed", None) if gone else self._next(row, outcome)
        request = {"url": row["url"], "headers": headers}
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(
                KEEP,
                row["id"],
                row["attempts"],
                at,
                outcome.seconds,
                _json(request),
                _json(outcome.answer) if outcome.answer else None,
                outcome.error,
            )
            await connection.execute(END, row["id"], status, again)
        logger.info(
            "webhook_sent",
            delivery_id=row["id"],
            webhook_id=row["webhook_id"],
            type=row["type"],
            attempt=row["attempts"],
            answered=outcome.answer.status if outcome.answer else None,
            error=outcome.error,
            status=status,
        )

    def _next(self, row: Any, outcome: Outcome) -> tuple[str, datetime | None]:
        """What becomes of a delivery, and when it is tried again."""
        if outcome.accepted:
            return "delivered", None
        answer, now = outcome.answer, self._sending.now()
        asked = retry_after(answer.headers.get("retry-after"), now) if answer is not None else None
        schedule = ONCE if row["type"] == TEST else self._sending.schedule
        again = next_try(schedule, row["tries"], row["begun_at"], now, asked, self._sending.chance())
        return ("failed", None) if again is None else ("pending", again)


async def _clean(pool: asyncpg.Pool, stop: asyncio.Event) -> None:
    """Forget old deliveries, now and then."""
    while not stop.is_set():
        try:
            while (await pool.execute(CLEAN, KEPT_DAYS, CLEANED_AT_A_TIME)) == f"DELETE {CLEANED_AT_A_TIME}":
                pass
        except PASSING as error:
            await interrupted(REACTOR, error, stop)
        await paused(CLEAN_SECONDS, stop)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
