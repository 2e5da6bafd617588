"""What `/metrics` tells beside requests: out of the read model, the log's ends and the heartbeats."""

from __future__ import annotations

from collections import Counter

import asyncpg
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from app.api.fleet import Fleet
from app.api.lag import Lags

DURATION_BUCKETS = (60, 300, 900, 1800, 3600, 7200, 14400, 28800, 86400)

WAITING = """
SELECT count(*) AS number,
    coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 AS seconds
FROM tunings WHERE status IN ('pending', 'running', 'paused') AND status = 'pending'
"""
LOST = """
SELECT body ->> 'reason' AS reason, count(*) AS number FROM tuning_events
WHERE type = 'tunesmith.tuning.attempt_lost.v1' GROUP BY 1 ORDER BY 1
"""
FAILED = """
SELECT state -> 'failure' ->> 'code' AS code, state -> 'failure' ->> 'blame' AS blame, count(*) AS number
FROM tunings WHERE status = 'failed' GROUP BY 1, 2 ORDER BY 1, 2
"""
DELIVERIES = """
SELECT CASE WHEN status <> 'pending' THEN status WHEN next_at <= clock_timestamp() THEN 'due'
        ELSE 'waiting' END AS state,
    count(*) AS number,
    max(extract(epoch FROM clock_timestamp() - next_at)) FILTER (WHERE status = 'pending')::float8 AS seconds
FROM ops.deliveries WHERE status IN ('pending', 'failed') GROUP BY 1
"""


async def job_families(pool: asyncpg.Pool) -> list[Metric]:
    """The source document's three metrics."""
    created = CounterMetricFamily(
        "tuning_job_created", "Total number of tuning jobs created", labels=["model", "user_id"]
    )
    for row in await pool.fetch("SELECT model, account_id, count(*) AS n FROM tunings GROUP BY 1, 2"):
        created.add_metric([row["model"], row["account_id"]], row["n"])
    status = GaugeMetricFamily(
        "tuning_job_status", "Current status of tuning jobs not ended", labels=["job_id", "status"]
    )
    for row in await pool.fetch(
        "SELECT id, status FROM tunings WHERE status IN ('pending', 'running', 'paused') ORDER BY id"
    ):
        status.add_metric([row["id"], row["status"]], 1)
    duration = HistogramMetricFamily(
        "tuning_job_duration_seconds", "Time spent training", labels=["model", "status"]
    )
    counts = ", ".join(f"count(*) FILTER (WHERE s <= {bound})" for bound in DURATION_BUCKETS)
    for row in await pool.fetch(
        f"SELECT model, status, sum(s)::float8, count(*), {counts} FROM (SELECT model, status, "
        "extract(epoch FROM finished_at - started_at) AS s FROM tunings "
        "WHERE finished_at IS NOT NULL AND started_at IS NOT NULL) AS ended GROUP BY 1, 2"
    ):
        model, ended, total, number, *below = row.values()
        buckets = [(str(float(bound)), n) for bound, n in zip(DURATION_BUCKETS, below, strict=True)]
        duration.add_metric([model, ended], buckets=[*buckets, ("+Inf", number)], sum_value=total)
    return [created, status, duration]


async def lag_families(lags: Lags) -> list[Metric]:
    """How far behind projector, reactors and command handler are."""
    labels = ["role", "consumer", "topic"]
    records = GaugeMetricFamily("tunesmith_lag_records", "Records on the log not yet taken in", labels=labels)
    seconds = GaugeMetricFamily(
        "tunesmith_lag_seconds", "Age of the oldest of them, 0 without", labels=labels
    )
    for lag in await lags.now():
        records.add_metric([lag.role, lag.consumer, lag.topic], lag.records)
        seconds.add_metric([lag.role, lag.consumer, lag.topic], lag.seconds)
    return [records, seconds]


async def role_families(pool: asyncpg.Pool, fleet: Fleet) -> list[Metric]:
    """What waits for the scheduler, what went wrong with workers, and how webhooks are getting on."""
    [row] = await pool.fetch(WAITING)
    waiting = GaugeMetricFamily("tunesmith_tunings_waiting", "Pending tunings", value=row["number"])
    oldest = GaugeMetricFamily(
        "tunesmith_tunings_waiting_seconds",
        "Age of the oldest pending tuning, 0 without",
        value=row["seconds"],
    )
    lost = CounterMetricFamily("tunesmith_attempts_lost", "Attempts lost, by reason", labels=["reason"])
    for row in await pool.fetch(LOST):
        lost.add_metric([row["reason"]], row["number"])
    failed = CounterMetricFamily(
        "tunesmith_tunings_failed", "Tunings failed, by code and whose fault it was", labels=["code", "blame"]
    )
    for row in await pool.fetch(FAILED):
        failed.add_metric([row["code"], row["blame"]], row["number"])
    deliveries = GaugeMetricFamily(
        "tunesmith_webhook_deliveries",
        "Webhook deliveries: due now, waiting for another try, failed for good within the last days",
        labels=["state"],
    )
    found = {row["state"]: row for row in await pool.fetch(DELIVERIES)}
    for state in ("due", "waiting", "failed"):
        deliveries.add_metric([state], found[state]["number"] if state in found else 0)
    overdue = GaugeMetricFamily(
        "tunesmith_webhook_overdue_seconds",
        "How long the oldest delivery has been due, 0 without",
        value=found["due"]["seconds"] if "due" in found else 0,
    )
    return [waiting, oldest, lost, failed, deliveries, overdue, *_fleet_families(fleet)]


def _fleet_families(fleet: Fleet) -> list[Metric]:
    living = fleet.living()
    workers = GaugeMetricFamily("tunesmith_workers", "Trainer workers alive", value=len(living))
    slots = GaugeMetricFamily(
        "tunesmith_worker_slots", "Slots of living trainer workers", labels=["device", "state"]
    )
    counts = Counter(
        (slot.device.kind, "busy" if slot.occupant else "free") for beat in living for slot in beat.slots
    )
    for (device, state), number in sorted(counts.items()):
        slots.add_metric([device, state], number)
    return [workers, slots]
