"""What happened to one aggregate, straight from the log."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Struct

from app.domain.decider import Decider, fold
from app.log import topics
from app.log.codec import Event, read_event
from app.log.port import Log, batches_of

WITHIN_THE_SECOND = timedelta(microseconds=999_999)


class Past(Struct, frozen=True):
    """An aggregate after `version` events, the last of them at `at`."""

    version: int
    at: datetime
    state: Any


async def history_of(log: Log, deciders: Iterable[Decider], id: str) -> tuple[Decider, list[Event]] | None:
    """An aggregate's events in order, and the decider of the stream they are in; None where there are none.

    Reads the whole of a stream. Raises `Undecodable`.
    """
    for decider in deciders:
        events = [
            read_event(decider, received)
            async for batch in batches_of(log, topics.events(decider.stream))
            for received in batch
            if received.key == id
        ]
        if events:
            return decider, events
    return None


def past(
    decider: Decider, events: Iterable[Event], *, version: int | None = None, at: datetime | None = None
) -> Past | None:
    """The aggregate as it was at a version and a time, each if given; None before its first event."""
    then = [
        event
        for event in events
        if (version is None or event.version <= version) and (at is None or event.at <= at)
    ]
    if not then:
        return None
    state = fold(decider, ((event.body, event.recorded) for event in then))
    return Past(then[-1].version, then[-1].at, state)


def moment(text: str) -> datetime:
    """A time as people give it: RFC 3339, or Unix seconds, which mean the end of that second.

    The api tells whole seconds, so what it says happened in a second is in the past at that second. Raises
    `ValueError`.
    """
    try:
        if text.isdecimal():
            return datetime.fromtimestamp(int(text), UTC) + WITHIN_THE_SECOND
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(f"{text!r} is neither an RFC 3339 time nor Unix seconds") from error
    if found.tzinfo is None:
        raise ValueError(f"{text!r} has no offset; add one, or a Z for UTC")
    return found
