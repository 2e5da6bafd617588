"""Workers killed in any phase or cut off past their lease, schedulers killed: every tuning ends, once."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import psutil
import pytest
import pytest_asyncio

from app.catalogue.catalogue import Entry
from app.domain.tunings import TUNINGS
from app.log.kafka import KafkaLog
from app.storage.store import Store
from tests.faults.fleet import Fleet, scheduling
from tests.faults.kafka_proxy import proxy_before
from tests.faults.rounds import rounds
from tests.handling import events_of, handling
from tests.servers import RemakeTopics
from tests.shop import children, gone, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.asyncio(loop_scope="module")]

LEASE = 6.0
PHASES = ("loading", "training", "evaluating", "saving", "verifying")
ASKED: dict[str, Any] = {"rows": 48, "validation_rows": 24, "epochs": 3, "dropout": 0.1}
EVERYTHING = frozenset(range(100))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(
    remake_topics: RemakeTopics, tiny: Entry, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Fleet]:
    """A handler in this process and two schedulers in their own."""
    folder = tmp_path_factory.mktemp("fleet")
    bootstrap = await remake_topics()
    log, store = KafkaLog(bootstrap), Store(f"file://{folder / 'objects'}")
    made = Fleet(tiny, log, store, bootstrap=bootstrap, folder=folder)
    async with handling(log, "tunings", "models"), AsyncExitStack() as stack:
        for name in ("scheduler-1", "scheduler-2"):
            made.schedulers.append(await stack.enter_async_context(scheduling(made, name, LEASE)))
        yield made


async def succeeds(fleet: Fleet, id: str) -> None:
    async def ended() -> bool:
        return bool({"Succeeded", "Failed"} & set(await fleet.happened(id)))

    await until(ended)
    tuning = await fleet.tuning(id)
    assert tuning.status == "succeeded", tuning.failure


async def attempts_of(fleet: Fleet, id: str) -> list[tuple[str, str]]:
    """Dispatched and lost attempts of a tuning, in order."""
    told = []
    for one in await events_of(fleet.log, TUNINGS):
        if one.aggregate_id == id and type(one.body).__name__ in ("Dispatched", "AttemptLost"):
            body = one.body
            told.append((type(body).__name__, getattr(body, "reason", "")))
    return told


async def test_a_worker_killed_in_any_phase_loses_no_tuning_and_changes_no_bit_of_it(fleet: Fleet) -> None:
    async with fleet.worker("worker-1"):
        await fleet.create("job-calm", **ASKED)
        await succeeds(fleet, "job-calm")
    phases = (PHASES * 3)[1 : rounds(2, 15)]
    for number, phase in enumerate(phases):
        id = f"job-{phase}-{number}"
        async with fleet.worker("worker-1") as worker:
            await fleet.create(id, **ASKED)
            await fleet.reaches(id, phase, 1)
            # Somewhere in it: in the middle of a step, of a checkpoint or of its upload.
            await asyncio.sleep(random.uniform(0, 1) if number >= len(PHASES) else 0)
            family = psutil.Process(worker.pid).children(recursive=True)
            worker.send(signal.SIGKILL)
            await worker.killed_itself()
        _, alive = psutil.wait_procs(family, timeout=5)
        assert alive == []
        async with fleet.worker("worker-1"):
            await succeeds(fleet, id)
        assert await attempts_of(fleet, id) == [
            ("Dispatched", ""),
            ("AttemptLost", "worker_lost"),
            ("Dispatched", ""),
        ]
        assert await fleet.weights(id) == await fleet.weights("job-calm")


async def test_a_worker_cut_off_past_its_lease_changes_nothing_when_it_is_back(fleet: Fleet) -> None:
    id = "job-cut-off"
    async with proxy_before(fleet.bootstrap) as proxy, fleet.worker("worker-2", through=proxy.port) as worker:
        await fleet.create(id, **ASKED)
        await fleet.reaches(id, "training", 1)
        proxy.deaf_to = EVERYTHING

        async def lost() -> bool:
            return "AttemptLost" in await fleet.happened(id)

        async def trained() -> bool:
            """Whether the child is through, and its worker has nobody to tell it to."""
            said = fleet.folder / "worker-2" / "work" / "slot-0" / "child.log"
            return " saved " in said.read_text()

        await until(lost)
        await until(trained)
        proxy.deaf_to = frozenset()
        await succeeds(fleet, id)  # on the same worker, which was told to stop what it was at
        assert '"attempt_stopped"' in worker.log.read_text()
    tuning = await fleet.tuning(id)
    assert tuning.attempts == 2
    assert {file.key.split("/")[2] for file in tuning.result_files} == {"2"}
    happened = await fleet.happened(id)
    assert happened.count("Succeeded") == 1
    assert happened.count("EpochCompleted") == 3
    assert await fleet.weights(id) == await fleet.weights("job-calm")


async def test_a_tuning_cancelled_or_paused_in_any_phase_frees_its_devices_and_one_goes_on_to_the_same_end(
    fleet: Fleet,
) -> None:
    async with fleet.worker("worker-3") as worker:
        for phase in PHASES[2 : rounds(3, 5)] + PHASES[: rounds(0, 2)]:
            for wanted in ("cancelled", "paused"):
                id = f"job-{phase}-{wanted}"
                await fleet.create(id, **ASKED)
                await fleet.reaches(id, phase, 1)
                at_work = children(psutil.Process(worker.pid))
                await (fleet.cancel(id) if wanted == "cancelled" else fleet.pause(id))

                async def rests() -> bool:
                    return (await fleet.tuning(id)).status != "running"  # noqa: B023 – of this round

                await until(rests)
                # A pause finishes the step first; whatever it is at, a cancelled one is gone within 5 s.
                for child in at_work:
                    await gone(child, within=5 if wanted == "cancelled" else 30)
                status = (await fleet.tuning(id)).status
                assert status in (wanted, "succeeded")  # which it may reach first, from the last phases
                if status == "paused":
                    await fleet.resume(id)
                    await succeeds(fleet, id)
                if status != "cancelled":
                    assert await fleet.weights(id) == await fleet.weights("job-calm")


async def test_when_the_scheduler_that_plans_is_killed_the_other_goes_on_and_nothing_is_given_twice(
    fleet: Fleet,
) -> None:
    [planned] = [one for one in fleet.schedulers if one.plans]
    async with fleet.worker("worker-4"):
        await fleet.create("job-before", **ASKED)
        await fleet.reaches("job-before", "training", 1)
        planned.process.kill()
        await fleet.create("job-after", **ASKED)
        await succeeds(fleet, "job-after")
    assert all(one.plans for one in fleet.schedulers)
    for id in ("job-before", "job-after"):
        assert await attempts_of(fleet, id) == [("Dispatched", "")]
