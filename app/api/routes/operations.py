"""What operators and their machines ask: health, liveness, metrics. No key is needed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from litestar import Request, Response, get
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from app.api.audit import LOST
from app.api.commands import REPLIED, SHOWN
from app.api.edge import LATENCY
from app.api.errors import RETRY_AFTER_SECONDS
from app.api.figures import job_families, lag_families, role_families
from app.api.fleet import RESTARTS, Fleet
from app.api.schemas.health import Health, Liveness, device_details
from app.api.service import Service

CHECKED_WITHIN = 3.0


@get("/livez", operation_id="livez", scope=None)
async def livez() -> Liveness:
    """This process answers."""
    return Liveness()


@get("/health", operation_id="health", scope=None, answers=(503,))
async def health(request: Request[Any, Any, Any]) -> Response[Health]:
    """Whether everything this service stands on answers a real request: 200, or 503."""
    service: Service = request.app.state.service
    fleet: Fleet = request.app.state.fleet

    async def database() -> None:
        await service.pool.fetchval("SELECT count(*) FROM meta")

    checks: dict[str, Callable[[], Awaitable[None]]] = {
        "database": database,
        "kafka": request.app.state.log.answers,
        "storage": service.store.answers,
    }
    found = dict(
        zip(checks, await asyncio.gather(*(_checked(check) for check in checks.values())), strict=True)
    )
    living = fleet.living()
    slots = [slot for heartbeat in living for slot in heartbeat.slots]
    told = Health(
        database=found["database"],
        kafka=found["kafka"],
        storage=found["storage"],
        gpu="ok" if living else "error: no trainer worker lives",
        devices=sorted({slot.device.kind for slot in slots}),
        device_details=device_details(slots),
    )
    if told.ok:
        return Response(told)
    return Response(told, status_code=503, headers={"retry-after": str(RETRY_AFTER_SECONDS)})


async def _checked(check: Callable[[], Awaitable[None]]) -> str:
    checking = asyncio.ensure_future(check())
    try:
        done, _ = await asyncio.wait([checking], timeout=CHECKED_WITHIN)
    finally:
        checking.cancel()  # and not waited for: what hangs may hang in its end as well
    if not done:
        checking.add_done_callback(lambda one: one.cancelled() or one.exception())
        return f"error: no answer within {CHECKED_WITHIN:g} s"
    error = checking.exception()
    return "ok" if error is None else f"error: {type(error).__name__}: {error}"


class _Gathered:
    """Metric families as a registry wants them."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


@get("/metrics", operation_id="metrics", scope=None, media_type=CONTENT_TYPE_LATEST)
async def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Prometheus metrics.

    Those of jobs, lag, workers and webhooks come from the log and the read model, so every api process tells
    the same; times of requests and commands are each process's own.
    """
    service: Service = request.app.state.service
    state = request.app.state
    registry = CollectorRegistry()
    families = [
        *await job_families(service.pool),
        *await role_families(service.pool, state.fleet),
        *await lag_families(state.lags),
    ]
    registry.register(_Gathered(families))
    for own in (LATENCY, REPLIED, SHOWN, RESTARTS, LOST):
        registry.register(own)
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


ROUTES = [livez, health, metrics]
