"""The Litestar app, put together and served."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Callable

import uvicorn
from litestar import Litestar
from litestar.di import Provide
from litestar.openapi.config import OpenAPIConfig
from litestar.types import ASGIApp
from msgspec import Struct

from app.api import idempotency
from app.api.audit import Audit
from app.api.auth import Keys
from app.api.commands import Commands
from app.api.database import pool_of
from app.api.edge import edge
from app.api.errors import HANDLERS
from app.api.fleet import Fleet
from app.api.known import Known
from app.api.lag import Lags
from app.api.overlaps import Overlaps
from app.api.routes import (
    accounts,
    adapters,
    audit,
    checkpoints,
    docs,
    estimates,
    events,
    examples,
    files,
    keys,
    logs,
    metrics,
    models,
    openai_jobs,
    operations,
    tunings,
    uploads,
    webhooks,
)
from app.api.service import Service
from app.api.session import authenticate, session_of
from app.api.streams import Streams
from app.api.sweep import keep_swept
from app.api.wire import Refused, bounded
from app.log.port import Log
from app.settings import Settings
from app.storage.store import Store

# Longer than clients keep an idle connection (httpx 5 s), so that none is closed just as it is used again.
KEEP_ALIVE_SECONDS = 30


def create_app(service: Service, fleet: Fleet, log: Log) -> ASGIApp:
    """The app over its dependencies, with its edge: around all of it, for unknown routes have answers too."""
    app = routed()
    app.state.service, app.state.fleet, app.state.log = service, fleet, log
    app.state.lags = Lags(log, service.pool)
    return edge(idempotency.settling(app), service.audit.hear)


def routed() -> Litestar:
    """Every route, without what they work with."""
    return Litestar(
        [
            *tunings.ROUTES,
            *estimates.ROUTES,
            *events.ROUTES,
            *metrics.ROUTES,
            *checkpoints.ROUTES,
            *logs.ROUTES,
            *examples.ROUTES,
            *adapters.ROUTES,
            *files.ROUTES,
            *uploads.ROUTES,
            *models.ROUTES,
            *openai_jobs.ROUTES,
            *keys.ROUTES,
            *accounts.ROUTES,
            *audit.ROUTES,
            *webhooks.ROUTES,
            *operations.ROUTES,
            *docs.ROUTES,
        ],
        guards=[authenticate],
        before_request=idempotency.before,
        dependencies={"session": Provide(session_of, sync_to_thread=False)},
        exception_handlers=HANDLERS | {idempotency.Replayed: idempotency.handle_replayed},
        openapi_config=OpenAPIConfig(title="Tunesmith", version="1"),
        request_max_body_size=None,
        logging_config=None,
    )


class Drain(Struct, frozen=True):
    """When to end, within how many seconds, and what to do first."""

    stop: asyncio.Event
    seconds: float
    before: Callable[[], None]


class PortInUse(Exception):
    """Somebody listens there already."""


async def serve(
    settings: Settings,
    log: Log,
    dsn: str,
    store: Store,
    stop: asyncio.Event,
    on_listening: Callable[[str], None] = lambda url: None,
) -> None:
    """The role: answer requests until `stop`, then finish those in flight. Raises `PortInUse`."""
    _allow_connections()
    listening = _listen(settings.host, settings.port)
    address = f"http://{settings.host}:{listening.getsockname()[1]}"
    with listening:
        async with pool_of(dsn) as pool:
            known, overlaps = Known(pool), Overlaps(store)
            commands, fleet = Commands(log, dsn, pool, known), Fleet(settings.lease_seconds)
            await commands.start()
            keys = Keys(pool)
            told = Audit(pool, keys.remembered)
            streams = Streams(pool, commands, keys)
            beside = [
                asyncio.create_task(work)
                for work in (
                    fleet.follow(log),
                    keys.keep_looking(),
                    told.write(),
                    keep_swept(pool, settings.audit_days),
                )
            ]
            try:
                service = Service(settings, pool, keys, known, store, commands, told, streams, overlaps)
                app = create_app(service, fleet, log)
                drain = Drain(stop, settings.drain_seconds, streams.end_all)
                await _answer(app, listening, drain, lambda: on_listening(address), told.hear_unread)
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)
                await overlaps.close()
                await service.joining.close()
                await commands.close()


async def _answer(
    app: ASGIApp,
    listening: socket.socket,
    drain: Drain,
    on_listening: Callable[[], None],
    on_refused: Refused,
) -> None:
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="on",
            timeout_graceful_shutdown=int(drain.seconds),
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            server_header=False,
            http=bounded(on_refused),
        )
    )
    # `serve` would take the signals for itself; they are the process's.
    serving = asyncio.create_task(server._serve(sockets=[listening]))
    stopped = asyncio.create_task(drain.stop.wait())
    try:
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        if server.started:
            on_listening()
        await asyncio.wait([stopped, serving], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        drain.before()
        server.should_exit = True
        await serving


def _allow_connections() -> None:
    """As many open files as this process may have: every stream is one, and the usual limit is 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _listen(host: str, port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise PortInUse(
            f"port {port} on {host} cannot be listened on ({error.strerror}); give another one with --port"
        ) from error
    listening.listen(1024)
    return listening
