"""A tuning's past: its events, and what it was at any version and time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from app.domain.streams import STREAMS
from app.domain.tunings import (
    AssignAttempt,
    Attempt,
    Checkpoint,
    EpochResult,
    Failure,
    ReportCheckpoint,
    ReportEpoch,
    ReportFailed,
    ReportLost,
    ReportStarted,
    ReportSucceeded,
    ResultFile,
)
from app.log.history import history_of, past
from tests.integration.api.service import Running, open_account, until, uploaded
from tests.integration.api.test_tunings import created

FIRST, SECOND = Attempt(1, "w", "s", 0), Attempt(2, "w", "s", 0)
LIFE = (
    AssignAttempt(FIRST),
    ReportStarted(1, "s"),
    ReportEpoch(1, "s", EpochResult(1, 10, 2.0, None)),
    ReportCheckpoint(1, "s", Checkpoint(10, 1, 0, "checkpoints/x/10", "ab", 100)),
    ReportLost(1, "s", "worker_lost"),
    AssignAttempt(SECOND),
    ReportSucceeded(2, "s", 1.5, None, 1000, (ResultFile("file-r", "curve.csv", 3, "cd", "results/r"),)),
)
TYPES = [
    "created",
    "dispatched",
    "started",
    "epoch_completed",
    "checkpoint_saved",
    "attempt_lost",
    "dispatched",
    "succeeded",
]


async def lived(service: Running, client: httpx.AsyncClient, life: tuple[Any, ...] = LIFE) -> str:
    """A tuning that went through this life; its id."""
    id = str((await created(client, await uploaded(client), metadata={"team": "a"}))["id"])
    for command in life:
        await service.send("tunings", id, command, actor="worker:w")
        await asyncio.sleep(0.005)  # the log counts milliseconds

    async def over() -> bool:
        return bool((await client.get(f"/v1/tunings.get/{id}")).json()["finished_at"])

    await until(over)
    return id


async def test_events_tell_a_life_from_its_beginning_page_by_page(
    service: Running, client: httpx.AsyncClient
) -> None:
    id = await lived(service, client)
    whole = (await client.get(f"/v1/tunings.events/{id}")).json()
    assert [event["type"] for event in whole["data"]] == TYPES
    assert [event["version"] for event in whole["data"]] == list(range(1, 9))
    assert [event["id"] for event in whole["data"]] == [f"{id}:{n}" for n in range(1, 9)]
    assert [event["attempt"] for event in whole["data"]] == [None, 1, 1, 1, 1, 1, 2, 2]
    assert {event["object"] for event in whole["data"]} == {"tuning.event"}
    made, *_, lost, _, end = whole["data"]
    assert made["data"]["metadata"] == {"team": "a"}
    assert (lost["level"], lost["message"], lost["data"]) == (
        "warn",
        "attempt 1 was lost (worker_lost)",
        {"reason": "worker_lost"},
    )
    assert end["data"]["fine_tuned_model"] in end["message"]
    assert "results/r" not in str(whole)
    assert "checkpoints/x" not in str(whole)
    paged: list[dict[str, Any]] = []
    query: dict[str, Any] = {"limit": 3}
    while True:
        found = (await client.get(f"/v1/tunings.events/{id}", params=query)).json()
        paged += found["data"]
        if not found["has_more"]:
            break
        query["after"] = found["last_id"]
    assert paged == whole["data"]


async def test_every_version_is_what_the_job_was_then(service: Running, client: httpx.AsyncClient) -> None:
    id = await lived(service, client)
    found = await history_of(service.log, STREAMS.values(), id)
    assert found is not None
    decider, events = found
    statuses, as_of = [], set[int]()
    for event in events:
        then = (await client.get(f"/v1/tunings.get/{id}", params={"as_of_version": event.version})).json()
        kept = past(decider, events, version=event.version)
        assert kept is not None
        assert (then["version"], then["status"]) == (event.version, kept.state.status)
        at = (await client.get(f"/v1/tunings.get/{id}", params={"as_of": event.at.isoformat()})).json()
        assert at["version"] == max(one.version for one in events if one.at <= event.at)
        as_of.add(at["version"])
        statuses.append(then["status"])
    assert statuses == ["pending", "pending", *["running"] * 5, "succeeded"]
    assert len(as_of) > 2, "the times must differ, or they tell nothing"
    now = (await client.get(f"/v1/tunings.get/{id}")).json()
    last = (await client.get(f"/v1/tunings.get/{id}", params={"as_of_version": 8})).json()
    live = {"metrics": None, "phase": None}
    assert last | live == now | live


async def test_a_time_is_unix_seconds_or_rfc_3339(service: Running, client: httpx.AsyncClient) -> None:
    id = await lived(service, client)
    job = (await client.get(f"/v1/tunings.get/{id}")).json()
    later = str(job["finished_at"] + 3600)
    for at in (str(job["finished_at"]), later, datetime.fromtimestamp(int(later), UTC).isoformat()):
        answer = await client.get(f"/v1/tunings.get/{id}", params={"as_of": at})
        assert (answer.status_code, answer.json()["status"]) == (200, "succeeded"), answer.text
    answer = await client.get(f"/v1/tunings.get/{id}", params={"as_of": "2020-01-01T00:00:00Z"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (404, "as_of")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"as_of_version": "0"}, "as_of_version"),
        ({"as_of_version": "two"}, "as_of_version"),
        ({"as_of_version": "99"}, "as_of_version"),
        ({"as_of_version": "9" * 400}, "as_of_version"),
        ({"as_of": "yesterday"}, "as_of"),
        ({"as_of": "2026-01-01T00:00:00"}, "as_of"),
        ({"as_of": "9" * 30}, "as_of"),
        ({"as_of": ""}, "as_of"),
        ({"as_of": "1", "as_of_version": "1"}, "as_of"),
    ],
)
async def test_what_is_no_moment_is_refused(
    service: Running, client: httpx.AsyncClient, query: dict[str, str], param: str
) -> None:
    id = (await created(client, await uploaded(client)))["id"]
    answer = await client.get(f"/v1/tunings.get/{id}", params=query)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text


async def test_the_end_is_told_with_its_reason(service: Running, client: httpx.AsyncClient) -> None:
    failure = Failure("out_of_memory", "user", "lower batch_size", "hyperparameters.batch_size", True)
    id = await lived(
        service, client, (AssignAttempt(FIRST), ReportStarted(1, "s"), ReportFailed(1, "s", failure))
    )
    last = (await client.get(f"/v1/tunings.events/{id}")).json()["data"][-1]
    assert (last["type"], last["level"], last["message"]) == ("failed", "error", "lower batch_size")
    assert last["data"]["error"]["code"] == "out_of_memory"


async def test_a_past_is_for_its_account_alone(service: Running, client: httpx.AsyncClient) -> None:
    id = (await created(client, await uploaded(client)))["id"]
    async with service.client(await open_account(service)) as other:
        for path in (f"/v1/tunings.events/{id}", f"/v1/tunings.get/{id}?as_of_version=1"):
            assert (await client.get(path)).status_code == 200
            assert (await other.get(path)).status_code == 404


async def test_a_page_goes_on_behind_an_event_of_the_same_tuning(
    service: Running, client: httpx.AsyncClient
) -> None:
    id = (await created(client, await uploaded(client)))["id"]
    for after in ("job-x:1", f"{id}:one", id, f"{id}:{'9' * 40}"):
        answer = await client.get(f"/v1/tunings.events/{id}", params={"after": after})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "after")
    answer = await client.get(f"/v1/tunings.events/{id}", params={"after": f"{id}:9"})
    assert (answer.status_code, answer.json()["data"]) == (200, [])
