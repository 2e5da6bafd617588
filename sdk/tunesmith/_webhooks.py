"""Webhooks received: a request is believed only when its signature holds, as Standard Webhooks has it."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from base64 import b64decode
from binascii import Error as NoBase64
from collections.abc import Iterable
from typing import ClassVar, Protocol

from tunesmith._exceptions import WebhookVerificationError
from tunesmith._models import TuningEvent
from tunesmith._resource import Nested, Resource

PREFIX = "whsec_"
ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"


class Headers(Protocol):
    """A request's headers, as any framework has them: a dict, `http.server`'s, Starlette's, Django's."""

    def items(self) -> Iterable[tuple[str, str]]: ...


class WebhookEvent(Resource):
    """What a webhook tells: of `tuning.…` `data` is the event, of `fine_tuning.job.…` the job's `id` alone.

    `id` is the event's, the same in REST and Kafka; `created_at` is in Unix seconds.
    """

    id: str
    object: str
    type: str
    created_at: int
    data: TuningEvent

    _nested: ClassVar[Nested] = {"data": TuningEvent}
    _shown = ("id", "type")


def verify_webhook(
    payload: bytes | str, headers: Headers, secret: str, *, tolerance: float = 300
) -> WebhookEvent:
    """The event in a webhook's request, once its signature is found to hold.

    A request may come twice: its header `webhook-id` is the same then, and the order of requests is not kept.

    Args:
        payload: The body to the byte, as it came; JSON that was read and written again has another signature.
        headers: The request's headers, in any case.
        secret: The endpoint's secret, `whsec_…`, from when it was created or last rotated.
        tolerance: By how many seconds the time in the request may differ from the clock here, either way.

    Raises:
        WebhookVerificationError: It is not from the service, too old, or too new. Answer 400.
        ValueError: The secret cannot be one.
    """
    key = _key(secret)
    body = payload.encode() if isinstance(payload, str) else payload
    found = {name.lower(): value for name, value in headers.items()}
    missing = [name for name in (ID, TIMESTAMP, SIGNATURE) if not found.get(name)]
    if missing:
        raise WebhookVerificationError(f"the request has no header {missing[0]}: it is no webhook")
    timestamp = found[TIMESTAMP]
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= 18):
        raise WebhookVerificationError(f"the header {TIMESTAMP} is no number of seconds")
    age = time.time() - int(timestamp)
    if abs(age) > tolerance:
        when = "old" if age > 0 else "far in the future"
        raise WebhookVerificationError(f"the request is too {when}: {abs(age):.0f} s from the clock here")
    signed = f"{found[ID]}.{timestamp}.".encode() + body
    expected = hmac.new(key, signed, hashlib.sha256).digest()
    # All are compared, and in constant time: how long it takes tells nothing.
    matches = [hmac.compare_digest(expected, each) for each in _signatures(found[SIGNATURE])]
    if not any(matches):
        raise WebhookVerificationError("no signature of the request holds: another secret, or another body")
    return _event(body)


def _key(secret: str) -> bytes:
    try:
        key = b64decode(secret.removeprefix(PREFIX), validate=True)
    except (NoBase64, ValueError) as error:
        raise ValueError(f"a webhook's secret is {PREFIX}… in base64, as the service showed it") from error
    if not key:
        raise ValueError("the webhook's secret is empty")
    return key


def _signatures(header: str) -> list[bytes]:
    """The signatures of the version that is known here; there are two for a while after a rotation."""
    found = []
    for each in header.split():
        version, _, signature = each.partition(",")
        if version == "v1":
            try:
                found.append(b64decode(signature, validate=True))
            except (NoBase64, ValueError):
                continue
    return found


def _event(body: bytes) -> WebhookEvent:
    try:
        fields = json.loads(body)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise WebhookVerificationError("the request is signed, and its body is no JSON object")
    return WebhookEvent(fields)
