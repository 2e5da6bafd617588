"""Commands sent and their replies awaited; then the read model awaited, so that a client sees what it did."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

import asyncpg
import msgspec
import structlog
from prometheus_client import Histogram

from app.api.known import Known
from app.database import DATABASE_ERRORS
from app.domain.decider import Decider
from app.log import topics
from app.log.codec import Reply, command_record
from app.log.port import Log, LogError, Reader, Start, all_partitions
from app.log.sender import Sender

CHANNEL = "tunesmith_applied"
REPLY_WITHIN = 10.0
VISIBLE_WITHIN = 2.0
PAUSE_AFTER_ERROR = 0.5
LISTENER_ASKED_SECONDS = 10.0
LISTENER_ANSWERS_WITHIN = 3.0

VERSIONS = {
    "job": "SELECT version FROM tunings WHERE id = $1",
    "file": "SELECT version FROM files WHERE id = $1",
    "acct": "SELECT version FROM accounts WHERE id = $1",
}
MODEL_VERSION = "SELECT version FROM models WHERE id = $1"  # a model's id has no prefix of its own

REPLIED = Histogram(
    "tunesmith_command_seconds",
    "Time until a command's reply, as the api sees it: accepted, refused, error or unanswered",
    ["stream", "outcome"],
    registry=None,
)
SHOWN = Histogram(
    "tunesmith_visible_seconds",
    "Time from a command's reply until the read model shows what it made",
    ["shown"],
    registry=None,
)

logger = structlog.get_logger("api")


class Unanswered(Exception):
    """No reply came in time: it is unknown whether the command took."""


class Watch:
    """Interest in one aggregate, from before its command is sent: the newest version that was applied."""

    def __init__(self) -> None:
        self.version = 0
        self.unsure = False
        self.news = asyncio.Event()


class Commands:
    """One api process's way to the log: a writer, a reader of all replies, a listener to the read model."""

    def __init__(self, log: Log, dsn: str, pool: asyncpg.Pool, known: Known) -> None:
        self._log, self._dsn, self._pool, self._known = log, dsn, pool, known
        self._sender = Sender(log)
        self._waiting: dict[str, set[asyncio.Future[Reply]]] = {}
        self._watches: dict[str, set[Watch]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Connect. Raises `Unavailable`, or the database's errors."""
        await self._sender.start()
        replies = await self._reply_reader()
        listening = await self._listen()
        self._tasks = [
            asyncio.create_task(self._read_replies(replies)),
            asyncio.create_task(self._keep_listening(listening)),
        ]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._sender.close()

    async def ask(
        self, decider: Decider, aggregate_id: str, body: Any, *, id: str, actor: str, request_id: str
    ) -> Reply:
        """Send a command and wait for its reply; one with the id of an earlier one gets the same reply.

        Raises `Unanswered`, `LogError`.
        """
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(id, set()).add(future)
        began, outcome = time.perf_counter(), "unanswered"
        try:
            await self._sender.send(
                command_record(
                    decider,
                    id=id,
                    aggregate_id=aggregate_id,
                    actor=actor,
                    correlation_id=request_id,
                    source="api",
                    body=body,
                )
            )
            async with asyncio.timeout(REPLY_WITHIN):
                reply = await future
            outcome = "accepted" if reply.accepted else "refused"
            if reply.code == "internal_error":
                outcome = "error"
            return reply
        except TimeoutError as error:
            raise Unanswered(f"command {id} got no reply within {REPLY_WITHIN:g} s") from error
        finally:
            REPLIED.labels(decider.stream, outcome).observe(time.perf_counter() - began)
            self._waiting[id].discard(future)
            if not self._waiting[id]:
                del self._waiting[id]

    def watch(self, aggregate_id: str) -> Watch:
        """Begin to follow an aggregate's applied versions; end it with `unwatch`."""
        watch = Watch()
        self._watches.setdefault(aggregate_id, set()).add(watch)
        return watch

    def unwatch(self, aggregate_id: str, watch: Watch) -> None:
        followers = self._watches.get(aggregate_id, set())
        followers.discard(watch)
        if not followers:
            self._watches.pop(aggregate_id, None)

    async def visible(self, aggregate_id: str, version: int, watch: Watch, within: float) -> bool:
        """Wait until the read model has reached `version`; False when it has not within these seconds.

        A database that does not answer is no reason to fail: what was asked for is on the log.
        """
        began = time.perf_counter()
        shown = await self._shown(aggregate_id, version, watch, within)
        SHOWN.labels("yes" if shown else "no").observe(time.perf_counter() - began)
        return shown

    async def _shown(self, aggregate_id: str, version: int, watch: Watch, within: float) -> bool:
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(within):
                    while watch.version < version:
                        if watch.unsure:
                            watch.unsure = False
                            watch.version = max(watch.version, await self._applied(aggregate_id))
                            continue
                        await watch.news.wait()
                        watch.news.clear()
            return watch.version >= version or await self._applied(aggregate_id) >= version
        except DATABASE_ERRORS as error:
            logger.warning("visibility_unknown", aggregate_id=aggregate_id, error=repr(error))
            return False

    async def _applied(self, aggregate_id: str) -> int:
        query = VERSIONS.get(aggregate_id.partition("-")[0], MODEL_VERSION)
        return int(await self._pool.fetchval(query, aggregate_id) or 0)

    async def _reply_reader(self) -> Reader:
        partitions = await all_partitions(self._log, topics.REPLIES)
        return await self._log.reader(dict.fromkeys(partitions, Start.END))

    async def _read_replies(self, reader: Reader | None) -> None:
        """Hand each reply to whoever waits for it; begin at the end again after an error."""
        decoder = msgspec.json.Decoder(Reply)
        while True:
            try:
                reader = reader or await self._reply_reader()
                for record in await reader.fetch(1000, 1.0):
                    for future in self._waiting.get(record.key or "", ()):
                        if not future.done():
                            future.set_result(decoder.decode(record.value or b""))
            except (LogError, msgspec.DecodeError) as error:
                logger.warning("replies_interrupted", error=str(error))
                if reader is not None:
                    await reader.close()
                reader = None
                await asyncio.sleep(PAUSE_AFTER_ERROR)
            except asyncio.CancelledError:
                if reader is not None:
                    await reader.close()
                raise

    async def _listen(self) -> asyncpg.Connection:
        connection = await asyncpg.connect(self._dsn, timeout=LISTENER_ANSWERS_WITHIN)
        await connection.add_listener(CHANNEL, self._on_applied)
        self._known.heard = True
        return connection

    async def _keep_listening(self, connection: asyncpg.Connection) -> None:
        """A connection that drops loses messages: after a new one, whoever waits asks the table."""
        try:
            while True:
                lost = asyncio.Event()
                connection.add_termination_listener(lambda _, lost=lost: lost.set())
                while not lost.is_set():
                    await self._ask_now_and_then(connection, lost)
                self._known.heard = False
                self._known.forget_all()
                while connection.is_closed():
                    await asyncio.sleep(PAUSE_AFTER_ERROR)
                    with suppress(*DATABASE_ERRORS):
                        connection = await self._listen()
                self._on_applied(connection, 0, CHANNEL, "*")
        finally:
            await connection.close(timeout=2)

    async def _ask_now_and_then(self, connection: asyncpg.Connection, lost: asyncio.Event) -> None:
        """A connection that only listens does not notice that the other end is gone."""
        try:
            async with asyncio.timeout(LISTENER_ASKED_SECONDS):
                await lost.wait()
        except TimeoutError:
            try:
                await connection.execute("SELECT 1", timeout=LISTENER_ANSWERS_WITHIN)
            except DATABASE_ERRORS as error:
                logger.warning("listener_lost", error=repr(error))
                connection.terminate()
                lost.set()

    def _on_applied(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        if payload == "*":
            self._known.forget_all()
            for watches in self._watches.values():
                for watch in watches:
                    watch.unsure = True
                    watch.news.set()
            return
        for applied in str(payload).split():
            id, _, version = applied.rpartition(":")
            self._known.forget(id)
            for watch in self._watches.get(id, ()):
                if version.isdecimal():
                    watch.version = max(watch.version, int(version))
                watch.news.set()
