"""How webhooks, and what they were told, look from outside."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from app.api.schemas.pages import seconds
from app.domain.webhooks import Webhook
from app.webhooks.payloads import DEFAULT_TYPES, TYPES
from app.webhooks.posting import WebhookAnswer

TEXT = r"^[^\x00]*$"
Url = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=2048,
        pattern=TEXT,
        description="Where to POST to: https:// or http://, without user and password. Addresses inside the "
        "service's own network are refused unless the operator allows them.",
    ),
]
Type = Annotated[str, Meta(max_length=64, pattern=TEXT, extra_json_schema={"enum": list(TYPES)})]
Types = Annotated[
    tuple[Type, ...], Meta(min_length=1, max_length=64, description="Of which events the endpoint is told.")
]
EventId = Annotated[str, Meta(max_length=256, pattern=TEXT)]
Since = Annotated[int, Meta(ge=0, le=2**33)]
Description = Annotated[str, Meta(max_length=256, pattern=TEXT, description="A note of your own.")]
DAY = 24 * 3600


class WebhookRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An endpoint to be told of events."""

    url: Url
    types: Types = DEFAULT_TYPES
    description: Description = ""


class WebhookChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to change about an endpoint; what is null or missing stays."""

    url: Annotated[Url | None, Meta(description="Where to POST to from now on.")] = None
    types: Annotated[Types | None, Meta(description="Of which events the endpoint is told from now on.")] = (
        None
    )
    description: Annotated[Description | None, Meta(description="A note of your own.")] = None
    enabled: Annotated[bool | None, Meta(description="False: it is told nothing more.")] = None


class WebhookRotation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to change over to a new secret."""

    keep_seconds: Annotated[
        int,
        Meta(
            ge=0, le=7 * DAY, description="For so long requests carry a signature by the old secret as well."
        ),
    ] = DAY


class WebhookReplayRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events to send again: one of the two."""

    after: Annotated[EventId | None, Meta(description="Id of an event: those that came later.")] = None
    since: Annotated[Since | None, Meta(description="Unix seconds: events from then on.")] = None


class WebhookEndpoint(Struct, frozen=True, kw_only=True):
    """An endpoint that is told of an account's events."""

    id: Annotated[str, Meta(description="Its id, `wh-…`.")]
    object: Literal["webhook.endpoint"] = "webhook.endpoint"
    url: Annotated[str, Meta(description="Where it is POSTed to.")]
    types: Annotated[list[str], Meta(description="Of which events it is told.")]
    description: Annotated[str, Meta(description="A note of your own.")]
    created_at: Annotated[int | None, Meta(description="Unix seconds.")]
    enabled: Annotated[bool, Meta(description="Whether it is told anything.")]
    disabled_reason: Annotated[
        str | None, Meta(description="`gone`: it answered 410, so the service turned it off.")
    ] = None
    secret: Annotated[
        str | UnsetType | None,
        Meta(
            description="What signs its requests; only creating and rotating tell it. Null where that "
            "answer is repeated for the same Idempotency-Key."
        ),
    ] = UNSET


class WebhookRequestSent(Struct, frozen=True):
    """A request as it was sent, but for its signature; its body is the delivery's `payload`."""

    url: Annotated[str, Meta(description="Where it went.")]
    headers: Annotated[dict[str, str], Meta(description="All but the signature.")]


class WebhookAttempt(Struct, frozen=True, kw_only=True):
    """One request to an endpoint, and how it ended."""

    number: Annotated[int, Meta(description="From 1; one is missing when the service died over it.")]
    created_at: Annotated[int | None, Meta(description="Unix seconds.")]
    seconds: Annotated[float, Meta(description="How long it took.")]
    request: Annotated[WebhookRequestSent, Meta(description="What was sent.")]
    answer: Annotated[
        WebhookAnswer | None, Meta(description="Headers up to 4 KiB and the first 2 KiB of the body.")
    ]
    error: Annotated[str | None, Meta(description="Why there was no answer.")]


class WebhookDelivery(Struct, frozen=True, kw_only=True):
    """An event told to an endpoint: pending, delivered, failed (given up), or stopped with its endpoint."""

    id: Annotated[str, Meta(description="The request's `webhook-id`, the same however often it is sent.")]
    object: Literal["webhook.delivery"] = "webhook.delivery"
    webhook: Annotated[str, Meta(description="Id of the endpoint.")]
    event: Annotated[str, Meta(description="Id of the event.")]
    type: Annotated[str, Meta(description="What happened, as the endpoint's `types` has it.")]
    status: Annotated[
        Literal["pending", "delivered", "failed", "stopped"],
        Meta(description="`failed` is given up, `stopped` went with its endpoint."),
    ]
    created_at: Annotated[int | None, Meta(description="Unix seconds; when it was queued.")]
    ended_at: Annotated[int | None, Meta(description="Unix seconds.")]
    next_attempt_at: Annotated[int | None, Meta(description="Unix seconds; while it is pending.")]
    payload: Annotated[str, Meta(description="The body of its requests, to the byte.")]
    attempts: Annotated[list[WebhookAttempt], Meta(description="Oldest first; kept for 30 days.")]


class WebhookReplay(Struct, frozen=True, kw_only=True):
    """What is sent again."""

    object: Literal["webhook.replay"] = "webhook.replay"
    queued: Annotated[int, Meta(description="Deliveries.")]
    has_more: Annotated[bool, Meta(description="Whether events are left: go on with `after=<last_event>`.")]
    last_event: Annotated[str | None, Meta(description="Id of the last event that was looked at.")]


def endpoint_view(webhook: Webhook, secret: str | UnsetType = UNSET) -> WebhookEndpoint:
    """The endpoint object."""
    return WebhookEndpoint(
        id=webhook.id,
        url=webhook.url,
        types=list(webhook.types),
        description=webhook.description,
        created_at=seconds(webhook.created_at),
        enabled=webhook.enabled,
        disabled_reason=webhook.disabled_reason,
        secret=secret,
    )


def delivery_view(row: Any, attempts: list[Any]) -> WebhookDelivery:
    """The delivery object, of its row and those of its attempts."""
    return WebhookDelivery(
        id=row["id"],
        webhook=row["webhook_id"],
        event=row["event_id"],
        type=row["type"],
        status=row["status"],
        created_at=seconds(row["queued_at"]),
        ended_at=seconds(row["ended_at"]),
        next_attempt_at=seconds(row["next_at"]) if row["status"] == "pending" else None,
        payload=row["payload"],
        attempts=[_attempt(each) for each in attempts],
    )


def _attempt(row: Any) -> WebhookAttempt:
    return WebhookAttempt(
        number=row["number"],
        created_at=seconds(row["at"]),
        seconds=round(row["seconds"], 3),
        request=msgspec.json.decode(row["request"], type=WebhookRequestSent),
        answer=msgspec.json.decode(row["answer"], type=WebhookAnswer) if row["answer"] else None,
        error=row["error"],
    )
