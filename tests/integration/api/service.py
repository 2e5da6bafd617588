"""A whole service but for its trainers: handler, projector, reactor and api as tasks of one loop."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import msgspec
from msgspec import Struct

from app.api import app as api
from app.catalogue.catalogue import CATALOGUE
from app.command_handler.serve import serve as decide_commands
from app.domain.accounts import ACCOUNTS, IssueKey, OpenAccount, Scope, SuspendAccount
from app.domain.ids import derive_id
from app.domain.models import MODELS, RegisterModel
from app.domain.streams import STREAMS
from app.log.codec import command_record
from app.log.memory import MemoryLog
from app.log.port import Log
from app.log.topics import declared
from app.projections import read_model
from app.reactors.deliveries import Sending
from app.reactors.serve import serve as react
from app.settings import Settings
from app.storage.store import Store
from tests.conforming import conforms

MODEL = next(iter(CATALOGUE))
INSTALLATION_KEY, LOOPBACK = "installation-key-of-the-tests-alone", "127.0.0.0/8,::1/128"
ROW = b'{"messages": [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2"}]}\n'


class Running(Struct, frozen=True):
    """A service under test: where it answers, what it stands on, and the key of an account of its own."""

    url: str
    log: Log
    dsn: str
    store: Store
    settings: Settings
    folder: Path
    account: str
    key: str

    def client(self, key: str | None = None) -> httpx.AsyncClient:
        """A client with a key, the service's own account's unless another is given.

        Whatever it is answered is held against the OpenAPI document.
        """
        return httpx.AsyncClient(
            base_url=self.url,
            headers={"authorization": f"Bearer {key or self.key}"},
            event_hooks={"response": [conforms]},
            timeout=60,
        )

    async def send(self, stream: str, id: str, body: Any, *, actor: str = "system:test") -> None:
        """Send a command, past the api."""
        await send(self.log, stream, id, body, actor=actor)

    async def sql(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        """Rows of the read model."""
        connection = await asyncpg.connect(self.dsn, server_settings={"search_path": "read"})
        try:
            return list(await connection.fetch(query, *arguments))
        finally:
            await connection.close()


async def send(log: Log, stream: str, id: str, body: Any, *, actor: str = "system:test") -> None:
    """Send a command to its stream."""
    writer = await log.writer()
    try:
        record = command_record(
            STREAMS[stream],
            id=f"cmd-{uuid4().hex}",
            aggregate_id=id,
            actor=actor,
            correlation_id="test",
            source="test",
            body=body,
        )
        await writer.send(record)
    finally:
        await writer.close()


async def until(condition: Callable[[], Awaitable[Any]], within: float = 30.0) -> Any:
    """What the condition gives once it gives something."""
    async with asyncio.timeout(within):
        while not (found := await condition()):
            await asyncio.sleep(0.02)
    return found


def memory_log(partitions: int = 1) -> MemoryLog:
    """Every declared topic, in memory."""
    return MemoryLog({topic.name: partitions for topic in declared("embedded")})


async def open_account(running: Running, *scopes: Scope, suspended: bool = False) -> str:
    """Another account; its key."""
    id, key = derive_id("acct", uuid4().hex), f"sk-{uuid4().hex}"
    await _account(running.log, id, key, scopes or ("read", "write"))
    if suspended:
        await running.send("accounts", id, SuspendAccount())

    async def known() -> bool:
        found = await running.sql(
            "SELECT 1 FROM api_keys k JOIN accounts a ON a.id = k.account_id "
            "WHERE sha256 = $1 AND a.suspended = $2",
            _digest(key),
            suspended,
        )
        return bool(found)

    await until(known)
    return key


async def _account(log: Log, id: str, key: str, scopes: tuple[Scope, ...]) -> None:
    await send(log, ACCOUNTS.stream, id, OpenAccount(id))
    issue = IssueKey(derive_id("key", key), _digest(key), "test", scopes)
    await send(log, ACCOUNTS.stream, id, issue)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


@asynccontextmanager
async def running(
    log: Log, dsn: str, folder: Path, *, reactor: bool = True, sending: Sending | None = None, **settings: Any
) -> AsyncIterator[Running]:
    """The service on a free port with one account and the packaged model, until the context ends.

    Webhooks go out when it is told how to send them.
    """
    usual: dict[str, Any] = {
        "creates_per_minute": 0,
        "installation_key": INSTALLATION_KEY,
        "webhook_allow": LOOPBACK,
    }
    given = Settings(port=0, data_dir=folder, drain_seconds=5.0, **(usual | settings))
    store = Store(f"file://{folder}/objects")
    stop = asyncio.Event()
    url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    await read_model.prepare(dsn)
    async with asyncio.TaskGroup() as roles:
        roles.create_task(decide_commands(log, stop))
        roles.create_task(read_model.serve(log, dsn, stop))
        if reactor:
            roles.create_task(react(log, dsn, store, stop, sending))
        serving = roles.create_task(api.serve(given, log, dsn, store, stop, url.set_result))
        try:
            waited: list[asyncio.Future[Any]] = [url, serving]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            account, key = derive_id("acct", uuid4().hex), f"sk-{uuid4().hex}"
            service = Running(await url, log, dsn, store, given, folder, account, key)
            await _account(log, account, key, ("read", "write"))
            entry = CATALOGUE[MODEL]
            model = RegisterModel(
                entry.revision, entry.context_length, entry.parameters, entry.license, entry.template
            )
            await send(log, MODELS.stream, MODEL, model)
            async with service.client() as client:

                async def ready() -> bool:
                    answer = await client.get("/v1/models")
                    return answer.status_code == 200 and bool(answer.json()["data"])

                await until(ready)
            yield service
        finally:
            stop.set()


@asynccontextmanager
async def another_api(service: Running) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a second api over the same log and database, which shares nothing else with the first."""
    stop = asyncio.Event()
    url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(
        api.serve(service.settings, service.log, service.dsn, service.store, stop, url.set_result)
    )
    try:
        async with msgspec.structs.replace(service, url=await url).client() as client:
            yield client
    finally:
        stop.set()
        await serving


async def uploaded(client: httpx.AsyncClient, content: bytes = ROW * 8) -> str:
    """The id of a file that passed its check."""
    answer = await client.post(
        "/v1/files", data={"purpose": "fine-tune"}, files={"file": ("train.jsonl", content)}
    )
    assert answer.status_code == 201, answer.text
    assert answer.json()["status"] == "processed", answer.text
    return str(answer.json()["id"])
