"""Secrets in files: made once, read by their owner only."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from app.keys import ensure_installation_key
from app.settings import Settings, SettingsError


def test_an_installation_key_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "installation.key"
    key = ensure_installation_key(file)
    assert ensure_installation_key(file) == key
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]
    assert Settings.from_env({"TUNESMITH_INSTALLATION_KEY": key}).installation_key == key


def test_a_key_that_can_be_guessed_and_networks_that_are_none_are_refused() -> None:
    for env, told in (
        ({"TUNESMITH_INSTALLATION_KEY": "k" * 31}, "at least 32 characters"),
        ({"TUNESMITH_WEBHOOK_ALLOW": "10.0.0.0/8,intranet"}, "intranet"),
        ({"TUNESMITH_WEBHOOK_ALLOW": "10.0.0.1/8"}, "host bits"),
    ):
        with pytest.raises(SettingsError, match=told):
            Settings.from_env(env)
    allowed = Settings.from_env({"TUNESMITH_WEBHOOK_ALLOW": " 10.0.0.0/8, ::1/128,"}).webhook_networks()
    assert [str(network) for network in allowed] == ["10.0.0.0/8", "::1/128"]
