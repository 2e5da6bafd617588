"""Accounts and keys: opened, issued, revoked, suspended, reinstated."""

from __future__ import annotations

from app.domain.accounts import (
    ACCOUNTS,
    IssueKey,
    OpenAccount,
    Opened,
    ReinstateAccount,
    Reinstated,
    RevokeKey,
    SuspendAccount,
    Suspended,
)
from tests.unit.domain.scenario import AT, Scenario

KEY = IssueKey("key-1", "aa")


def opened() -> Scenario:
    return Scenario(ACCOUNTS, "acct-a", Opened("team"))


def test_opening_again_under_the_same_name_changes_nothing() -> None:
    assert opened().then(OpenAccount("team")) == ()
    assert opened().refused(OpenAccount("others")).code == "conflict"


def test_a_key_is_issued_once() -> None:
    account = opened()
    assert len(account.then(KEY)) == 1
    assert account.then(KEY) == ()
    assert account.refused(IssueKey("key-1", "bb")).code == "conflict"


def test_a_revoked_key_knows_when() -> None:
    account = opened()
    account.then(KEY)
    account.then(RevokeKey("key-1"))
    assert account.state.keys[0].revoked_at == AT
    assert account.then(RevokeKey("key-1")) == ()
    assert account.refused(RevokeKey("key-2")).code == "not_found"


def test_suspension_comes_and_goes() -> None:
    account = opened()
    assert account.then(SuspendAccount()) == (Suspended(),)
    assert account.then(SuspendAccount()) == ()
    assert account.state.suspended
    assert account.then(ReinstateAccount()) == (Reinstated(),)
    assert account.then(ReinstateAccount()) == ()
    assert not account.state.suspended


def test_nothing_can_be_done_to_an_account_that_is_not_there() -> None:
    for command in (KEY, RevokeKey("key-1"), SuspendAccount(), ReinstateAccount()):
        assert Scenario(ACCOUNTS, "acct-a").refused(command).code == "not_found"
