"""When a delivery that failed is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from msgspec import Struct

JITTER = 0.2
LONGEST_WAIT = 24 * 3600.0


class Schedule(Struct, frozen=True):
    """Seconds to wait after each try, the last of them ever again, and for how long in all to try."""

    waits: tuple[float, ...]
    within: float


THREE_DAYS = Schedule((5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800), 3 * 24 * 3600.0)
ONCE = Schedule((), 0.0)


def next_try(
    schedule: Schedule, tries: int, begun: datetime, now: datetime, asked: float | None, chance: float
) -> datetime | None:
    """When to try again after so many tries, the first at `begun`; None: given up.

    `asked`: the seconds of a `Retry-After`, which make a wait longer, up to a day. `chance`, from 0 to 1,
    spreads the waits by a fifth. The last try is when the time is over.
    """
    last = begun + timedelta(seconds=schedule.within)
    if now >= last or not schedule.waits:
        return None
    wait = schedule.waits[min(tries, len(schedule.waits)) - 1] * (1 - JITTER + 2 * JITTER * chance)
    if asked is not None:
        wait = max(wait, min(asked, LONGEST_WAIT))
    return min(now + timedelta(seconds=wait), last)


def retry_after(text: str | None, now: datetime) -> float | None:
    """The seconds that a header `Retry-After` asks for, as a number or a date."""
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text.strip()[:9])
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    until = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
    return max(0.0, (until - now).total_seconds())
