"""Accounts and keys: opened, issued, revoked, suspended, reinstated."""

from __future__ import annotations

from datetime import timedelta

from app.domain.accounts import (
    ACCOUNTS,
    MOST_VALID_KEYS,
    REMEMBERED_KEYS,
    IssueKey,
    KeyIssued,
    KeyRetired,
    KeyRevoked,
    Limits,
    LimitsSet,
    OpenAccount,
    Opened,
    ReinstateAccount,
    Reinstated,
    RenameAccount,
    Renamed,
    RevokeKey,
    RotateKey,
    SetLimits,
    SuspendAccount,
    Suspended,
)
from tests.unit.domain.scenario import AT, Scenario

KEY = IssueKey("key-1", "aa")


def opened() -> Scenario:
    return Scenario(ACCOUNTS, "acct-a", Opened("team"))


def test_opening_again_under_the_same_name_changes_nothing() -> None:
    assert opened().then(OpenAccount("team")) == ()
    assert opened().refused(OpenAccount("others")).code == "account_exists"
    assert opened().refused(OpenAccount("team", fresh=True)).code == "account_exists"


def test_an_account_is_opened_with_its_limits_in_one_decision() -> None:
    account = Scenario(ACCOUNTS, "acct-a")
    limits = Limits(running_tunings=2, stored_bytes=0)
    assert account.then(OpenAccount("team", limits=limits)) == (
        Opened("team"),
        LimitsSet(2, None, 0, None),
    )
    assert account.state.limits == limits


def test_limits_and_name_are_set_once_and_no_event_repeats_them() -> None:
    account = opened()
    assert account.then(SetLimits(waiting_tunings=5)) == (LimitsSet(None, 5, None, None),)
    assert account.then(SetLimits(waiting_tunings=5)) == ()
    assert account.then(SetLimits()) == (LimitsSet(None, None, None, None),)
    assert account.then(RenameAccount("others")) == (Renamed("others"),)
    assert account.then(RenameAccount("others")) == ()
    assert (account.state.name, account.state.limits) == ("others", Limits())


def test_a_key_is_rotated_in_one_decision_and_the_new_one_lives_as_long() -> None:
    account = opened()
    account.then(IssueKey("key-1", "aa", "ci", ("read",), AT + timedelta(days=9)))
    issued, retired = account.then(RotateKey("key-1", "key-2", "bb", keep_seconds=60))
    assert issued == KeyIssued("key-2", "bb", "ci", ("read",), AT + timedelta(days=9))
    assert retired == KeyRetired("key-1", AT + timedelta(seconds=60))
    assert [key.valid(AT + timedelta(seconds=60)) for key in account.state.keys] == [False, True]
    # Kept no longer than it was good for anyway.
    _, again = account.then(RotateKey("key-1", "key-3", "cc", keep_seconds=3600))
    assert again == retired
    _, revoked = account.then(RotateKey("key-2", "key-4", "dd"))
    assert revoked == KeyRevoked("key-2")


def test_only_a_valid_key_of_the_account_can_be_rotated() -> None:
    account = opened()
    account.then(KEY)
    account.then(RevokeKey("key-1"))
    assert account.refused(RotateKey("key-1", "key-2", "bb")).code == "key_not_valid"
    assert account.refused(RotateKey("key-9", "key-2", "bb")).code == "not_found"


def test_an_account_has_so_many_valid_keys_and_remembers_so_many_old_ones() -> None:
    account = opened()
    for number in range(MOST_VALID_KEYS):
        account.then(IssueKey(f"key-{number}", f"{number}"))
    assert account.refused(IssueKey("key-more", "more")).code == "too_many_keys"
    for number in range(MOST_VALID_KEYS, 2 * MOST_VALID_KEYS + 50):
        account.then(RevokeKey(f"key-{number - MOST_VALID_KEYS}"))
        account.then(IssueKey(f"key-{number}", f"{number}"))
    valid = [key.id for key in account.state.keys if key.valid(AT)]
    old = [key.id for key in account.state.keys if not key.valid(AT)]
    assert (len(valid), len(old)) == (MOST_VALID_KEYS, REMEMBERED_KEYS)
    assert old[0] == "key-50"  # the oldest are forgotten


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
