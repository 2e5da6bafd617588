"""Secrets that nobody keeps, and signatures that three verifiers believe."""

from __future__ import annotations

from base64 import b64decode
from datetime import UTC, datetime, timedelta

import openai
import pytest
import standardwebhooks
import tunesmith

from app.webhooks.signing import secret_of, signature, signatures

KEY = "k" * 32
PAYLOAD = (
    '{"id":"job-a:3","object":"event","type":"fine_tuning.job.succeeded","created_at":1,'
    '"data":{"id":"job-ä"}}'
)


def headers(generation: int = 1, seconds_left: float | None = None) -> dict[str, str]:
    """Signed now; the secret before this generation's holds for so many more seconds."""
    now = datetime.now(UTC)
    until = now + timedelta(seconds=seconds_left) if seconds_left is not None else None
    signed = signatures(KEY, "wh-a", generation, until, id="whd-1", at=now, payload=PAYLOAD)
    return {
        "webhook-id": "whd-1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signed,
    }


def test_a_secret_is_that_of_one_installation_endpoint_and_generation() -> None:
    secret = secret_of(KEY, "wh-a", 1)
    assert secret == secret_of(KEY, "wh-a", 1)
    others = {secret_of("l" * 32, "wh-a", 1), secret_of(KEY, "wh-b", 1), secret_of(KEY, "wh-a", 2)}
    assert secret not in others
    assert len(others) == 3
    assert secret.startswith("whsec_")
    assert len(b64decode(secret.removeprefix("whsec_"))) == 32


def test_it_is_the_signature_of_the_specifications_own_example() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    payload = '{"test": 2432232314}'
    told = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, payload)
    assert told == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("secret", [secret_of(KEY, "wh-a", 2), secret_of(KEY, "wh-a", 1)])
def test_for_a_while_after_a_rotation_both_secrets_hold(secret: str) -> None:
    both = headers(2, 60)
    assert standardwebhooks.Webhook(secret).verify(PAYLOAD.encode(), both)["id"] == "job-a:3"
    assert tunesmith.verify_webhook(PAYLOAD, both, secret).data["id"] == "job-ä"
    client = openai.OpenAI(api_key="sk-none", webhook_secret=secret)
    assert client.webhooks.unwrap(PAYLOAD, both).type == "fine_tuning.job.succeeded"


def test_after_that_while_only_the_new_one_holds() -> None:
    late = headers(2, 0)
    assert tunesmith.verify_webhook(PAYLOAD, late, secret_of(KEY, "wh-a", 2)).id == "job-a:3"
    with pytest.raises(tunesmith.WebhookVerificationError):
        tunesmith.verify_webhook(PAYLOAD, late, secret_of(KEY, "wh-a", 1))
