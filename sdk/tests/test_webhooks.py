"""A webhook received: believed when it is the service's and of now, and else never."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import pickle
import time
from collections.abc import Callable
from email.message import Message
from typing import Any

import pytest

import tunesmith
from tunesmith import WebhookVerificationError, verify_webhook

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
BODY = json.dumps(
    {
        "id": "job-a:3",
        "object": "event",
        "type": "tuning.succeeded",
        "created_at": 1,
        "data": {"id": "job-a:3", "message": "the adapter is ready: ü"},
    },
    ensure_ascii=False,
)


def sign(body: str, id: str = "whd-1", at: float | None = None, secret: str = SECRET) -> dict[str, str]:
    timestamp = str(int(time.time() if at is None else at))
    key = base64.b64decode(secret[len("whsec_") :])
    digest = hmac.new(key, f"{id}.{timestamp}.{body}".encode(), hashlib.sha256).digest()
    return {
        "webhook-id": id,
        "webhook-timestamp": timestamp,
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }


@pytest.mark.parametrize("body", [BODY, BODY.encode()])
def test_a_webhook_of_the_service_is_its_event(body: str | bytes) -> None:
    event = verify_webhook(body, sign(BODY), SECRET)
    assert (event.id, event.type, event.created_at) == ("job-a:3", "tuning.succeeded", 1)
    assert event.data.message == "the adapter is ready: ü"
    assert event["object"] == "event"
    assert repr(event) == "<WebhookEvent id=job-a:3 type=tuning.succeeded>"


def test_headers_are_found_in_any_case_and_any_framework() -> None:
    upper = {name.title(): value for name, value in sign(BODY).items()}
    assert verify_webhook(BODY, upper, SECRET).id == "job-a:3"
    message = Message()
    for name, value in upper.items():
        message[name] = value
    assert verify_webhook(BODY, message, SECRET).id == "job-a:3"


def test_one_signature_of_several_is_enough() -> None:
    headers = sign(BODY)
    held = headers["webhook-signature"]
    old = sign(BODY, secret="whsec_" + base64.b64encode(b"old").decode())["webhook-signature"]
    for several in (f"{held} {old}", f"{old} {held}", f"v2,AAAA v1,%% v1a,AAAA nonsense {held}"):
        assert verify_webhook(BODY, headers | {"webhook-signature": several}, SECRET).id == "job-a:3"


def other_body(headers: dict[str, str]) -> str:
    return BODY.replace("ready", "readY")


def other_id(headers: dict[str, str]) -> str:
    headers["webhook-id"] = "whd-2"
    return BODY


def other_time(headers: dict[str, str]) -> str:
    headers["webhook-timestamp"] = str(int(headers["webhook-timestamp"]) + 1)
    return BODY


def another_version(headers: dict[str, str]) -> str:
    headers["webhook-signature"] = headers["webhook-signature"].replace("v1,", "v2,")
    return BODY


def no_number(headers: dict[str, str]) -> str:
    headers["webhook-timestamp"] = "now"
    return BODY


def huge_number(headers: dict[str, str]) -> str:
    headers["webhook-timestamp"] = "9" * 5000
    return BODY


def other_digits(headers: dict[str, str]) -> str:
    headers["webhook-timestamp"] = "١٢٣"
    return BODY


def no_id(headers: dict[str, str]) -> str:
    del headers["webhook-id"]
    return BODY


def no_signature(headers: dict[str, str]) -> str:
    headers["webhook-signature"] = ""
    return BODY


def not_ascii(headers: dict[str, str]) -> str:
    headers["webhook-signature"] = "v1,ü"
    return BODY


@pytest.mark.parametrize(
    "harm",
    [
        other_body,
        other_id,
        other_time,
        another_version,
        no_number,
        huge_number,
        other_digits,
        no_id,
        no_signature,
        not_ascii,
    ],
)
def test_what_was_changed_on_the_way_is_not_believed(harm: Callable[[dict[str, str]], str]) -> None:
    headers = sign(BODY)
    body = harm(headers)
    with pytest.raises(WebhookVerificationError):
        verify_webhook(body, headers, SECRET)


@pytest.mark.parametrize(("age", "told"), [(320, "too old"), (-320, "far in the future")])
def test_what_is_not_of_now_is_not_believed(age: float, told: str) -> None:
    headers = sign(BODY, at=time.time() - age)
    with pytest.raises(WebhookVerificationError, match=told):
        verify_webhook(BODY, headers, SECRET)
    assert verify_webhook(BODY, headers, SECRET, tolerance=400).id == "job-a:3"


@pytest.mark.parametrize("body", ["[1]", "no JSON", ""])
def test_what_is_signed_and_no_object_is_refused_too(body: str) -> None:
    with pytest.raises(WebhookVerificationError):
        verify_webhook(body, sign(body), SECRET)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_%%%", "whsec_ü"])
def test_a_secret_that_cannot_be_one_is_the_callers_fault(secret: str) -> None:
    with pytest.raises(ValueError, match="secret") as raised:
        verify_webhook(BODY, sign(BODY), secret)
    assert not isinstance(raised.value, WebhookVerificationError)


def test_the_refusal_is_no_failed_call_and_travels_between_processes() -> None:
    error = WebhookVerificationError("no")
    twin: Any = pickle.loads(pickle.dumps(error))
    assert (type(twin), str(twin)) == (WebhookVerificationError, "no")
    assert not isinstance(error, tunesmith.APIError)
