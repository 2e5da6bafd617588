"""Webhook endpoints and deliveries as text."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from tunesmith import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from tunesmith.cli.show import WIDE, fields, moment, moment_column, status, table, when


def webhooks(console: Console, rows: Iterable[WebhookEndpoint]) -> None:
    """A list of endpoints; on a narrow console without their types."""
    narrow = console.width < WIDE
    cells = (
        (each.id, _enabled(each), each.url, *([] if narrow else [", ".join(each.types or [])]))
        for each in rows
    )
    columns = ("webhook", "state", "url", *([] if narrow else ["types"]))
    table(console, columns, cells, "There are no webhooks.")


def webhook(console: Console, of: WebhookEndpoint) -> None:
    """One endpoint."""
    pairs = dict(of) | {"enabled": _enabled(of), "created_at": when(of.created_at)}
    pairs.pop("object", None)
    fields(console, pairs)


def deliveries(console: Console, rows: Iterable[WebhookDelivery]) -> None:
    """A list of deliveries, each with its last answer; on a narrow console without the event."""
    narrow = console.width < WIDE
    cells = (
        (
            each.id,
            status(each.status or ""),
            each.type,
            *([] if narrow else [each.event]),
            len(each.attempts or []),
            _answer(each),
            moment(console, each.created_at),
        )
        for each in rows
    )
    columns = ("delivery", "status", "type", *([] if narrow else ["event"]), "tries", "answer")
    table(console, (*columns, moment_column(console)), cells, "There are no deliveries.")


def delivery(console: Console, of: WebhookDelivery) -> None:
    """One delivery, with each attempt at it."""
    pairs = {"id": of.id, "status": status(of.status or ""), "type": of.type, "event": of.event}
    attempts = {f"attempt {each.number}": _told(each) for each in of.attempts or []}
    fields(console, pairs | attempts | {"next attempt": when(of.next_attempt_at)})


def _told(attempt: WebhookAttempt) -> Text:
    """How an attempt went: the answer and the beginning of its body, or why there was none."""
    took = f" in {attempt.seconds:.2f} s" if attempt.seconds is not None else ""
    if attempt.answer is None:
        return Text(f"{attempt.error or 'no answer'} ({when(attempt.created_at)})", style="red")
    body = " ".join((attempt.answer.body or "").split())[:200]
    return Text(
        f"answered {attempt.answer.status}{took} ({when(attempt.created_at)}){': ' if body else ''}{body}"
    )


def _answer(of: WebhookDelivery) -> int | str | None:
    if not of.attempts:
        return None
    answer = of.attempts[-1].answer
    return answer.status if answer else "none"


def _enabled(of: WebhookEndpoint) -> str:
    return (
        "enabled" if of.enabled else f"disabled ({of.disabled_reason})" if of.disabled_reason else "disabled"
    )
