"""One tuning's news, read once for all who follow it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import asyncpg
import msgspec
import structlog

from app.api.commands import Watch
from app.api.kept_events import read_body
from app.api.schemas.metrics import step_view
from app.database import DATABASE_ERRORS
from app.domain.telling import event_view

FRAMES_KEPT = 64
PAGE = 100
PAUSE_AFTER_ERROR = 0.5
FAR = 2**31 - 1  # no event is behind this version

EVENTS = """
SELECT t.version AS newest, t.finished_at IS NOT NULL AS ended, e.version, e.type, e.at, e.body
FROM tunings t LEFT JOIN tuning_events e ON e.tuning_id = t.id AND e.version > $2
WHERE t.id = $1 ORDER BY e.version LIMIT $3
"""
NEWEST_STEP = """
SELECT attempt, coalesce((last_step->>'step')::int, 0) AS step,
    last_step->>'eval_loss' IS NOT NULL AS evaluated
FROM tuning_progress WHERE tuning_id = $1
"""
# The last one told comes again once it is evaluated.
STEPS = """
SELECT s.attempt, s.step, s.metric, s.at, s.metric->>'eval_loss' IS NOT NULL AS evaluated
FROM tuning_progress p JOIN tuning_steps s ON s.tuning_id = p.tuning_id AND s.attempt = p.attempt
WHERE p.tuning_id = $1
    AND (p.attempt <> $2 OR (s.step, s.metric->>'eval_loss' IS NOT NULL) > ($3::int, $4::boolean))
ORDER BY s.step DESC LIMIT $5
"""


logger = structlog.get_logger("api")


class Feed:
    """A tuning's last frames, and how far they go.

    Events are told without a gap; of steps only the newest are, for the loss curve has them all. A step
    that is evaluated is told again with its `eval_loss`, which comes after it.
    """

    def __init__(self, id: str) -> None:
        self.id = id
        self.version: int | None = None  # of the newest event read
        self.ended = self.gone = False
        self.events: deque[tuple[int, bytes]] = deque(maxlen=FRAMES_KEPT)
        self.steps: deque[bytes] = deque(maxlen=FRAMES_KEPT)
        self.steps_told = 0
        self._newest_step = (0, 0, False)  # attempt, step, and whether it is evaluated

    @property
    def floor(self) -> int:
        """Every event behind this version is among `events`."""
        return self.events[0][0] - 1 if self.events else self.version or 0

    async def follow(
        self, pool: asyncpg.Pool, readers: asyncio.Semaphore, watch: Watch, on_news: Callable[[], None]
    ) -> None:
        """Read what is new whenever the read model has news of the tuning, until cancelled."""
        while True:
            watch.news.clear()
            try:
                async with readers:
                    if self.version is None:
                        await self._begin(pool)
                    else:
                        await self._read(pool)
            except DATABASE_ERRORS as error:
                logger.warning("stream_interrupted", job_id=self.id, error=repr(error))
                await asyncio.sleep(PAUSE_AFTER_ERROR)
                continue
            on_news()
            await watch.news.wait()

    async def _begin(self, pool: asyncpg.Pool) -> None:
        """From here on; who wants what was before reads it from the table."""
        step = await pool.fetchrow(NEWEST_STEP, self.id)
        self._newest_step = (step["attempt"], step["step"], step["evaluated"]) if step else (0, 0, False)
        self._stands(await pool.fetch(EVENTS, self.id, FAR, 1))

    async def _read(self, pool: asyncpg.Pool) -> None:
        steps = await pool.fetch(STEPS, self.id, *self._newest_step, FRAMES_KEPT)
        for row in reversed(steps):
            self.steps.append(step_frame(row))
            self.steps_told += 1
            self._newest_step = row["attempt"], row["step"], row["evaluated"]
        while True:
            rows = await pool.fetch(EVENTS, self.id, self.version, PAGE)
            self.events.extend(event_frames(self.id, rows))
            self._stands(rows)
            if len(rows) < PAGE:
                return

    def _stands(self, rows: list[Any]) -> None:
        self.gone = not rows
        if rows:
            last = rows[-1]
            self.version = last["version"] or last["newest"]
            self.ended = last["ended"] and self.version == last["newest"]


def event_frames(id: str, rows: Iterable[Any]) -> list[tuple[int, bytes]]:
    """The frames of rows of `EVENTS`, each with its version."""
    frames: list[tuple[int, bytes]] = []
    for row in rows:
        if (version := row["version"]) is not None:  # a tuning without news is one row without an event
            view = event_view(id, version, row["at"], read_body(row))
            told = msgspec.json.encode(view)
            frames.append(
                (version, b"id: %b\nevent: %b\ndata: %b\n\n" % (view.id.encode(), view.type.encode(), told))
            )
    return frames


def step_frame(row: Any) -> bytes:
    """The frame of a step; it has no id, for a stream never begins again behind a step."""
    return b"event: metrics\ndata: %b\n\n" % msgspec.json.encode(step_view(row["metric"], row["at"]))
