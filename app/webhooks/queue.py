"""Deliveries that wait: one for each endpoint, event and type, however often it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from app.domain.ids import derive_id

QUEUE = """
INSERT INTO ops.deliveries (id, webhook_id, event_id, type, payload)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
ON CONFLICT (id) DO
"""
ONCE = f"{QUEUE} NOTHING"
AGAIN = f"""{QUEUE} UPDATE SET
    status = 'pending', queued_at = now(), next_at = now(), begun_at = NULL, ended_at = NULL, tries = 0
"""


class Delivery(Struct, frozen=True):
    """Something to tell an endpoint."""

    webhook_id: str
    event_id: str
    type: str
    payload: str

    @property
    def id(self) -> str:
        """The same for the same event, so that whoever gets it twice knows."""
        return derive_id("whd", self.webhook_id, self.event_id, self.type)


async def enqueue(connection: Any, deliveries: Sequence[Delivery], *, again: bool = False) -> None:
    """Queue deliveries. Those that are known already stay as they are, unless they are to go out `again`."""
    if not deliveries:
        return
    columns = [[each.id for each in deliveries]]
    columns += [
        [getattr(each, name) for each in deliveries] for name in ("webhook_id", "event_id", "type", "payload")
    ]
    await connection.execute(AGAIN if again else ONCE, *columns)
