"""Webhook endpoints and what was delivered to them. Times are Unix seconds."""

from __future__ import annotations

from typing import ClassVar

from tunesmith._resource import Nested, Resource


class WebhookEndpoint(Resource):
    """An address of yours that is told of events; only `create` and `rotate` tell its `secret`, `whsec_…`.

    `disabled_reason` is `gone` when the service turned it off because it answered 410.
    """

    id: str
    object: str
    url: str
    types: list[str]
    description: str | None
    created_at: int | None
    enabled: bool
    disabled_reason: str | None
    secret: str | None

    _shown = ("id", "url", "enabled")


class WebhookRequest(Resource):
    """A request as it was sent, but for its signature; its body is the delivery's `payload`."""

    url: str
    headers: dict[str, str]

    _shown = ("url",)


class WebhookAnswer(Resource):
    """What an endpoint answered: the beginning of it."""

    status: int | None
    headers: dict[str, str] | None
    body: str | None

    _shown = ("status",)


class WebhookAttempt(Resource):
    """One request to an endpoint, how long it took, and its answer, or in `error` why there was none."""

    number: int | None
    created_at: int | None
    seconds: float | None
    request: WebhookRequest | None
    answer: WebhookAnswer | None
    error: str | None

    _nested: ClassVar[Nested] = {"request": WebhookRequest, "answer": WebhookAnswer}
    _shown = ("number", "answer", "error")


class WebhookDelivery(Resource):
    """An event told to an endpoint: `pending`, `delivered`, `failed` (given up), or `stopped` with it.

    `id` is the `webhook-id` of its requests, `payload` their body to the byte.
    """

    id: str
    object: str
    webhook: str | None
    event: str | None
    type: str | None
    status: str | None
    created_at: int | None
    ended_at: int | None
    next_attempt_at: int | None
    payload: str | None
    attempts: list[WebhookAttempt] | None

    _nested: ClassVar[Nested] = {"attempts": WebhookAttempt}
    _shown = ("id", "type", "status")


class WebhookReplay(Resource):
    """How many deliveries were queued; while `has_more`, go on with `after=last_event`."""

    object: str
    queued: int
    has_more: bool | None
    last_event: str | None

    _shown = ("queued", "has_more")
