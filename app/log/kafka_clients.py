"""How every aiokafka client of ours is started and stopped: within bounds, and with nothing left behind.

aiokafka bounds neither. Interrupted in one of them it leaves tasks and connections behind, and interrupted
while it asks for the brokers it forgets the connection it asks on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from itertools import chain
from typing import Any

import aiokafka.client
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import (
    IllegalOperation,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
)

from app.log import bounds
from app.log.kafka_refusals import REFUSALS, UNKNOWN_USERS, not_authorized
from app.log.port import Unavailable

_opened: ContextVar[list[AIOKafkaConnection] | None] = ContextVar("opened by this start", default=None)


@asynccontextmanager
async def translated(doing: str) -> AsyncIterator[None]:
    """Turn aiokafka's errors into `Unavailable`; those with a meaning of their own pass."""
    try:
        yield
    except MessageSizeTooLargeError:
        raise
    except REFUSALS as error:
        raise not_authorized(doing, error) from error
    except (KafkaError, OSError) as error:
        raise Unavailable(f"Kafka could not {doing}: {error!r}") from error


@asynccontextmanager
async def bounded(doing: str, seconds: float | None = None) -> AsyncIterator[None]:
    """Bound what aiokafka does not, by `bounds.ANSWER_WITHIN` unless told. Raises `Unavailable`."""
    seconds = bounds.ANSWER_WITHIN if seconds is None else seconds
    try:
        async with asyncio.timeout(seconds), translated(doing):
            yield
    except TimeoutError as error:
        raise Unavailable(f"Kafka did not {doing} within {seconds:g} s") from error


async def started(client: Any, doing: str, options: Mapping[str, Any]) -> None:
    """Start a client made with these options, or leave nothing of it. Raises `LogError`."""
    opened: list[AIOKafkaConnection] = []
    token = _opened.set(opened)
    try:
        async with bounded(doing):
            await _start(client, options)
    except BaseException:
        for connection in opened:
            connection.close()
        await stopped(client)
        raise
    finally:
        _opened.reset(token)


async def _start(client: Any, options: Mapping[str, Any]) -> None:
    """Start a client. Refused for its password, aiokafka says it found no broker."""
    try:
        await client.start()
    except KafkaConnectionError:
        if "sasl_mechanism" in options:
            await _connect(options)
        raise


async def _connect(options: Mapping[str, Any]) -> None:
    """Connect to a broker by hand. Raises the refusal if it is one."""
    asked = {
        name: value for name, value in options.items() if name.startswith(("sasl_", "security_", "ssl_"))
    }
    for address in str(options["bootstrap_servers"]).split(","):
        host, _, port = address.rpartition(":")
        try:
            connection = await create_conn(host, int(port), **asked)
        except UNKNOWN_USERS:
            raise
        except (KafkaError, OSError, TimeoutError):
            continue
        connection.close()
        return


@asynccontextmanager
async def administrator(
    options: Mapping[str, Any], doing: str, seconds: float | None = None
) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client for a context that is bounded as `bounded` does. Raises `LogError`."""
    async with bounded(doing, seconds):
        admin = AIOKafkaAdminClient(**options)
        await started(admin, doing, options)
        try:
            yield admin
        finally:
            await stopped(admin)


async def stopped(client: Any) -> None:
    """Stop a client within `bounds.CLOSE_WITHIN`; what hangs is dropped."""
    async with stopping(client):
        await (client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())


@asynccontextmanager
async def stopping(client: Any) -> AsyncIterator[None]:
    """What stops a client is bounded and may fail; after it the client has neither tasks nor connections."""
    try:
        async with asyncio.timeout(bounds.CLOSE_WITHIN):
            yield
    except asyncio.CancelledError:
        # A consumer stopped right after its start lets the cancellation of its own task out.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
    except (KafkaError, IllegalOperation, OSError, TimeoutError, AssertionError):
        pass
    finally:
        _drop(client)


def _drop(client: Any) -> None:
    """Cancel and close what a client has, at once: nothing of it that goes on may connect again."""
    connections = getattr(client, "client", None) or client._client
    connections._get_conn = _none
    for task in _tasks_of(client, connections):
        task.cancel()
        task.add_done_callback(looked_at)
    for connection in connections._conns.values():
        connection.close()
    if (unsent := getattr(client, "_message_accumulator", None)) is not None:
        looked_after(unsent)
        unsent.fail_all(KafkaConnectionError("the producer was stopped"))


def _tasks_of(client: Any, connections: Any) -> Iterator[asyncio.Task[Any]]:
    """What runs for a producer, a consumer, a member or an admin client."""
    sender = getattr(client, "_sender", None)
    fetcher = getattr(client, "_fetcher", None)
    coordinator = getattr(client, "_coordinator", None)
    for owner, name in (
        (connections, "_sync_task"),
        (sender, "_sender_task"),
        (fetcher, "_fetch_task"),
        (coordinator, "_coordination_task"),
        (coordinator, "_heartbeat_task"),
        (coordinator, "_commit_refresh_task"),
        (coordinator, "_reset_committed_task"),
    ):
        task = getattr(owner, name, None)
        if task is not None and not task.done():
            yield task
    yield from getattr(fetcher, "_pending_tasks", ())


async def _none(*_: Any, **__: Any) -> None:
    """No connection, which aiokafka takes for a broker that is not ready."""


def looked_after(unsent: Any) -> None:
    """Look at the errors of all batches that a producer has: when one fails the others fail as well."""
    for batch in (*chain.from_iterable(unsent._batches.values()), *unsent._pending_batches):
        for future in (batch.future, batch._drain_waiter, *(future for future, _ in batch._msg_futures)):
            future.add_done_callback(looked_at)


def looked_at(future: asyncio.Future[Any]) -> None:
    """Asyncio complains of every error that nobody looked at."""
    if not future.cancelled():
        future.exception()


async def _create_conn(*address: Any, **options: Any) -> AIOKafkaConnection:
    """Connect, and remember the connection for the start that it is made in."""
    connection = await create_conn(*address, **options)
    opened = _opened.get()
    if opened is not None and "on_close" not in options:  # the one that only asks for the brokers
        opened.append(connection)
    return connection


aiokafka.client.create_conn = _create_conn
