"""What the kernel tells of processes that it killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.trainer_worker import kernel


def test_kills_are_read_from_the_kernels_own_counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernel.killed_for_memory() >= 0
    (told := tmp_path / "vmstat").write_text("oom_kill_disable 9\noom_kill 12\n")
    monkeypatch.setattr(kernel, "VMSTAT", told)
    assert kernel.killed_for_memory() == 12
    told.unlink()
    assert kernel.killed_for_memory() == 0
