"""The synchronous client is generated from the asynchronous one and never behind it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "unasync.py"


@pytest.fixture
def unasync() -> ModuleType:
    spec = importlib.util.spec_from_file_location("unasync", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_client_is_fresh(unasync: ModuleType) -> None:
    assert unasync.main(["--check"]) == 0


def test_nothing_asynchronous_is_left_in_it(unasync: ModuleType) -> None:
    for path in unasync.GENERATED.glob("*.py"):
        text = path.read_text().partition("\n")[2]
        for word in ("async", "await", "Async", "anext"):
            assert word not in text, f"{word} in {path.name}"


def test_a_stale_an_edited_and_a_left_over_file_are_found_and_put_right(
    unasync: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written, generated = tmp_path / "tunesmith" / "_async", tmp_path / "tunesmith" / "_sync"
    written.mkdir(parents=True)
    generated.mkdir()
    for name, value in {"SDK": tmp_path, "WRITTEN": written, "GENERATED": generated}.items():
        monkeypatch.setattr(unasync, name, value)
    (written / "_a.py").write_text("async def wait() -> None:\n    await asyncio.sleep(1)\n")
    (generated / "_old.py").write_text("")
    assert unasync.main(["--check"]) == 1
    assert "stale: tunesmith/_sync/_a.py" in capsys.readouterr().out
    assert not (generated / "_a.py").exists()
    assert unasync.main([]) == 0
    assert "def wait() -> None:\n    time.sleep(1)\n" in (generated / "_a.py").read_text()
    assert not (generated / "_old.py").exists()
    assert unasync.main(["--check"]) == 0
    (generated / "_a.py").write_text("edited by hand\n")
    assert unasync.main(["--check"]) == 1
