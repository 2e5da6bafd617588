"""An account's webhook endpoints: which events they are told, and where. No secret is known here."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from app.domain.decider import Accepted, Context, Recorded, Rejection

MOST_ENDPOINTS = 16


class AddWebhook(Struct, frozen=True):
    """Tell `url` of events of these types from now on."""

    webhook_id: str
    url: str
    types: tuple[str, ...]
    description: str = ""


class UpdateWebhook(Struct, frozen=True):
    """Change what is not None. `reason` is why the service itself turns the endpoint off.

    With `only_at` nothing is changed unless the endpoint still is at this URL: what an old one answered says
    nothing of a new one.
    """

    webhook_id: str
    url: str | None = None
    types: tuple[str, ...] | None = None
    description: str | None = None
    enabled: bool | None = None
    reason: str | None = None
    only_at: str | None = None


class RotateWebhookSecret(Struct, frozen=True):
    """Sign with a new secret, and for `keep_seconds` with the old one as well."""

    webhook_id: str
    keep_seconds: int = 0


class RemoveWebhook(Struct, frozen=True):
    """Tell the endpoint nothing more and forget it."""

    webhook_id: str


class WebhookAdded(Struct, frozen=True):
    """An endpoint is told of events of these types."""

    webhook_id: str
    url: str
    types: tuple[str, ...]
    description: str


class WebhookUpdated(Struct, frozen=True):
    """How the endpoint is from now on; `disabled_reason` is set when the service itself turned it off."""

    webhook_id: str
    url: str
    types: tuple[str, ...]
    description: str
    enabled: bool
    disabled_reason: str | None = None


class WebhookSecretRotated(Struct, frozen=True):
    """The secret of this generation signs; the one before it does so until `previous_until`."""

    webhook_id: str
    generation: int
    previous_until: datetime | None = None


class WebhookRemoved(Struct, frozen=True):
    """The endpoint is gone."""

    webhook_id: str


class Webhook(Struct, frozen=True):
    """An endpoint. Its secret is derived from the installation's key, its id and `generation`, from 1."""

    id: str
    url: str
    types: tuple[str, ...]
    description: str
    created_at: datetime
    enabled: bool = True
    disabled_reason: str | None = None
    generation: int = 1
    previous_until: datetime | None = None


Command = AddWebhook | UpdateWebhook | RotateWebhookSecret | RemoveWebhook
Event = WebhookAdded | WebhookUpdated | WebhookSecretRotated | WebhookRemoved
COMMANDS = (AddWebhook, UpdateWebhook, RotateWebhookSecret, RemoveWebhook)
EVENTS = (WebhookAdded, WebhookUpdated, WebhookSecretRotated, WebhookRemoved)


def decide(held: tuple[Webhook, ...], command: Command, context: Context) -> Accepted | Rejection:
    """Events for a command about one of the account's endpoints, or why not."""
    found = webhook_of(held, command.webhook_id)
    if isinstance(command, AddWebhook):
        return _add(held, found, command)
    if found is None:
        return Rejection("not_found", f"there is no webhook {command.webhook_id!r}", "id")
    match command:
        case UpdateWebhook():
            return _update(found, command)
        case RotateWebhookSecret():
            until = context.at + timedelta(seconds=command.keep_seconds) if command.keep_seconds else None
            return Accepted((WebhookSecretRotated(found.id, found.generation + 1, until),))
        case RemoveWebhook():
            return Accepted((WebhookRemoved(found.id),))


def _add(held: tuple[Webhook, ...], found: Webhook | None, command: AddWebhook) -> Accepted | Rejection:
    if found is not None:
        return Accepted()
    if len(held) >= MOST_ENDPOINTS:
        return Rejection(
            "too_many_webhooks", f"an account may have {MOST_ENDPOINTS} webhooks; delete one first"
        )
    added = WebhookAdded(command.webhook_id, command.url, command.types, command.description)
    return Accepted((added,))


def _update(found: Webhook, command: UpdateWebhook) -> Accepted:
    if command.only_at not in (None, found.url):
        return Accepted()
    enabled = found.enabled if command.enabled is None else command.enabled
    told_off = command.reason if command.enabled is False else found.disabled_reason
    changed = WebhookUpdated(
        found.id,
        found.url if command.url is None else command.url,
        found.types if command.types is None else command.types,
        found.description if command.description is None else command.description,
        enabled,
        None if enabled else told_off,
    )
    return Accepted() if _changed(found, changed) == found else Accepted((changed,))


def evolve(held: tuple[Webhook, ...], event: Event, recorded: Recorded) -> tuple[Webhook, ...]:
    """The account's endpoints after `event`."""
    match event:
        case WebhookAdded():
            added = Webhook(event.webhook_id, event.url, event.types, event.description, recorded.at)
            return (*held, added)
        case WebhookUpdated():
            return tuple(_changed(one, event) if one.id == event.webhook_id else one for one in held)
        case WebhookSecretRotated():
            return tuple(_rotated(one, event) if one.id == event.webhook_id else one for one in held)
        case WebhookRemoved(webhook_id=id):
            return tuple(one for one in held if one.id != id)


def _changed(webhook: Webhook, event: WebhookUpdated) -> Webhook:
    return replace(
        webhook,
        url=event.url,
        types=event.types,
        description=event.description,
        enabled=event.enabled,
        disabled_reason=event.disabled_reason,
    )


def _rotated(webhook: Webhook, event: WebhookSecretRotated) -> Webhook:
    return replace(webhook, generation=event.generation, previous_until=event.previous_until)


def webhook_of(held: tuple[Webhook, ...], id: str) -> Webhook | None:
    """The endpoint with this id among these."""
    return next((webhook for webhook in held if webhook.id == id), None)
