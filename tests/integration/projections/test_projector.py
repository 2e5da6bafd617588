"""Events given, when they are applied, then rows: once each, and never past what is broken."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import msgspec
import pytest
import structlog

from app.domain.accounts import KeyRevoked
from app.domain.files import Checked, Deleted, Fault
from app.domain.tunings import (
    AttemptLost,
    EpochCompleted,
    EpochResult,
    Failed,
    Failure,
    ResultFile,
    Succeeded,
    Tuning,
)
from app.log import topics
from app.log.metrics import Phase, Step, metric_record
from app.log.port import Partition, Record, read_all
from app.log.queue import QueuePlace, queue_record
from app.projections import read_model
from app.projections.projector import PostgresModel, TakenElsewhere
from tests.integration.projections.appended import (
    ACCOUNTS,
    AT,
    FILES,
    OPENED,
    RUN,
    TUNINGS,
    UPLOADED,
    append,
    events,
    garbage,
    memory_log,
)
from tests.integration.projections.conftest import Model

EVENTS = topics.events("tunings")
VERSION = "SELECT version FROM tunings WHERE id = 'job-a'"


async def test_a_tuning_is_the_fold_of_its_events(model: Model) -> None:
    log = memory_log()
    async with model.kept_up(log):
        await append(log, *events(TUNINGS, "job-a", RUN))
        await model.until(VERSION, 3)
    [row] = await model.rows("SELECT account_id, status, model, metadata, state, created_at FROM tunings")
    assert row[:3] == ("acct-a", "running", "base")
    assert msgspec.json.decode(row[3]) == {"team": "a"}
    tuning = msgspec.json.decode(row[4], type=Tuning)
    assert (tuning.id, tuning.status, tuning.attempts) == ("job-a", "running", 1)
    assert (row[5] - AT).total_seconds() == 1.0
    assert tuning.created_at == row[5]


async def test_success_shows_the_model_and_the_files_in_the_same_transaction(model: Model) -> None:
    log = memory_log()
    result = ResultFile("file-r", "adapter/adapter_config.json", 5, "00", "tunings/job-a/1/adapter/x")
    done = Succeeded(1, "ft:base:mails:job-a", 0.5, None, 9, (result,))
    stop = asyncio.Event()
    snapshots: set[tuple[Any, ...]] = set()

    async def watching() -> None:
        while not stop.is_set():
            query = (
                "SELECT (SELECT count(*) FROM tunings WHERE status = 'succeeded'), "
                "(SELECT count(*) FROM tuned_models), (SELECT count(*) FROM result_files), "
                "(SELECT count(*) FROM queue)"
            )
            snapshots.update(await model.rows(query))

    async with model.kept_up(log):
        await append(log, *events(TUNINGS, "job-a", RUN), queue_record("job-a", QueuePlace(1)))
        await model.until("SELECT count(*) FROM queue", 1)
        watcher = asyncio.create_task(watching())
        await append(log, *events(TUNINGS, "job-a", [done], first=4))
        await model.until(VERSION, 4)
        stop.set()
        await watcher
    assert snapshots <= {(0, 0, 0, 1), (1, 1, 1, 0)}
    assert await model.rows("SELECT id, account_id, base FROM tuned_models") == [
        ("ft:base:mails:job-a", "acct-a", "base")
    ]


async def test_a_failed_and_a_lost_attempt_are_told(model: Model) -> None:
    log = memory_log()
    failure = Failure("bad_rows", "user", "line 3 has no trainable token; mend it", "training_file")
    more = [
        EpochCompleted(1, EpochResult(1, 5, 1.0, None)),
        AttemptLost(1, "worker_lost"),
        Failed(1, failure),
    ]
    async with model.kept_up(log):
        await append(log, *events(TUNINGS, "job-a", [*RUN, *more]))
        await model.until(VERSION, 6)
    state = await model.value("SELECT state FROM tunings")
    tuning = msgspec.json.decode(state, type=Tuning)
    assert (tuning.failure, tuning.losses_after_start, len(tuning.epochs)) == (failure, 1, 1)


async def test_files_and_keys_are_projected(model: Model) -> None:
    log = memory_log()
    bad = Checked("chat", 1, 2, Fault(3, "no_messages", "/\x00", "it has a \x00 in it"))
    async with model.kept_up(log):
        await append(log, *events(FILES, "file-a", UPLOADED), *events(FILES, "file-b", [UPLOADED[0], bad]))
        await append(log, *events(FILES, "file-c", [*UPLOADED, Deleted()]))
        await append(log, *events(ACCOUNTS, "acct-a", [*OPENED, KeyRevoked("key-a")]))
        await model.until("SELECT version FROM files WHERE id = 'file-c'", 3)
        await model.until("SELECT revoked_at IS NOT NULL FROM api_keys", True)
    assert await model.rows("SELECT id, status FROM files ORDER BY id") == [
        ("file-a", "processed"),
        ("file-b", "error"),
        ("file-c", "deleted"),
    ]
    assert await model.rows("SELECT sha256, account_id, scopes FROM api_keys") == [
        ("ab", "acct-a", ["read", "write"])
    ]


async def test_what_was_seen_is_dropped(model: Model) -> None:
    log = memory_log()
    made = events(TUNINGS, "job-a", RUN)
    async with model.kept_up(log):
        await append(log, *made, *made, made[0])
        await append(log, *events(TUNINGS, "job-b", RUN))
        await model.until("SELECT version FROM tunings WHERE id = 'job-b'", 3)
    assert await model.value(VERSION) == 3


@pytest.mark.parametrize(
    "broken",
    [
        events(TUNINGS, "job-a", [RUN[2]], first=5),  # a gap
        [garbage("tunings")],
        [Record(EVENTS, "job-a", b"nonsense", events(TUNINGS, "job-a", RUN)[1].headers)],
        events(TUNINGS, "job-c", [RUN[1]]),  # its first event is none that could be
    ],
    ids=["gap", "unknown", "undecodable", "unappliable"],
)
async def test_what_cannot_be_applied_stops_its_partition_alone_with_an_alarm(
    model: Model, broken: list[Record]
) -> None:
    log = memory_log()
    with structlog.testing.capture_logs() as logs:
        async with model.kept_up(log):
            await append(log, *events(TUNINGS, "job-a", RUN))
            await model.until(VERSION, 3)
            await append(log, *broken, *events(TUNINGS, "job-b", RUN))
            await append(log, *events(FILES, "file-a", UPLOADED))
            await model.until("SELECT version FROM files", 2)
            async with asyncio.timeout(20):
                while not (alarms := [line for line in logs if line["log_level"] == "critical"]):
                    await asyncio.sleep(0.02)
    assert [(alarm["event"], alarm["topic"]) for alarm in alarms] == [("projection_stopped", EVENTS)]
    assert await model.rows("SELECT id, version FROM tunings") == [("job-a", 3)]
    assert await model.value(f"SELECT next_offset FROM checkpoints WHERE topic = '{EVENTS}'") == 3


async def test_two_projectors_of_one_partition_apply_each_event_once(model: Model) -> None:
    log = memory_log()
    async with model.kept_up(log), model.kept_up(log), model.kept_up(log):
        for number in range(60):
            await append(log, *events(TUNINGS, f"job-{number}", RUN))
            if number % 7 == 0:
                await asyncio.sleep(0)
        await model.until("SELECT count(*) FROM tunings WHERE version = 3", 60)
    assert await model.value(f"SELECT next_offset FROM checkpoints WHERE topic = '{EVENTS}'") == 180


async def test_a_zombies_batch_changes_nothing(model: Model) -> None:
    log = memory_log()
    await append(log, *events(TUNINGS, "job-a", RUN))
    await read_model.rebuild(log, model.dsn)
    await append(log, *events(TUNINGS, "job-b", RUN))
    partition = Partition(EVENTS, 0)
    reader = await log.reader({partition: 3})
    records = await reader.fetch(10, 1)
    async with read_model.pool_for(model.dsn, "read") as pool:
        with pytest.raises(TakenElsewhere):
            await PostgresModel(pool).apply(partition, 2, records)
        assert await model.rows("SELECT id FROM tunings") == [("job-a",)]
        assert await PostgresModel(pool).apply(partition, 3, records) == 6
    assert await model.rows("SELECT id FROM tunings ORDER BY id") == [("job-a",), ("job-b",)]


async def test_one_notification_a_batch_names_what_was_applied(model: Model) -> None:
    log = memory_log()
    heard: list[object] = []
    listening = await asyncpg.connect(model.dsn)
    await listening.add_listener("tunesmith_applied", lambda *news: heard.append(news[-1]))
    try:
        async with model.kept_up(log):
            heard.clear()
            await append(log, *events(TUNINGS, "job-a", RUN[:1]))
            async with asyncio.timeout(20):
                while heard != ["job-a:1"]:
                    await asyncio.sleep(0.02)
        await append(
            log, *(record for n in range(900) for record in events(TUNINGS, f"job-{n:030}", RUN[:1]))
        )
        heard.clear()
        async with model.kept_up(log):
            async with asyncio.timeout(20):
                while not heard:
                    await asyncio.sleep(0.02)
        assert heard == ["*"]  # more than a payload holds
    finally:
        await listening.close()


async def test_the_highest_attempts_step_wins(model: Model) -> None:
    log = memory_log()

    def step(attempt: int, number: int, loss: float) -> Record:
        metric = Step(attempt, number, 0.5, loss, 1e-4, None, 10, 5.0, 1.0, 4, 2, 0)
        return metric_record("job-a", metric, worker="w")

    def phase(attempt: int, name: str) -> Record:
        return metric_record("job-a", Phase(attempt, name), worker="w")

    curve = "SELECT step, attempt, (metric->>'loss')::float8 FROM tuning_steps ORDER BY step"
    progress = "SELECT attempt, phase, last_step->>'step' FROM tuning_progress"
    async with model.kept_up(log):
        await append(log, phase(1, "training"), step(1, 1, 9.0), step(1, 2, 8.0))
        await model.until("SELECT count(*) FROM tuning_steps", 2)
        assert await model.rows(progress) == [(1, "training", "2")]
        await append(log, phase(1, "evaluating"))
        await model.until("SELECT phase FROM tuning_progress", "evaluating")
        assert await model.rows(progress) == [(1, "evaluating", "2")]
        await append(log, phase(2, "loading"))
        await model.until("SELECT attempt FROM tuning_progress", 2)
        assert await model.rows(progress) == [(2, "loading", None)]
        await append(log, step(2, 1, 7.0))
        await model.until("SELECT attempt FROM tuning_steps WHERE step = 1", 2)
        # The superseded attempt's late words change nothing.
        await append(log, step(1, 1, 99.0), phase(1, "saving"), step(2, 3, 6.0))
        await model.until("SELECT count(*) FROM tuning_steps", 3)
    assert await model.rows(curve) == [(1, 2, 7.0), (2, 1, 8.0), (3, 2, 6.0)]
    assert await model.rows(progress) == [(2, "training", "3")]


async def test_a_metric_or_place_that_cannot_be_read_is_passed_over(model: Model) -> None:
    log = memory_log()
    async with model.kept_up(log):
        await append(log, Record(topics.METRICS, "job-a", b"{", ()), Record(topics.QUEUE, "job-a", b"{", ()))
        await append(log, metric_record("job-a", Phase(1, "training"), worker="w"))
        await append(log, queue_record("job-a", QueuePlace(2)))
        await model.until("SELECT phase FROM tuning_progress", "training")
        await model.until("SELECT position FROM queue", 2)
        await append(log, queue_record("job-a", None))
        await model.until("SELECT count(*) FROM queue", 0)


@pytest.mark.parametrize("partitions", [1, 3])
async def test_any_number_of_partitions_is_projected_whole(model: Model, partitions: int) -> None:
    log = memory_log(partitions)
    for number in range(30):
        partition = number % partitions
        await append(log, *events(TUNINGS, f"job-{number}", RUN, partition=partition))
    async with model.kept_up(log):
        await model.until("SELECT count(*) FROM tunings WHERE version = 3", 30)
    assert len([one async for one in read_all(log, EVENTS)]) == 90
