"""Webhooks: endpoints of an account that are told of its tunings, and what they were told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import uuid4

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.params import FromPath, QueryParameter

from app.api import replaying
from app.api.decisions import decided, made_id
from app.api.errors import RETRY_AFTER_SECONDS, ApiError, invalid, missing
from app.api.limits import LOCK
from app.api.requests import After, Limit, json_object, optional_object, read_fields
from app.api.schemas.errors import RequestFault
from app.api.schemas.pages import Deleted, Page, page
from app.api.schemas.webhooks import (
    WebhookChange,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookReplay,
    WebhookReplayRequest,
    WebhookRequest,
    WebhookRotation,
    delivery_view,
    endpoint_view,
)
from app.api.session import Authenticated, Session
from app.domain.accounts import ACCOUNTS, Account
from app.domain.ids import derive_id
from app.domain.webhooks import (
    AddWebhook,
    RemoveWebhook,
    RotateWebhookSecret,
    UpdateWebhook,
    Webhook,
    webhook_of,
)
from app.webhooks.addresses import refusal
from app.webhooks.payloads import DEFAULT_TYPES, TEST, TYPES, trial_payload
from app.webhooks.queue import Delivery, enqueue
from app.webhooks.signing import secret_of

TESTED_WITHIN = 15.0
LOOK_SECONDS = 0.1
TESTS_PER_MINUTE = 10
TESTED_LATELY = """
SELECT count(*) FROM ops.deliveries
WHERE webhook_id = $1 AND type = $2 AND queued_at > now() - interval '1 minute'
"""

COLUMNS = "id, url, types, description, created_at, enabled, disabled_reason, generation, previous_until"


def _installation_key(session: Session) -> str:
    """What secrets derive from. Raises `ApiError` 503 where there is none."""
    key = session.service.settings.installation_key
    if key is None:
        raise ApiError(
            503,
            "webhooks_not_configured",
            "webhooks need an installation key: set TUNESMITH_INSTALLATION_KEY, to the same 32 characters or "
            "more for the api and the reactors",
            headers={"retry-after": str(RETRY_AFTER_SECONDS), "x-should-retry": "false"},
        )
    return key


def _webhook(row: Any) -> Webhook:
    return msgspec.convert(dict(row), Webhook)


async def the_webhook(session: Session, id: str) -> Webhook:
    """The account's webhook with this id. Raises `ApiError` 404 or 503."""
    _installation_key(session)
    row = await session.service.pool.fetchrow(
        f"SELECT {COLUMNS} FROM webhooks WHERE id = $1 AND account_id = $2", id, session.caller.account_id
    )
    if row is None:
        raise missing("webhook", id)
    return _webhook(row)


async def _faults(session: Session, values: Mapping[str, Any]) -> list[RequestFault]:
    """What is wrong with fields of the right shape."""
    faults = []
    if values.get("url") is not None:
        why = await refusal(values["url"], session.service.settings.webhook_networks())
        if why is not None:
            faults.append(RequestFault("url", f"url: {why}", "invalid_url"))
    unknown = [type for type in values.get("types") or () if type not in TYPES]
    known = ", ".join(TYPES)
    return faults + [RequestFault("types", f"{type!r} is no type; there are: {known}") for type in unknown]


async def _changed(session: Session, id: str, command: Any, *, certain: bool) -> tuple[Webhook, bool]:
    """The webhook after a command, and whether the read model shows it. Raises `ApiError`."""
    account_id = session.caller.account_id
    reply, seen = await decided(session, ACCOUNTS, account_id, command, certain=certain)
    webhook = webhook_of(msgspec.json.decode(reply.state, type=Account).webhooks, id)
    if webhook is None:
        raise missing("webhook", id)
    return webhook, seen


def _with_secret(session: Session, webhook: Webhook) -> WebhookEndpoint:
    return endpoint_view(webhook, secret_of(_installation_key(session), webhook.id, webhook.generation))


@post(
    "/v1/webhooks.create",
    operation_id="createWebhook",
    answer_headers=("location",),
    scope="write",
    body=WebhookRequest,
    answers=(202,),
    secret="secret",  # noqa: S106 — the name of a field
)
async def create(request: Request[Any, Any, Any], session: Authenticated) -> Response[WebhookEndpoint]:
    """Add an endpoint; its secret is shown in this answer and after a rotation.

    Requests are signed as [Standard Webhooks](https://www.standardwebhooks.com) has it: `webhook-id`,
    `webhook-timestamp`, `webhook-signature`. A request may come twice, and they keep no order; `webhook-id`
    is the same for the same event. What is not answered with 2xx within 10 s is tried again, at longer and
    longer intervals, for three days; 410 turns the endpoint off.
    """
    _installation_key(session)
    values, faults = read_fields(WebhookRequest, (await json_object(request))[0])
    faults += await _faults(session, values)
    if faults:
        raise invalid(faults)
    id = made_id(session, "wh")
    command = AddWebhook(
        id,
        values["url"],
        tuple(dict.fromkeys(values.get("types", DEFAULT_TYPES))),
        values.get("description", ""),
    )
    webhook, seen = await _changed(session, id, command, certain=False)
    headers = {"location": f"/v1/webhooks.get/{id}"}
    return Response(_with_secret(session, webhook), status_code=201 if seen else 202, headers=headers)


@get("/v1/webhooks.list", operation_id="listWebhooks", scope="read")
async def list_webhooks(
    session: Authenticated, limit: Limit = 20, after: After = None
) -> Page[WebhookEndpoint]:
    """The account's endpoints, newest first."""
    _installation_key(session)
    rows = await session.service.pool.fetch(
        f"SELECT {COLUMNS} FROM webhooks WHERE account_id = $1 ORDER BY created_at DESC, id DESC",
        session.caller.account_id,
    )
    first = 0
    if after is not None:
        first = next((place for place, row in enumerate(rows, 1) if row["id"] == after), -1)
        if first < 0:
            raise invalid([RequestFault("after", f"there is no webhook {after!r} to go on behind")])
    return page([endpoint_view(_webhook(row)) for row in rows[first:]], limit)


@get("/v1/webhooks.get/{id:str}", operation_id="getWebhook", scope="read")
async def retrieve(session: Authenticated, id: FromPath[str]) -> WebhookEndpoint:
    """One endpoint."""
    return endpoint_view(await the_webhook(session, id))


@post(
    "/v1/webhooks.update/{id:str}",
    operation_id="updateWebhook",
    scope="write",
    body=WebhookChange,
    status_code=200,
    answers=(202,),
)
async def update(
    request: Request[Any, Any, Any], session: Authenticated, id: FromPath[str]
) -> Response[WebhookEndpoint]:
    """Change an endpoint. One that is turned off is told nothing more, not even what waits for it."""
    await the_webhook(session, id)
    body, _ = await json_object(request)
    values, faults = read_fields(WebhookChange, body)
    faults += await _faults(session, values)
    if faults:
        raise invalid(faults)
    types = values.get("types")
    command = UpdateWebhook(
        id,
        values.get("url"),
        tuple(dict.fromkeys(types)) if types is not None else None,
        values.get("description"),
        values.get("enabled"),
    )
    webhook, seen = await _changed(session, id, command, certain=True)
    return Response(endpoint_view(webhook), status_code=200 if seen else 202)


@delete("/v1/webhooks.delete/{id:str}", operation_id="deleteWebhook", scope="write", status_code=200)
async def remove(session: Authenticated, id: FromPath[str]) -> Deleted:
    """Take an endpoint away; it is told nothing more, not even what waits for it."""
    await the_webhook(session, id)
    await decided(session, ACCOUNTS, session.caller.account_id, RemoveWebhook(id), certain=True)
    return Deleted(id, "webhook.endpoint")


@post(
    "/v1/webhooks.rotate/{id:str}",
    operation_id="rotateWebhookSecret",
    scope="write",
    body=WebhookRotation,
    body_required=False,
    status_code=200,
    answers=(202,),
    secret="secret",  # noqa: S106 — the name of a field
)
async def rotate(
    request: Request[Any, Any, Any], session: Authenticated, id: FromPath[str]
) -> Response[WebhookEndpoint]:
    """Sign with a new secret, shown in this answer; for `keep_seconds` with the old one as well."""
    await the_webhook(session, id)
    values, faults = read_fields(WebhookRotation, await optional_object(request))
    if faults:
        raise invalid(faults)
    command = RotateWebhookSecret(id, values.get("keep_seconds", WebhookRotation().keep_seconds))
    webhook, seen = await _changed(session, id, command, certain=False)
    return Response(_with_secret(session, webhook), status_code=200 if seen else 202)


@post(
    "/v1/webhooks.test/{id:str}",
    operation_id="testWebhook",
    scope="write",
    status_code=200,
)
async def test(session: Authenticated, id: FromPath[str]) -> WebhookDelivery:
    """Send a `webhook.test`, once, whatever the endpoint's `types`, and tell how that went.

    `pending` when it was not sent within 15 s.
    """
    pool = session.service.pool
    webhook = await the_webhook(session, id)
    _must_be_enabled(webhook)
    event_id = derive_id("test", uuid4().hex)
    payload = trial_payload(event_id, id, int(datetime.now(UTC).timestamp()))
    delivery = Delivery(id, event_id, TEST, payload)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(LOCK, id)
        if await connection.fetchval(TESTED_LATELY, id, TEST) >= TESTS_PER_MINUTE:
            message = f"an endpoint may be tested {TESTS_PER_MINUTE} times a minute"
            raise ApiError(429, "rate_limit_exceeded", message, headers={"retry-after": "60"})
        await enqueue(connection, [delivery])
    until = time.monotonic() + TESTED_WITHIN
    while True:
        [found] = await _deliveries(session, id, "d.id = $2", delivery.id)
        if found.status != "pending" or time.monotonic() >= until:
            return found
        await asyncio.sleep(LOOK_SECONDS)


def _must_be_enabled(webhook: Webhook) -> None:
    if not webhook.enabled:
        message = f"webhook {webhook.id} is turned off; turn it on by webhooks.update with `enabled: true`"
        raise ApiError(400, "webhook_disabled", message, "id")


async def _deliveries(
    session: Session, webhook_id: str, condition: str = "true", *arguments: Any, limit: int = 1
) -> list[WebhookDelivery]:
    """Deliveries to an endpoint that a condition on `d` holds for, newest first."""
    rows = await session.service.pool.fetch(
        f"SELECT d.* FROM ops.deliveries d WHERE d.webhook_id = $1 AND {condition} "
        f"ORDER BY d.queued_at DESC, d.id DESC LIMIT {limit}",
        webhook_id,
        *arguments,
    )
    attempts: dict[str, list[Any]] = {}
    for row in await session.service.pool.fetch(
        "SELECT * FROM ops.delivery_attempts WHERE delivery_id = ANY($1::text[]) ORDER BY number",
        [row["id"] for row in rows],
    ):
        attempts.setdefault(row["delivery_id"], []).append(row)
    return [delivery_view(row, attempts.get(row["id"], [])) for row in rows]


@get("/v1/webhooks.deliveries/{id:str}", operation_id="listWebhookDeliveries", scope="read")
async def deliveries(
    session: Authenticated,
    id: FromPath[str],
    limit: Limit = 20,
    after: After = None,
    status: Annotated[
        Literal["pending", "delivered", "failed", "stopped"] | None, QueryParameter(description="Only these.")
    ] = None,
) -> Page[WebhookDelivery]:
    """What an endpoint was told in the last 30 days, newest first: each request, its answer and its time."""
    await the_webhook(session, id)
    conditions, arguments = ["true"], list[Any]()
    if status is not None:
        arguments.append(status)
        conditions.append(f"d.status = ${len(arguments) + 1}")
    if after is not None:
        last = await session.service.pool.fetchval(
            "SELECT queued_at FROM ops.deliveries WHERE webhook_id = $1 AND id = $2", id, after
        )
        if last is None:
            raise invalid([RequestFault("after", f"there is no delivery {after!r} to go on behind")])
        arguments += [last, after]
        conditions.append(f"(d.queued_at, d.id) < (${len(arguments)}, ${len(arguments) + 1})")
    found = await _deliveries(session, id, " AND ".join(conditions), *arguments, limit=limit + 1)
    return page(found, limit)


@post(
    "/v1/webhooks.replay/{id:str}",
    operation_id="replayWebhook",
    scope="write",
    body=WebhookReplayRequest,
    status_code=200,
)
async def replay(request: Request[Any, Any, Any], session: Authenticated, id: FromPath[str]) -> WebhookReplay:
    """Send events of the endpoint's types again, oldest first: those after an event, or since a time.

    Each has the `webhook-id` that it had or would have had. At most 10,000 events are looked at.
    """
    webhook = await the_webhook(session, id)
    body, _ = await json_object(request)
    values, faults = read_fields(WebhookReplayRequest, body)
    given = [name for name in ("after", "since") if values.get(name) is not None]
    if not faults and len(given) != 1:
        faults.append(RequestFault("after", "give either `after` or `since`"))
    if faults:
        raise invalid(faults)
    _must_be_enabled(webhook)
    return await replaying.replay(session, webhook, values.get("after"), values.get("since"))


ROUTES = [create, list_webhooks, retrieve, update, remove, rotate, test, deliveries, replay]
