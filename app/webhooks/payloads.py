"""What a webhook says: its type, and the event in the form that this type has."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from app.domain.telling import TuningEvent, event_name
from app.domain.tunings import TUNINGS

# OpenAI's own types, for its clients: the data is the job's id.
OPENAI_TYPES = {
    "succeeded": "fine_tuning.job.succeeded",
    "failed": "fine_tuning.job.failed",
    "cancelled": "fine_tuning.job.cancelled",
}
TYPES = (*(f"tuning.{event_name(name)}" for name in TUNINGS.events), *OPENAI_TYPES.values())
DEFAULT_TYPES = ("tuning.succeeded", "tuning.failed", "tuning.cancelled")
TEST = "webhook.test"


class WebhookPayload(Struct, frozen=True, kw_only=True):
    """The body of a webhook."""

    id: Annotated[str, Meta(description="The event's id, the same in REST, SSE and Kafka.")]
    object: Literal["event"] = "event"
    type: Annotated[str, Meta(description="What happened, as the endpoint's `types` has it.")]
    created_at: Annotated[int, Meta(description="Unix seconds.")]
    data: Annotated[
        Any,
        Meta(
            description="Of `tuning.…` the event as /v1/tunings.events has it; of `fine_tuning.job.…` the "
            "job's `id`; of `webhook.test` the endpoint's `id`."
        ),
    ]


def types_of(event: str) -> tuple[str, ...]:
    """The types that an event such as `succeeded` is told as."""
    return tuple(name for name in (f"tuning.{event}", OPENAI_TYPES.get(event)) if name is not None)


def event_payload(type: str, event: TuningEvent) -> str:
    """The body that tells of an event."""
    tuning_id, _, _ = event.id.rpartition(":")
    data = {"id": tuning_id} if type in OPENAI_TYPES.values() else event
    return _encoded(WebhookPayload(id=event.id, type=type, created_at=event.created_at or 0, data=data))


def trial_payload(id: str, webhook_id: str, at: int) -> str:
    """The body of a test."""
    return _encoded(WebhookPayload(id=id, type=TEST, created_at=at, data={"id": webhook_id}))


def _encoded(payload: WebhookPayload) -> str:
    return msgspec.json.encode(payload).decode()
