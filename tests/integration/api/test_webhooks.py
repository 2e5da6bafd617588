"""Webhooks as their users meet them: endpoints, what they are told, and what they never are."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec
import openai
import standardwebhooks
import tunesmith

from app.domain.accounts import ReinstateAccount, SuspendAccount
from app.domain.tunings import CancelTuning
from app.projections import read_model
from app.reactors import webhooks
from app.reactors.deliveries import Sending
from app.reactors.retrying import Schedule
from app.webhooks.payloads import WebhookPayload
from app.webhooks.queue import Delivery, enqueue
from tests.integration.api.service import (
    INSTALLATION_KEY,
    LOOPBACK,
    Running,
    memory_log,
    open_account,
    running,
    until,
    uploaded,
)
from tests.integration.api.test_history import lived
from tests.integration.api.test_tunings import created
from tests.receiver import Got, Receiver, answer, receiving

# Three days of waiting, in a second.
QUICK = Sending(
    installation_key=INSTALLATION_KEY,
    allowed=tuple(ip_network(one) for one in LOOPBACK.split(",")),
    schedule=Schedule((0.02, 0.1), 1.0),
    answered_within=0.5,
    taken_for=1.0,
    looks_every=0.05,
)


@asynccontextmanager
async def telling(
    dsn: str, folder: Path, sending: Sending | None = QUICK
) -> AsyncIterator[tuple[Running, httpx.AsyncClient, Receiver]]:
    """A service that sends webhooks, a client of it, and a receiver."""
    async with (
        running(memory_log(), dsn, folder, sending=sending) as service,
        service.client() as client,
        receiving() as receiver,
    ):
        yield service, client, receiver


async def added(client: httpx.AsyncClient, receiver: Receiver, *types: str) -> dict[str, Any]:
    """An endpoint at the receiver."""
    body: dict[str, Any] = {"url": receiver.url} | ({"types": types} if types else {})
    made = await client.post("/v1/webhooks.create", json=body)
    assert made.status_code == 201, made.text
    return dict(made.json())


async def told(client: httpx.AsyncClient, id: str, **params: str) -> list[dict[str, Any]]:
    """The deliveries to an endpoint, newest first."""
    return list((await client.get(f"/v1/webhooks.deliveries/{id}", params=params)).json()["data"])


async def ended(client: httpx.AsyncClient, id: str, status: str, count: int = 1) -> list[dict[str, Any]]:
    """The deliveries to an endpoint, once so many of them have this status and none waits."""

    async def all_ended() -> list[dict[str, Any]]:
        found = await told(client, id)
        done = [each for each in found if each["status"] == status]
        return found if len(done) == count and not any(x["status"] == "pending" for x in found) else []

    return list(await until(all_ended))


async def test_endpoints_are_created_changed_rotated_and_deleted(database: str, tmp_path: Path) -> None:
    async with running(memory_log(), database, tmp_path) as service, service.client() as client:
        body = {"url": "http://127.0.0.1:9/hook", "description": "mine"}
        key = {"idempotency-key": "once"}
        made = await client.post("/v1/webhooks.create", json=body, headers=key)
        assert made.status_code == 201, made.text
        first = made.json()
        assert made.headers["location"] == f"/v1/webhooks.get/{first['id']}"
        assert first["types"] == ["tuning.succeeded", "tuning.failed", "tuning.cancelled"]
        assert first["secret"].startswith("whsec_")
        again = await client.post("/v1/webhooks.create", json=body, headers=key)
        assert (again.status_code, again.json()) == (201, first | {"secret": None})
        other = await client.post("/v1/webhooks.create", json=body | {"description": "b"}, headers=key)
        assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_conflict")

        seen = (await client.get(f"/v1/webhooks.get/{first['id']}")).json()
        assert seen == {name: value for name, value in first.items() if name != "secret"}
        change = {"types": ["tuning.created", "tuning.created"], "enabled": False}
        changed = (await client.post(f"/v1/webhooks.update/{first['id']}", json=change)).json()
        assert changed == seen | {"types": ["tuning.created"], "enabled": False}
        off = await client.post(f"/v1/webhooks.test/{first['id']}")
        assert (off.status_code, off.json()["error"]["code"]) == (400, "webhook_disabled")

        rotated = [
            (await client.post(f"/v1/webhooks.rotate/{first['id']}", headers=each)).json()["secret"]
            for each in ({"idempotency-key": "turn"}, {"idempotency-key": "turn"}, {})
        ]
        assert rotated.pop(1) is None
        assert len({first["secret"], *rotated}) == 3
        bad = await client.post(f"/v1/webhooks.rotate/{first['id']}", json={"keep_seconds": -1})
        assert bad.json()["error"]["param"] == "keep_seconds"

        for table in ("webhooks", "accounts", "ops.idempotency"):
            rows = await service.sql(f"SELECT row_to_json(t)::text AS t FROM {table} t")
            assert rows
            kept = "".join(row["t"] for row in rows)
            for secret in (first["secret"], *rotated):
                assert secret not in kept
                assert secret.encode().hex() not in kept

        rest = [(await client.post("/v1/webhooks.create", json=body)).json()["id"] for _ in range(15)]
        full = await client.post("/v1/webhooks.create", json=body)
        assert (full.status_code, full.json()["error"]["code"]) == (409, "too_many_webhooks")
        listed = (await client.get("/v1/webhooks.list", params={"limit": "10"})).json()
        behind = {"limit": "10", "after": listed["last_id"]}
        listed["data"] += (await client.get("/v1/webhooks.list", params=behind)).json()["data"]
        assert [each["id"] for each in listed["data"]] == [*rest[::-1], first["id"]]
        assert not any("secret" in each for each in listed["data"])
        assert (await client.get("/v1/webhooks.list?after=wh-none")).status_code == 400

        gone = await client.delete(f"/v1/webhooks.delete/{first['id']}")
        assert gone.json() == {"id": first["id"], "object": "webhook.endpoint", "deleted": True}
        assert (await client.get(f"/v1/webhooks.get/{first['id']}")).status_code == 404
        assert (await client.delete(f"/v1/webhooks.delete/{first['id']}")).status_code == 404

        async with service.client(await open_account(service)) as stranger:
            assert (await stranger.get("/v1/webhooks.list")).json()["data"] == []
            for method, path in (
                ("GET", "get"),
                ("GET", "deliveries"),
                ("POST", "update"),
                ("POST", "rotate"),
                ("POST", "test"),
                ("POST", "replay"),
                ("DELETE", "delete"),
            ):
                content: dict[str, Any] = {"json": {}} if method == "POST" else {}
                found = await stranger.request(method, f"/v1/webhooks.{path}/{rest[0]}", **content)
                assert (found.status_code, found.json()["error"]["code"]) == (404, "not_found"), path

        for url, why in (
            ("http://169.254.169.254/latest", "link-local"),
            ("http://[::ffff:10.0.0.1]/", "private"),
            ("https://me:secret@example.org/", "user"),
            ("ftp://example.org/", "https://"),
            ("h", "https://"),
        ):
            wrong = await client.post("/v1/webhooks.create", json={"url": url, "types": ["tuning.sent"]})
            faults = {each["param"]: each["message"] for each in wrong.json()["error"]["errors"]}
            assert (wrong.status_code, set(faults)) == (400, {"url", "types"})
            assert why in faults["url"]
            moved = await client.post(f"/v1/webhooks.update/{rest[0]}", json={"url": url})
            assert (moved.status_code, moved.json()["error"]["param"]) == (400, "url")
        await read_model.rebuild(service.log, service.dsn)
        kept = (await client.get("/v1/webhooks.list", params={"limit": "100"})).json()["data"]
        assert [each["id"] for each in kept] == rest[::-1]


async def test_without_an_installation_key_it_is_told_what_to_set(database: str, tmp_path: Path) -> None:
    async with (
        running(memory_log(), database, tmp_path, reactor=False, installation_key=None) as service,
        service.client() as client,
    ):
        for method, path in (
            ("GET", "list"),
            ("POST", "create"),
            ("GET", "get/wh-a"),
            ("POST", "test/wh-a"),
        ):
            refused = await client.request(method, f"/v1/webhooks.{path}")
            assert (refused.status_code, refused.headers["x-should-retry"]) == (503, "false")
            assert "TUNESMITH_INSTALLATION_KEY" in refused.json()["error"]["message"]


async def test_the_end_of_a_job_is_told_and_three_verifiers_believe_it(database: str, tmp_path: Path) -> None:
    async with telling(database, tmp_path) as (service, client, receiver):

        async def look(got: Got, writer: asyncio.StreamWriter) -> None:
            """The receiver asks for the job that it is told of."""
            job = got.json["data"]["id"].partition(":")[0]
            seen.append((await client.get(f"/v1/tunings.get/{job}")).json()["status"])
            writer.write(answer(body=b"thanks", x_mine="1"))

        seen: list[str] = []
        receiver.respond = look
        webhook = await added(client, receiver, "tuning.succeeded", "fine_tuning.job.succeeded")
        job = await lived(service, client)
        both = {got.json["type"]: got for got in await receiver.until(2)}
        ours, theirs = both["tuning.succeeded"], both["fine_tuning.job.succeeded"]
        for got in (ours, theirs):
            event = tunesmith.verify_webhook(got.body, got.headers, webhook["secret"])
            assert (event.id, event.object) == (f"{job}:8", "event")
            assert msgspec.convert(got.json, WebhookPayload).created_at > 0
            standardwebhooks.Webhook(webhook["secret"]).verify(got.body, got.headers)
        [*_, last] = (await client.get(f"/v1/tunings.events/{job}")).json()["data"]
        assert ours.json["data"] == last
        assert ours.json["created_at"] == last["created_at"]
        stock = openai.OpenAI(api_key="sk-none", webhook_secret=webhook["secret"])
        unwrapped = stock.webhooks.unwrap(theirs.body, theirs.headers)
        assert unwrapped.type == "fine_tuning.job.succeeded"
        assert (unwrapped.data.id, unwrapped.object) == (job, "event")

        deliveries = await ended(client, webhook["id"], "delivered", 2)
        assert seen == ["succeeded", "succeeded"]
        assert {each["id"] for each in deliveries} == {ours.id, theirs.id}
        shown = next(each for each in deliveries if each["id"] == ours.id)
        assert shown["payload"].encode() == ours.body
        [attempt] = shown["attempts"]
        assert (attempt["number"], attempt["request"]["url"]) == (1, receiver.url)
        assert attempt["request"]["headers"]["webhook-id"] == ours.id
        assert "webhook-signature" not in attempt["request"]["headers"]
        assert (attempt["answer"]["status"], attempt["answer"]["body"]) == (200, "thanks")
        assert attempt["answer"]["headers"]["x-mine"] == "1"
        assert 0 < attempt["seconds"] < 5
        newest, oldest = await told(client, webhook["id"])
        assert await told(client, webhook["id"], after=newest["id"]) == [oldest]
        assert await told(client, webhook["id"], status="failed") == []

        # Both secrets sign for a while.
        receiver.respond = receiver.ok
        new = (await client.post(f"/v1/webhooks.rotate/{webhook['id']}", json={"keep_seconds": 60})).json()
        tested = (await client.post(f"/v1/webhooks.test/{webhook['id']}")).json()
        assert (tested["type"], tested["status"]) == ("webhook.test", "delivered")
        got = receiver.got[-1]
        for secret in (webhook["secret"], new["secret"]):
            assert tunesmith.verify_webhook(got.body, got.headers, secret).data.id == webhook["id"]


async def test_what_is_not_accepted_is_tried_again_and_given_up_in_the_end(
    database: str, tmp_path: Path
) -> None:
    async with telling(database, tmp_path) as (service, client, receiver):
        file = await uploaded(client)
        webhook = await added(client, receiver, "tuning.cancelled")

        async def cancelled() -> str:
            job = await created(client, file)
            await client.delete(f"/v1/tunings.cancel/{job['id']}")
            return f"{job['id']}:2"

        async def statuses(event: str) -> list[Any]:
            [delivery] = [each for each in await told(client, webhook["id"]) if each["event"] == event]
            return [each["answer"] and each["answer"]["status"] for each in delivery["attempts"]]

        async def slow(got: Got, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(5)

        receiver.answers(answer(500), answer(302, location="http://127.0.0.1:1/"), answer(204, b""))
        event = await cancelled()
        await ended(client, webhook["id"], "delivered")
        assert await statuses(event) == [500, 302, 204]
        assert len({got.id for got in receiver.got}) == 1
        assert len({got.body for got in receiver.got}) == 1

        receiver.respond = slow
        event = await cancelled()
        await receiver.until(4)
        receiver.respond = receiver.ok
        await ended(client, webhook["id"], "delivered", 2)
        assert await statuses(event) == [None, 200]

        # Nobody listens there for "three days"; then it is given up, and not forgotten.
        away = {"url": "http://127.0.0.1:1/hook"}
        await client.post(f"/v1/webhooks.update/{webhook['id']}", json=away)
        event = await cancelled()
        given_up, *_ = await ended(client, webhook["id"], "failed")
        assert len(given_up["attempts"]) > 3
        assert {each["answer"] for each in given_up["attempts"]} == {None}
        assert "no answer" in given_up["attempts"][-1]["error"]
        tested = (await client.post(f"/v1/webhooks.test/{webhook['id']}")).json()
        assert (tested["status"], len(tested["attempts"])) == ("failed", 1)

        # Replayed, it arrives, as the same.
        await client.post(f"/v1/webhooks.update/{webhook['id']}", json={"url": receiver.url})
        came = len(receiver.got)
        replayed = await client.post(f"/v1/webhooks.replay/{webhook['id']}", json={"after": f"{event[:-1]}1"})
        assert replayed.json() | {"queued": 1, "has_more": False, "last_event": event} == replayed.json()
        assert (await receiver.until(came + 1))[-1].id == given_up["id"]
        await ended(client, webhook["id"], "delivered", 3)

        # A suspended account's wait; its end lets them go.
        job = (await created(client, file))["id"]
        await service.send("accounts", service.account, SuspendAccount())

        async def suspended(wanted: bool = True) -> bool:
            return (await client.get("/v1/models")).status_code == (403 if wanted else 200)

        await until(suspended)
        await service.send("tunings", job, CancelTuning())
        await until(lambda: service.sql("SELECT FROM ops.deliveries WHERE event_id = $1", f"{job}:2"))
        async with service.client(await open_account(service)) as other:  # whose turn is later
            theirs = await added(other, receiver)
            assert (await other.post(f"/v1/webhooks.test/{theirs['id']}")).json()["status"] == "delivered"
        assert len(receiver.got) == came + 2
        await service.send("accounts", service.account, ReinstateAccount())
        assert (await receiver.until(came + 3))[-1].json["id"] == f"{job}:2"
        await until(lambda: suspended(False))

        # 410 of where it was before turns off nothing; where it is now is told.
        came = len(receiver.got)

        async def moving(got: Got, writer: asyncio.StreamWriter) -> None:
            if got.target == "/hook":
                moved = {"url": receiver.at("/moved")}
                await client.post(f"/v1/webhooks.update/{webhook['id']}", json=moved)
            writer.write(answer(410 if got.target == "/hook" else 200))

        receiver.respond = moving
        await cancelled()
        await ended(client, webhook["id"], "delivered", 5)
        assert [got.target for got in receiver.got[came:]] == ["/hook", "/moved"]
        assert (await client.get(f"/v1/webhooks.get/{webhook['id']}")).json()["enabled"]

        # 410 turns it off; what waits for it is stopped.
        receiver.answers(answer(410))
        event = await cancelled()

        async def off() -> Any:
            return (await client.get(f"/v1/webhooks.get/{webhook['id']}")).json()["disabled_reason"]

        assert await until(off) == "gone"
        assert await statuses(event) == [410]
        came = len(receiver.got)
        receiver.respond = receiver.ok
        await cancelled()
        await client.post(f"/v1/webhooks.update/{webhook['id']}", json={"enabled": True})
        tested = (await client.post(f"/v1/webhooks.test/{webhook['id']}")).json()
        assert tested["status"] == "delivered"
        assert len(receiver.got) == came + 1, "what happened while it was off is never sent"
        path = f"/v1/webhooks.test/{(await added(client, receiver))['id']}"
        tests = await asyncio.gather(*(client.post(path) for _ in range(13)))
        assert sorted(each.status_code for each in tests) == [200] * 10 + [429] * 3
        assert {each.headers["retry-after"] for each in tests if each.status_code == 429} == {"60"}


@asynccontextmanager
async def reacting(service: Running, sending: Sending = QUICK) -> AsyncIterator[None]:
    """The reactor, for as long as the context is open."""
    stop = asyncio.Event()
    async with asyncpg.create_pool(service.dsn, min_size=1, max_size=4) as pool:
        serving = asyncio.create_task(webhooks.serve(service.log, pool, sending, stop))
        try:
            yield
        finally:
            stop.set()
            await serving


async def test_history_is_told_on_request_only_and_from_where_is_said(database: str, tmp_path: Path) -> None:
    async with telling(database, tmp_path, None) as (service, client, receiver):
        file = await uploaded(client)

        async def cancelled() -> str:
            job = await created(client, file)
            await asyncio.sleep(0.005)  # the log counts milliseconds
            assert (await client.delete(f"/v1/tunings.cancel/{job['id']}")).status_code == 200
            await asyncio.sleep(0.005)
            return f"{job['id']}:2"

        def events(since: int) -> list[str]:
            return [got.json["id"] for got in receiver.got[since:]]

        async with reacting(service):
            before = await cancelled()
            webhook = await added(client, receiver)
            first = await cancelled()
            await receiver.until(1)
        missed = await cancelled()
        await service.sql("DELETE FROM ops.cursors WHERE reactor = 'webhooks'")
        await read_model.rebuild(service.log, service.dsn)
        async with reacting(service):

            async def following() -> bool:
                return bool(await service.sql("SELECT FROM ops.cursors WHERE reactor = 'webhooks'"))

            await until(following)
            last = await cancelled()
            await receiver.until(2)
        assert events(0) == [first, last]
        await service.sql("UPDATE ops.cursors SET next_offset = 0 WHERE reactor = 'webhooks'")
        async with reacting(service):
            await receiver.until(3)
            assert events(2) == [missed], "what was told is not told again, nor what was before the endpoint"

            path, came = f"/v1/webhooks.replay/{webhook['id']}", 3
            for body, expected in (
                ({"after": first}, [missed, last]),
                ({"after": f"{first[:-1]}1"}, [first, missed, last]),
                ({"after": last}, []),
                ({"since": 0}, [before, first, missed, last]),
            ):
                replayed = (await client.post(path, json=body)).json()
                assert replayed["queued"] == len(expected), body
                assert replayed["last_event"] == (expected[-1] if expected else None)
                await receiver.until(came + len(expected))
                assert sorted(events(came)) == sorted(expected)
                came = len(receiver.got)
                await ended(client, webhook["id"], "delivered", 4 if before in expected else 3)
            ids = {got.json["id"]: got.id for got in receiver.got}
            assert {(got.json["id"], got.id) for got in receiver.got} == set(ids.items())
        assert len(receiver.got) == came
        for wrong in (
            {},
            {"after": first, "since": 0},
            {"after": "job-none:1"},
            {"after": first + "0"},
            {"since": -1},
        ):
            refused = await client.post(path, json=wrong)
            assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request_error"), (
                wrong
            )


async def test_many_dead_endpoints_of_one_account_hold_up_no_other(database: str, tmp_path: Path) -> None:
    patient = msgspec.structs.replace(QUICK, at_a_time=8, answered_within=90.0, taken_for=120.0)
    let_go = asyncio.Event()

    async def respond(got: Got, writer: asyncio.StreamWriter) -> None:
        if got.target == "/dead":
            await let_go.wait()
        writer.write(answer())

    async with telling(database, tmp_path, None) as (service, client, receiver):
        receiver.respond = respond
        url = {"url": receiver.at("/dead")}
        dead = [(await client.post("/v1/webhooks.create", json=url)).json()["id"] for _ in range(3)]
        async with asyncpg.create_pool(service.dsn, min_size=1, max_size=1) as pool:
            await enqueue(
                pool,
                [
                    Delivery(id, f"job-a:{version}", "tuning.created", "{}")
                    for id in dead
                    for version in range(9)
                ],
            )
        async with reacting(service, patient), service.client(await open_account(service)) as other:
            await receiver.until(4)
            theirs = await added(other, receiver)
            for _ in range(4):
                tested = (await other.post(f"/v1/webhooks.test/{theirs['id']}")).json()
                assert tested["status"] == "delivered"
            assert [got.target for got in receiver.got] == ["/dead"] * 4 + ["/hook"] * 4
            let_go.set()
            await receiver.until(4 + 3 * 9)


SENDER = """
import asyncio, sys
import asyncpg
from ipaddress import ip_network
from app.reactors.deliveries import Sending, send_queued

allowed = (ip_network("127.0.0.0/8"),)
sending = Sending(installation_key="k" * 32, allowed=allowed, taken_for=1.0, looks_every=0.05)

async def main():
    async with asyncpg.create_pool(sys.argv[1], min_size=1, max_size=4) as pool:
        await send_queued(pool, None, sending, asyncio.Event(), asyncio.Event())

asyncio.run(main())
"""


async def test_who_is_killed_between_sending_and_keeping_sends_again_under_the_same_id(
    database: str, tmp_path: Path
) -> None:
    async def silent(got: Got, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    def sender() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", SENDER, database])

    async with telling(database, tmp_path, None) as (_, client, receiver):
        webhook = await added(client, receiver)
        receiver.respond = silent
        testing = asyncio.create_task(client.post(f"/v1/webhooks.test/{webhook['id']}"))
        with sender() as killed:
            await receiver.until(1)
            killed.send_signal(signal.SIGKILL)
        receiver.respond = receiver.ok
        with sender() as process:
            try:
                tested = (await testing).json()
            finally:
                process.kill()
    first, second = receiver.got
    assert first.id == second.id == tested["id"]
    assert first.body == second.body
    assert tested["status"] == "delivered"
    assert [attempt["number"] for attempt in tested["attempts"]] == [2], "of the first nobody knows the end"
