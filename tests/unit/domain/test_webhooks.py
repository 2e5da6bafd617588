"""Webhook endpoints of an account: added, changed, rotated, removed."""

from __future__ import annotations

from datetime import timedelta

from app.domain.accounts import ACCOUNTS, Opened
from app.domain.webhooks import (
    MOST_ENDPOINTS,
    AddWebhook,
    RemoveWebhook,
    RotateWebhookSecret,
    UpdateWebhook,
    WebhookAdded,
    WebhookRemoved,
    WebhookSecretRotated,
    WebhookUpdated,
)
from tests.unit.domain.scenario import AT, Scenario

ADD = AddWebhook("wh-1", "https://example.org", ("tuning.failed",), "mine")
ADDED = WebhookAdded("wh-1", "https://example.org", ("tuning.failed",), "mine")


def with_one() -> Scenario:
    return Scenario(ACCOUNTS, "acct-a", Opened("team"), ADDED)


def test_an_endpoint_is_added_once() -> None:
    account = Scenario(ACCOUNTS, "acct-a", Opened("team"))
    assert account.then(ADD) == (ADDED,)
    assert account.then(ADD) == ()
    [webhook] = account.state.webhooks
    assert (webhook.created_at, webhook.enabled, webhook.generation) == (AT, True, 1)


def test_an_account_has_so_many_and_no_more_until_one_is_removed() -> None:
    account = Scenario(ACCOUNTS, "acct-a", Opened("team"))
    for number in range(MOST_ENDPOINTS):
        account.then(AddWebhook(f"wh-{number}", "https://example.org", ()))
    one_more = AddWebhook("wh-more", "https://example.org", ())
    assert account.refused(one_more).code == "too_many_webhooks"
    assert account.then(RemoveWebhook("wh-3")) == (WebhookRemoved("wh-3"),)
    assert len(account.then(one_more)) == 1
    assert account.refused(RemoveWebhook("wh-3")).code == "not_found"


def test_what_is_not_named_stays_and_what_changes_nothing_is_no_event() -> None:
    account = with_one()
    assert account.then(UpdateWebhook("wh-1", description="mine", enabled=True)) == ()
    assert account.then(UpdateWebhook("wh-1", description="yours")) == (
        WebhookUpdated("wh-1", "https://example.org", ("tuning.failed",), "yours", True),
    )
    assert account.refused(UpdateWebhook("wh-2", enabled=False)).code == "not_found"


def test_why_the_service_turned_it_off_is_known_until_it_is_turned_on() -> None:
    account = with_one()
    account.then(UpdateWebhook("wh-1", enabled=False, reason="gone"))
    account.then(UpdateWebhook("wh-1", url="https://example.net"))
    assert account.state.webhooks[0].disabled_reason == "gone"
    account.then(UpdateWebhook("wh-1", enabled=True))
    assert account.state.webhooks[0].disabled_reason is None
    account.then(UpdateWebhook("wh-1", enabled=False))
    assert account.state.webhooks[0].disabled_reason is None


def test_what_an_old_url_answered_turns_no_new_one_off() -> None:
    account = with_one()
    account.then(UpdateWebhook("wh-1", url="https://example.net"))
    off = UpdateWebhook("wh-1", enabled=False, reason="gone", only_at="https://example.org")
    assert account.then(off) == ()
    [event] = account.then(UpdateWebhook("wh-1", enabled=False, reason="gone", only_at="https://example.net"))
    assert event.disabled_reason == "gone"


def test_each_rotation_is_a_generation_and_the_one_before_may_hold_for_a_while() -> None:
    account = with_one()
    until = AT + timedelta(seconds=60)
    assert account.then(RotateWebhookSecret("wh-1", 60)) == (WebhookSecretRotated("wh-1", 2, until),)
    assert account.then(RotateWebhookSecret("wh-1")) == (WebhookSecretRotated("wh-1", 3),)
    assert account.state.webhooks[0].previous_until is None
