"""`tunesmith-server models`, as an operator uses it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.catalogue import catalogue
from app.cli.program import app
from tests.hub import hub
from tests.unit.catalogue.small import write_model


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The operator's file, named by the environment; what this process knows is as before in the end."""
    monkeypatch.setattr(catalogue, "CATALOGUE", dict(catalogue.CATALOGUE))
    monkeypatch.setenv("TUNESMITH_MODELS", str(tmp_path / "models.toml"))
    monkeypatch.setenv("TUNESMITH_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "models.toml"


def said(*arguments: str, exits: int = 0) -> str:
    ran = CliRunner().invoke(app, arguments)
    assert ran.exit_code == exits, ran.output
    return ran.output


def test_a_model_is_added_listed_fetched_and_checked(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub() as there:
        there.add("someone/small", write_model(tmp_path / "origin"), "a-token")
        monkeypatch.setenv("TUNESMITH_HUB_ENDPOINT", there.url)
        assert "TUNESMITH_HUB_TOKEN is not set" in said("models", "add", "someone/small", exits=1)
        monkeypatch.setenv("TUNESMITH_HUB_TOKEN", "a-token")
        own.write_text("without_packaged = true\n" + said("models", "add", "someone/small", "--id", "ours"))
        [line] = said("models", "list").splitlines()
        assert line.startswith("ours  revision ")
        assert "context 2048  template chatml" in line
        assert "not here" in line
        assert "not here yet" in said("models", "check")
        folder = Path(said("models", "fetch", "ours").splitlines()[-1].split()[-1])
    assert "  here  " in said("models", "list")
    assert said("models", "check", "ours") == "ours  good\n"
    with (folder / "tokenizer.json").open("r+b") as file:
        file.write(b"?")
    assert "damaged" in said("models", "check", exits=1)
    assert "there is no model 'theirs'" in said("models", "fetch", "theirs", exits=1)
    own.write_text("[x]\n")
    assert "[x] Object missing required field" in said("models", "list", exits=1)
