"""The read model thrown away and built again, while the old one serves and is written to."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
import structlog

from app.log.kafka import KafkaLog
from app.log.port import Log, Partition, ends_of
from app.projections import projector, read_model
from tests.integration.projections.appended import FILES, RUN, TUNINGS, UPLOADED, append, events, memory_log
from tests.integration.projections.conftest import Model

SCHEMAS = "SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'read%' OR nspname = 'ops' ORDER BY 1"
ALL = "SELECT id, version, status, state::text FROM tunings ORDER BY id"


async def test_a_rebuilt_model_is_equal_to_the_one_before(model: Model) -> None:
    log = memory_log(3)
    for number in range(50):
        await append(log, *events(TUNINGS, f"job-{number}", RUN, partition=number % 3))
    await append(log, *events(FILES, "file-a", UPLOADED))
    async with model.kept_up(log):
        await model.until("SELECT count(*) FROM tunings WHERE version = 3", 50)
        await model.until("SELECT version FROM files", 2)
    before = await model.rows(ALL), await model.rows("SELECT * FROM checkpoints ORDER BY 1, 2")
    heard: list[tuple[int, int]] = []
    assert await read_model.rebuild(log, model.dsn, lambda done, total: heard.append((done, total))) == 152
    assert (await model.rows(ALL), await model.rows("SELECT * FROM checkpoints ORDER BY 1, 2")) == before
    assert heard[-1] == (152, 152)
    assert await model.rows(SCHEMAS) == [("ops",), ("read",)]


async def test_a_rebuild_tells_nobody_of_what_it_applies_but_that_there_is_another_model(
    model: Model,
) -> None:
    log = memory_log()
    async with model.kept_up(log):
        await append(log, *events(TUNINGS, "job-a", RUN))
        await model.until("SELECT version FROM tunings", 3)
    heard: list[str] = []
    connection = await asyncpg.connect(model.dsn)
    try:
        await connection.add_listener(projector.CHANNEL, lambda *told: heard.append(told[3]))
        await read_model.rebuild(log, model.dsn)
        async with asyncio.timeout(10):
            while not heard:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
    finally:
        await connection.close()
    assert heard == ["*"]


async def test_a_model_of_another_version_is_built_anew_at_start(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = memory_log()
    await append(log, *events(TUNINGS, "job-a", RUN))
    async with model.kept_up(log):
        await model.until("SELECT version FROM tunings", 3)
    await model.rows("UPDATE tunings SET status = 'wrong' RETURNING 1")
    async with model.kept_up(log):
        assert await model.value("SELECT status FROM tunings") == "wrong"  # the same version: nothing to do
    monkeypatch.setattr(read_model, "PROJECTION", 99)
    async with model.kept_up(log):
        assert await model.value("SELECT status FROM tunings") == "running"


async def test_projectors_that_start_together_build_once(model: Model) -> None:
    log, stop = memory_log(), asyncio.Event()
    await append(log, *events(TUNINGS, "job-a", RUN))
    with structlog.testing.capture_logs() as logs:
        serving = [asyncio.create_task(read_model.serve(log, model.dsn, stop)) for _ in range(4)]
        try:
            async with asyncio.timeout(30):
                while not await read_model.is_current(model.dsn):
                    await asyncio.sleep(0.02)
            await append(log, *events(TUNINGS, "job-b", RUN))
            await model.until("SELECT version FROM tunings WHERE id = 'job-b'", 3)
        finally:
            stop.set()
            await asyncio.gather(*serving)
    assert [line["event"] for line in logs].count("read_model_built") == 1


async def test_what_is_operational_outlives_a_rebuild(model: Model) -> None:
    log = memory_log()
    async with model.kept_up(log):
        await model.rows("INSERT INTO ops.creates VALUES ('acct-a', now()) RETURNING 1")
    await read_model.rebuild(log, model.dsn)
    assert await model.value("SELECT count(*) FROM ops.creates") == 1


async def rebuilt_while_writing(model: Model, log: Log) -> None:
    """Write, read and rebuild at once: no event is lost, no reader fails, nothing is seen to go back."""
    stop, rebuilds = asyncio.Event(), 0

    async def writing() -> int:
        number = 0
        writer = await log.writer()
        try:
            while not stop.is_set():
                for record in events(TUNINGS, f"job-{number:05}", RUN):
                    await writer.send(record)
                number += 1
                await asyncio.sleep(0.002)
        finally:
            await writer.close()
        return number

    async def reading() -> None:
        seen = 0
        connection = await asyncpg.connect(model.dsn, server_settings={"search_path": "read"})
        try:
            while not stop.is_set():
                count = await connection.fetchval(
                    "SELECT count(*) FROM tunings t LEFT JOIN tuning_progress p ON p.tuning_id = t.id "
                    "LEFT JOIN queue q ON q.tuning_id = t.id"
                )
                assert count >= seen, "what a reader had seen was gone again"
                seen = count
        finally:
            await connection.close()

    async with model.kept_up(log):
        writer = asyncio.create_task(writing())
        readers = [asyncio.create_task(reading()) for _ in range(2)]
        await model.until("SELECT count(*) > 5 FROM tunings", True)
        for _ in range(5):
            await read_model.rebuild(log, model.dsn)
            rebuilds += 1
        stop.set()
        written = await writer
        await asyncio.gather(*readers)
        await model.until("SELECT count(*) FROM tunings WHERE version = 3", written)
    assert rebuilds == 5
    assert await model.rows(SCHEMAS) == [("ops",), ("read",)]


async def test_a_rebuild_while_events_are_written_and_rows_are_read_in_memory(model: Model) -> None:
    await rebuilt_while_writing(model, memory_log())


async def test_a_rebuild_while_events_are_written_and_rows_are_read_on_kafka(
    model: Model, topics: str
) -> None:
    await rebuilt_while_writing(model, KafkaLog(topics))


async def test_a_batch_that_waits_for_the_takeover_lands_in_the_new_model(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = memory_log()
    await append(log, *events(TUNINGS, "job-a", RUN))
    asked = 0

    async def while_held(log: Log, partitions: list[Partition]) -> dict[Partition, int]:
        nonlocal asked
        asked += 1
        if asked == 2:  # the serving checkpoints are held from here on
            await append(log, *events(TUNINGS, "job-b", RUN))
            await model.until("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted", True)
        return await ends_of(log, partitions)

    async with model.kept_up(log):
        await model.until("SELECT version FROM tunings", 3)
        monkeypatch.setattr(read_model, "ends_of", while_held)
        await read_model.rebuild(log, model.dsn)
        assert asked == 2
        await model.until("SELECT version FROM tunings WHERE id = 'job-b'", 3)
        assert await model.value("SELECT count(*) FROM tunings") == 2


async def test_a_rebuild_that_breaks_leaves_the_old_model_serving(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = memory_log()
    await append(log, *events(TUNINGS, "job-a", RUN))
    async with model.kept_up(log):
        await model.until("SELECT version FROM tunings", 3)

        async def broken(*_: object) -> list[str]:
            raise OSError("no room")

        with monkeypatch.context() as during:
            during.setattr(projector, "apply_events", broken)
            with pytest.raises(OSError, match="no room"):
                await read_model.rebuild(log, model.dsn)
        await append(log, *events(TUNINGS, "job-b", RUN))
        await model.until("SELECT version FROM tunings WHERE id = 'job-b'", 3)
        await read_model.rebuild(log, model.dsn)
        assert await model.value("SELECT count(*) FROM tunings") == 2


async def test_a_model_that_another_log_made_gives_way(model: Model) -> None:
    longer, shorter = memory_log(), memory_log()
    for number in range(5):
        await append(longer, *events(TUNINGS, f"job-{number}", RUN))
    async with model.kept_up(longer):
        await model.until("SELECT count(*) FROM tunings WHERE version = 3", 5)
    await append(shorter, *events(TUNINGS, "job-new", RUN))
    async with asyncio.timeout(20):
        await read_model.rebuild(shorter, model.dsn)
    assert await model.rows("SELECT id FROM tunings") == [("job-new",)]


async def test_a_build_that_takes_long_ends_at_once_when_it_is_told_to(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, stop, begun = memory_log(), asyncio.Event(), asyncio.Event()
    await append(log, *events(TUNINGS, "job-a", RUN))

    async def slow(*_: object) -> list[str]:
        begun.set()
        await asyncio.sleep(60)
        return []

    with monkeypatch.context() as during:
        during.setattr(projector, "apply_events", slow)
        serving = asyncio.create_task(read_model.serve(log, model.dsn, stop))
        await begun.wait()
        stop.set()
        async with asyncio.timeout(5):
            await serving
    assert not await read_model.is_current(model.dsn)
    async with model.kept_up(log):
        await model.until("SELECT version FROM tunings", 3)
