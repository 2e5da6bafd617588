"""Keys, accounts, webhooks and the audit log: what is asked, and what the answers become."""

from __future__ import annotations

from typing import Any

import pytest
from face import Face
from scripted_server import Answer, ScriptedServer

KEY = {"id": "key-1", "object": "key", "name": "ci", "scopes": ["read"], "status": "active", "key": "sk-new"}
ACCOUNT = {
    "id": "acct-1",
    "object": "account",
    "name": "team",
    "suspended": False,
    "limits": {"running_tunings": 2, "stored_bytes": 0},
    "usage": {"running_tunings": 1},
}
WEBHOOK = {"id": "wh-1", "object": "webhook.endpoint", "url": "https://a.example/", "enabled": True}
DELIVERY = {
    "id": "dlv-1",
    "type": "webhook.test",
    "status": "delivered",
    "attempts": [{"answer": {"status": 204}}],
}
ENTRY = {"id": "audit-1", "object": "audit.entry", "action": "keys.create", "outcome": "refused", "at": 9}
DELETED = {"id": "wh-1", "object": "webhook.endpoint", "deleted": True}
QUEUED = {"object": "webhook.replay", "queued": 3}
LISTS: dict[str, dict[str, Any]] = {"keys": KEY, "accounts": ACCOUNT, "webhooks": WEBHOOK, "audit": ENTRY}


@pytest.mark.parametrize(
    ("do", "route", "answer", "body"),
    [
        (
            lambda c: c.keys.create("ci", ["read"], expires_in=60, account="acct-1"),
            "POST /v1/keys.create",
            KEY,
            {"name": "ci", "scopes": ["read"], "expires_in": 60, "account": "acct-1"},
        ),
        (
            lambda c: c.keys.rotate("key-1", keep_seconds=30),
            "POST /v1/keys.rotate/key-1",
            KEY,
            {"keep_seconds": 30},
        ),
        (
            lambda c: c.accounts.create("team", {"running_tunings": 2}),
            "POST /v1/accounts.create",
            ACCOUNT,
            {"name": "team", "limits": {"running_tunings": 2}},
        ),
        (
            lambda c: c.accounts.update("acct-1", limits={"stored_bytes": None}),
            "POST /v1/accounts.update/acct-1",
            ACCOUNT,
            {"limits": {"stored_bytes": None}},
        ),
        (lambda c: c.accounts.suspend("acct-1"), "POST /v1/accounts.suspend/acct-1", ACCOUNT, None),
        (lambda c: c.accounts.reinstate("acct-1"), "POST /v1/accounts.reinstate/acct-1", ACCOUNT, None),
        (
            lambda c: c.webhooks.create("https://a.example/", ["tuning.succeeded"], description="ci"),
            "POST /v1/webhooks.create",
            WEBHOOK | {"secret": "whsec_x"},
            {"url": "https://a.example/", "types": ["tuning.succeeded"], "description": "ci"},
        ),
        (
            lambda c: c.webhooks.update("wh-1", enabled=False),
            "POST /v1/webhooks.update/wh-1",
            WEBHOOK,
            {"enabled": False},
        ),
        (lambda c: c.webhooks.rotate("wh-1"), "POST /v1/webhooks.rotate/wh-1", WEBHOOK, {}),
        (lambda c: c.webhooks.test("wh-1"), "POST /v1/webhooks.test/wh-1", DELIVERY, None),
        (
            lambda c: c.webhooks.replay("wh-1", since=9),
            "POST /v1/webhooks.replay/wh-1",
            QUEUED,
            {"since": 9},
        ),
    ],
)
def test_a_post_sends_what_was_given_with_one_key_for_all_its_tries(
    face: Face, server: ScriptedServer, do: Any, route: str, answer: dict[str, Any], body: Any
) -> None:
    server.on(route, Answer({}, 503), Answer(answer))
    made = face.call(do)
    assert made.to_dict() == answer
    first, second = server.requests(route)
    assert (first.json if first.body else None) == body
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


@pytest.mark.parametrize(
    ("do", "route", "answer"),
    [
        (lambda c: c.keys.get("key-1"), "GET /v1/keys.get/key-1", KEY),
        (lambda c: c.keys.revoke("key-1"), "DELETE /v1/keys.revoke/key-1", KEY),
        (lambda c: c.accounts.get("acct-1"), "GET /v1/accounts.get/acct-1", ACCOUNT),
        (lambda c: c.accounts.current(), "GET /v1/accounts.current", ACCOUNT),
        (lambda c: c.webhooks.get("wh-1"), "GET /v1/webhooks.get/wh-1", WEBHOOK),
        (lambda c: c.webhooks.delete("wh-1"), "DELETE /v1/webhooks.delete/wh-1", DELETED),
        (lambda c: c.models.delete("ft:m::1"), "DELETE /v1/models/ft:m::1", {"id": "m", "deleted": True}),
    ],
)
def test_a_thing_is_had_or_ended_by_its_id(
    face: Face, server: ScriptedServer, do: Any, route: str, answer: dict[str, Any]
) -> None:
    server.on(route, Answer(answer))
    assert face.call(do).to_dict() == answer


@pytest.mark.parametrize("noun", LISTS)
def test_lists_go_page_by_page(face: Face, server: ScriptedServer, example: Any, noun: str) -> None:
    row = LISTS[noun]
    first = Answer(example.page(row | {"id": "x-2"}, more=True, last_id="x-2"))
    server.on(f"GET /v1/{noun}.list", first, Answer(example.page(row)), first, Answer(example.page(row)))
    page = face.call(lambda client: getattr(client, noun).list(1))
    assert ([one.id for one in page], page.has_more) == (["x-2"], True)
    assert face.call(lambda _: page.next_page())[0].id == row["id"]
    every = face.collect(lambda client: getattr(client, noun).iter())
    assert [one.id for one in every] == ["x-2", row["id"]]
    asked = [request.query.get("after") for request in server.asked]
    assert asked == [None, "x-2", None, "x-2"]


def test_what_lies_inside_an_answer_is_typed_too(face: Face, server: ScriptedServer, example: Any) -> None:
    server.on("GET /v1/accounts.current", Answer(ACCOUNT))
    server.on("GET /v1/webhooks.deliveries/wh-1", Answer(example.page(DELIVERY)))
    server.on("GET /v1/audit.list", Answer(example.page(ENTRY)))
    account = face.call(lambda client: client.accounts.current())
    assert (account.limits.running_tunings, account.limits.creates_per_minute) == (2, None)
    assert account.usage.running_tunings == 1
    (delivery,) = face.call(lambda client: client.webhooks.deliveries("wh-1", 5))
    assert delivery.attempts[0].answer.status == 204
    (entry,) = face.call(lambda client: client.audit.list(5, outcome="refused", action="keys.create"))
    assert (entry.action, entry.code) == ("keys.create", None)
    assert server.asked[-1].query == {"limit": "5", "outcome": "refused", "action": "keys.create"}


def test_no_secret_is_shown_by_accident(face: Face, server: ScriptedServer) -> None:
    server.on("POST /v1/keys.create", Answer(KEY, 201))
    server.on("POST /v1/webhooks.create", Answer(WEBHOOK | {"secret": "whsec_x"}, 201))
    key = face.call(lambda client: client.keys.create("ci"))
    endpoint = face.call(lambda client: client.webhooks.create("https://a.example/"))
    assert (key.key, endpoint.secret) == ("sk-new", "whsec_x")
    assert "sk-new" not in repr(key)
    assert "whsec_x" not in repr(endpoint)
