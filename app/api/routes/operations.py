"""What operators and their machines ask: health, liveness, metrics. No key is needed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from litestar import Request, Response, get
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from app.api.audit import LOST
from app.api.edge import LATENCY
from app.api.errors import RETRY_AFTER_SECONDS
from app.api.fleet import Fleet
from app.api.schemas.health import Health, Liveness
from app.api.service import Service

CHECKED_WITHIN = 3.0
DURATION_BUCKETS = (60, 300, 900, 1800, 3600, 7200, 14400, 28800, 86400)


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
    told = Health(
        database=found["database"],
        kafka=found["kafka"],
        storage=found["storage"],
        gpu="ok" if living else "error: no trainer worker lives",
        devices=sorted({slot.device.kind for heartbeat in living for slot in heartbeat.slots}),
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
    """Prometheus metrics. Those of jobs come from the events, so every api process tells the same."""
    service: Service = request.app.state.service
    registry = CollectorRegistry()
    registry.register(_Gathered(await job_families(service)))
    registry.register(LATENCY)
    registry.register(LOST)
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


async def job_families(service: Service) -> list[Metric]:
    """The source document's three metrics, out of the read model."""
    created = CounterMetricFamily(
        "tuning_job_created", "Total number of tuning jobs created", labels=["model", "user_id"]
    )
    for row in await service.pool.fetch("SELECT model, account_id, count(*) AS n FROM tunings GROUP BY 1, 2"):
        created.add_metric([row["model"], row["account_id"]], row["n"])
    status = GaugeMetricFamily(
        "tuning_job_status", "Current status of tuning jobs not ended", labels=["job_id", "status"]
    )
    for row in await service.pool.fetch(
        "SELECT id, status FROM tunings WHERE status IN ('pending', 'running', 'paused') ORDER BY id"
    ):
        status.add_metric([row["id"], row["status"]], 1)
    duration = HistogramMetricFamily(
        "tuning_job_duration_seconds", "Time spent training", labels=["model", "status"]
    )
    counts = ", ".join(f"count(*) FILTER (WHERE s <= {bound})" for bound in DURATION_BUCKETS)
    for row in await service.pool.fetch(
        f"SELECT model, status, sum(s)::float8, count(*), {counts} FROM (SELECT model, status, "
        "extract(epoch FROM finished_at - started_at) AS s FROM tunings "
        "WHERE finished_at IS NOT NULL AND started_at IS NOT NULL) AS ended GROUP BY 1, 2"
    ):
        model, ended, total, number, *below = row.values()
        buckets = [(str(float(bound)), n) for bound, n in zip(DURATION_BUCKETS, below, strict=True)]
        duration.add_metric([model, ended], buckets=[*buckets, ("+Inf", number)], sum_value=total)
    return [created, status, duration]


ROUTES = [livez, health, metrics]
