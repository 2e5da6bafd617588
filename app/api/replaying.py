"""A tuning's events told to a webhook again, because somebody asks for it."""

from __future__ import annotations

from datetime import UTC, datetime

from app.api.errors import invalid
from app.api.kept_events import read_body
from app.api.requests import is_count
from app.api.schemas.errors import RequestFault
from app.api.schemas.webhooks import WebhookReplay
from app.api.session import Session
from app.domain.telling import event_name, event_view
from app.domain.tunings import TUNINGS
from app.domain.webhooks import Webhook
from app.webhooks.payloads import event_payload, types_of
from app.webhooks.queue import Delivery, enqueue

MOST_EVENTS = 10_000
AT_A_TIME = 500

# Events have times, and an order within their tuning. Of two tunings' at the same time neither is the later
# one: both are sent, for twice is better than not at all.
LATER = """
SELECT e.tuning_id, e.version, e.type, e.at, e.body
FROM tuning_events e JOIN tunings t ON t.id = e.tuning_id AND t.account_id = $1
WHERE e.type = ANY($2::text[]) AND (e.at > $3 OR (e.at = $3 AND (e.tuning_id <> $4 OR e.version > $5)))
ORDER BY e.at, e.tuning_id, e.version LIMIT $6
"""
PLACE = """
SELECT e.at FROM tuning_events e JOIN tunings t ON t.id = e.tuning_id AND t.account_id = $1
WHERE e.tuning_id = $2 AND e.version = $3
"""


async def replay(session: Session, webhook: Webhook, after: str | None, since: int | None) -> WebhookReplay:
    """Queue the events behind one of them, or since a time in Unix seconds. Raises `ApiError` 400."""
    account_id = session.caller.account_id
    if after is not None:
        at, tuning_id, version = await _place(session, after)
    else:
        at, tuning_id, version = datetime.fromtimestamp(since or 0, UTC), "", 0
    wanted = [name for name in TUNINGS.events if set(types_of(event_name(name))).intersection(webhook.types)]
    looked_at, queued, last = 0, 0, None
    async with session.service.pool.acquire() as connection, connection.transaction():
        cursor = await connection.cursor(LATER, account_id, wanted, at, tuning_id, version, MOST_EVENTS + 1)
        while looked_at < MOST_EVENTS:
            rows = await cursor.fetch(min(AT_A_TIME, MOST_EVENTS - looked_at))
            if not rows:
                break
            deliveries = []
            for row in rows:
                event = event_view(row["tuning_id"], row["version"], row["at"], read_body(row))
                deliveries += [
                    Delivery(webhook.id, event.id, type, event_payload(type, event))
                    for type in types_of(event.type)
                    if type in webhook.types
                ]
                last = event.id
            await enqueue(connection, deliveries, again=True)
            looked_at, queued = looked_at + len(rows), queued + len(deliveries)
        more = looked_at == MOST_EVENTS and bool(await cursor.fetch(1))
    return WebhookReplay(queued=queued, has_more=more, last_event=last)


async def _place(session: Session, event_id: str) -> tuple[datetime, str, int]:
    """When an event of the account's was, and which one it is. Raises `ApiError` 400."""
    tuning_id, _, version = event_id.rpartition(":")
    at = None
    if is_count(version) and int(version) < 2**31:
        at = await session.service.pool.fetchval(PLACE, session.caller.account_id, tuning_id, int(version))
    if at is None:
        message = f"there is no event {event_id!r}; an event's id is as `job-…:1`"
        raise invalid([RequestFault("after", message, "event_not_found")])
    return at, tuning_id, int(version)
