"""Where each waiting job stands, as the scheduler last planned, on the queue topic."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from app.log import topics
from app.log.codec import encode, headers
from app.log.port import Record


class QueuePlace(Struct, frozen=True):
    """Position from 1 in the order of starting, and when that may be."""

    position: int
    estimated_start: datetime | None = None


def queue_record(tuning_id: str, place: QueuePlace | None) -> Record:
    """A job's place, or a tombstone when it waits no longer."""
    attributes = headers(
        id=tuning_id, type="tunesmith.queue.place.v1", source="/tunesmith/scheduler", subject=tuning_id
    )
    return Record(topics.QUEUE, tuning_id, encode(place) if place else None, attributes)
