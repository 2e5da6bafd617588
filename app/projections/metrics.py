"""Steps and phases of running attempts, and places in the queue: beside the events, of lesser promise."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import structlog

from app.log.codec import Undecodable, where
from app.log.metrics import Phase, Step, read_metric
from app.log.port import Received
from app.log.queue import QueuePlace
from app.projections.queries import named

logger = structlog.get_logger("projector")

QUERIES = named("metrics")


async def apply_metrics(connection: Any, records: Iterable[Received]) -> list[str]:
    """Keep each step, the highest attempt winning, and how far each job is."""
    steps: dict[tuple[str, int], tuple[Any, ...]] = {}
    progress: dict[str, tuple[Any, ...]] = {}
    for record in records:
        try:
            tuning_id, metric = read_metric(record)
        except Undecodable as error:
            logger.warning("metric_skipped", error=str(error))
            continue
        before = progress.get(tuning_id)
        if before is not None and metric.attempt < before[1]:
            continue
        match metric:
            case Step():
                encoded = msgspec.json.encode(metric).decode()
                steps[tuning_id, metric.step] = (tuning_id, metric.step, metric.attempt, record.at, encoded)
                # A step is what training is made of, whatever phase was told last.
                progress[tuning_id] = (tuning_id, metric.attempt, "training", "", encoded, record.at)
            case Phase():
                same = before is not None and before[1] == metric.attempt
                last = before[4] if before and same else None
                told = (metric.phase, metric.detail)
                progress[tuning_id] = (tuning_id, metric.attempt, *told, last, record.at)
    for query, rows in (("add_steps", steps.values()), ("progress", progress.values())):
        if rows:
            columns = [list(column) for column in zip(*rows, strict=True)]
            await connection.execute(QUERIES[query], *columns)
    return [f"{tuning_id}:m" for tuning_id in progress]


async def apply_queue(connection: Any, records: Iterable[Received]) -> list[str]:
    """Keep each waiting job's place."""
    last = {record.key: record for record in records if record.key is not None}
    gone = [key for key, record in last.items() if record.value is None]
    await connection.execute(QUERIES["leave_queue"], gone)
    places: list[tuple[Any, ...]] = []
    for key, record in last.items():
        if record.value is not None:
            try:
                place = msgspec.json.decode(record.value, type=QueuePlace)
            except msgspec.DecodeError as error:
                logger.warning("queue_place_skipped", error=f"{where(record)}: {error}")
                continue
            places.append((key, place.position, place.estimated_start))
    if places:
        columns = [list(column) for column in zip(*places, strict=True)]
        await connection.execute(QUERIES["place"], *columns)
    return []
