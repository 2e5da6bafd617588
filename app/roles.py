"""The six roles in a process: started together, drained together."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog

from app.catalogue.catalogue import use_catalogue
from app.settings import Settings, SettingsError

ROLES = ("api", "command-handler", "scheduler", "projector", "reactor", "trainer-worker")

logger = structlog.get_logger("roles")


class RoleFailed(Exception):
    """A role ended although nobody asked it to."""


async def run_roles(settings: Settings, names: Sequence[str]) -> None:
    """Run these roles until SIGTERM or SIGINT, then drain them within `drain_seconds`.

    Raises `RoleFailed`, `SettingsError`, or what keeps a role from starting.
    """
    use_catalogue(settings.models)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sent in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sent, stop.set)
    tasks: dict[asyncio.Task[Any], str] = {
        asyncio.create_task(role): name for name, role in roles_of(settings, names, stop).items()
    }
    stopped = asyncio.create_task(stop.wait())
    logger.info("roles_started", roles=list(names), pid=os.getpid())
    try:
        done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        if stopped not in done:
            stop.set()
            for task in done:
                if task in tasks and task.exception() is None:
                    raise RoleFailed(f"{tasks[task]} ended by itself")
    finally:
        stopped.cancel()
        logger.info("draining", seconds=settings.drain_seconds)
        _, late = await asyncio.wait(tasks, timeout=settings.drain_seconds)
        for task in late:
            logger.warning("drained_too_slowly", role=tasks[task])
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task, name in tasks.items():
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("role_failed", role=name, error=str(error))
            raise error
    logger.info("drained", roles=list(names))


def roles_of(
    settings: Settings, names: Sequence[str], stop: asyncio.Event
) -> dict[str, Coroutine[Any, Any, None]]:
    """The named roles, each ready to be awaited; only their own code is imported."""
    from app.log.kafka import log_of
    from app.storage.store import Store

    if settings.kafka is None:
        raise SettingsError("TUNESMITH_KAFKA is not set: name the brokers, as host:port")
    log = log_of(settings)
    worker = settings.worker or socket.gethostname()

    def database() -> str:
        if settings.database is None:
            raise SettingsError("TUNESMITH_DATABASE is not set: name the PostgreSQL server, as a DSN")
        return settings.database

    def store() -> Store:
        return Store(settings.storage or f"file://{settings.data_dir.resolve() / 'objects'}")

    def api() -> Coroutine[Any, Any, None]:
        from app.api.app import serve

        def listening(url: str) -> None:
            logger.info("api_listening", url=url)

        return serve(settings, log, database(), store(), stop, listening)

    def command_handler() -> Coroutine[Any, Any, None]:
        from app.command_handler.serve import serve

        return serve(log, stop)

    def scheduler() -> Coroutine[Any, Any, None]:
        from app.scheduler.loop import serve

        return serve(settings, log, stop)

    def projector() -> Coroutine[Any, Any, None]:
        from app.projections.read_model import serve

        return serve(log, database(), stop)

    def reactor() -> Coroutine[Any, Any, None]:
        from app.reactors.deliveries import Sending
        from app.reactors.serve import serve

        key, allowed = settings.installation_key, settings.webhook_networks()
        sending = Sending(installation_key=key, allowed=allowed) if key is not None else None
        return serve(log, database(), store(), stop, sending)

    def trainer_worker() -> Coroutine[Any, Any, None]:
        from app.trainer_worker.worker import serve

        return serve(settings, log, store(), settings.data_dir.resolve() / "work" / worker, stop, worker)

    made: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
        "api": api,
        "command-handler": command_handler,
        "scheduler": scheduler,
        "projector": projector,
        "reactor": reactor,
        "trainer-worker": trainer_worker,
    }
    return {name: made[name]() for name in names}


def collect_seldom() -> None:
    """What a role makes dies young and in no cycles: to look for these takes a quarter of its time."""
    gc.freeze()
    gc.set_threshold(50_000, 10, 50)


def run(settings: Settings, names: Sequence[str]) -> None:
    """Run roles on uvloop."""
    import uvloop

    collect_seldom()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run_roles(settings, names))
    sys.stdout.flush()
