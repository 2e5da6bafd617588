"""Open event streams: what happens to a tuning, written to everybody who follows it.

A tuning that is followed has one feed, however many follow it. Who is further behind than the frames that the
feed keeps reads the events from the table, page by page. While a stream waits it holds its connection to the
client and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import asyncpg
import structlog
from litestar.types import Receive, Scope, Send

from app.api.auth import Keys
from app.api.commands import Commands
from app.api.feeds import EVENTS, PAGE, PAUSE_AFTER_ERROR, Feed, event_frames
from app.api.wire import HANG_UP
from app.database import DATABASE_ERRORS

HEARTBEAT_SECONDS = 15.0
READERS = 4  # of the pool's connections, whatever the number of streams

OPENING = b"retry: 1000\n\n"
HEARTBEAT = b":\n\n"
HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]

GOING = "this server is going away; connect again"
WORTHLESS = "this API key is no longer good"

logger = structlog.get_logger("api")


class Follower:
    """One open stream: how far it is, and why it is to end."""

    def __init__(self, feed: Feed, behind: int, hang_up: Callable[[], None] | None) -> None:
        self.feed, self.version = feed, behind
        self.woken = asyncio.Event()
        self.ending: str | None = None
        self._steps_told = feed.steps_told
        self._hang_up, self._writing = hang_up, False

    def end(self, why: str) -> None:
        """Let the stream end; the connection of a client that does not read is broken off."""
        self.ending = self.ending or why
        self.woken.set()
        if self._writing and self._hang_up is not None:
            self._hang_up()

    def taken(self) -> bytes:
        """The feed's frames that were not written yet."""
        feed = self.feed
        frames = [frame for version, frame in feed.events if version > self.version]
        self.version = max(self.version, feed.version or 0)
        if missed := feed.steps_told - self._steps_told:
            frames += list(feed.steps)[-missed:]
            self._steps_told = feed.steps_told
        return b"".join(frames)

    async def write(self, send: Send, body: bytes, *, more: bool = True) -> None:
        """Write to the client; waits while it does not read."""
        self._writing = True
        await send({"type": "http.response.body", "body": body, "more_body": more})
        self._writing = False


class Followed:
    """A feed, who follows it, and the task that reads it."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.followers: set[Follower] = set()
        self.reading: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Let every follower look at the feed."""
        for follower in self.followers:
            follower.woken.set()


class Streams:
    """Every open stream of one api process."""

    def __init__(self, pool: asyncpg.Pool, commands: Commands, keys: Keys) -> None:
        self._pool, self._commands, self._keys = pool, commands, keys
        self._followed: dict[str, Followed] = {}
        self._readers = asyncio.Semaphore(READERS)
        self._closed = False

    def end_all(self) -> None:
        """End every stream, and each that is asked for later: clients go on with another process."""
        self._closed = True
        for follower in self._followers():
            follower.end(GOING)

    async def tell(
        self, id: str, behind: int, key_id: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer a request with a tuning's events behind a version, and with its steps as they come."""
        extensions: Any = scope.get("extensions") or {}
        async with self._following(id, behind, extensions.get(HANG_UP, {}).get("abort")) as follower:
            leaving = asyncio.create_task(_left(receive))
            leaving.add_done_callback(lambda _: follower.end("the client has left"))
            try:
                with self._keys.while_good(key_id, partial(follower.end, WORTHLESS)):
                    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
                    await follower.write(send, OPENING)
                    await self._tell(follower, send)
                    last = f": {follower.ending}\n\n".encode() if follower.ending else b""
                    await follower.write(send, last, more=False)
            finally:
                leaving.cancel()

    async def _tell(self, follower: Follower, send: Send) -> None:
        """Write what there is, then what comes, until the tuning has ended and all is told."""
        feed = follower.feed
        while follower.ending is None and not feed.gone:
            follower.woken.clear()
            if feed.version is not None:
                if follower.version < feed.floor:
                    await self._catch_up(follower, send)
                    continue
                if frames := follower.taken():
                    await follower.write(send, frames)
                    continue
                if feed.ended:
                    return
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await follower.woken.wait()
            except TimeoutError:
                await follower.write(send, HEARTBEAT)

    async def _catch_up(self, follower: Follower, send: Send) -> None:
        """Write a page of the events that the feed keeps no longer."""
        try:
            async with self._readers:
                rows = await self._pool.fetch(EVENTS, follower.feed.id, follower.version, PAGE)
        except DATABASE_ERRORS as error:
            logger.warning("stream_interrupted", job_id=follower.feed.id, error=repr(error))
            await asyncio.sleep(PAUSE_AFTER_ERROR)
            return
        frames = event_frames(follower.feed.id, rows)
        await follower.write(send, b"".join(frame for _, frame in frames))
        follower.version = frames[-1][0] if frames else follower.feed.floor

    @asynccontextmanager
    async def _following(
        self, id: str, behind: int, hang_up: Callable[[], None] | None
    ) -> AsyncIterator[Follower]:
        """A follower of the tuning's feed, which is read as long as anybody follows it."""
        followed = self._followed.get(id)
        if followed is None:
            followed = self._followed[id] = Followed(Feed(id))
            followed.reading = asyncio.create_task(self._read(followed))
        follower = Follower(followed.feed, behind, hang_up)
        followed.followers.add(follower)
        if self._closed:
            follower.end(GOING)
        try:
            yield follower
        finally:
            followed.followers.discard(follower)
            if not followed.followers and self._followed.get(id) is followed:
                del self._followed[id]
                if followed.reading is not None:
                    followed.reading.cancel()

    async def _read(self, followed: Followed) -> None:
        id = followed.feed.id
        watch = self._commands.watch(id)
        try:
            await followed.feed.follow(self._pool, self._readers, watch, followed.wake)
        except Exception:
            logger.exception("stream_failed", job_id=id)
            self._followed.pop(id)
            for follower in followed.followers:
                follower.end("something went wrong here; the operator's log has more")
        finally:
            self._commands.unwatch(id, watch)

    def _followers(self) -> list[Follower]:
        return [follower for followed in self._followed.values() for follower in followed.followers]


async def _left(receive: Receive) -> None:
    """Wait until the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
