"""A log that cannot be kept holds nothing up."""

from __future__ import annotations

from pathlib import Path

from app.storage.logs import read_log
from app.storage.store import Store
from app.trainer_worker.attempt_log import leave_log


async def test_a_log_is_left_or_passed_over(tmp_path: Path) -> None:
    store, output = Store(f"file://{tmp_path / 'objects'}"), tmp_path / "child.log"
    await leave_log(store, "job-a", 1, output)  # nothing was ever printed
    assert await read_log(store, "job-a", 1) is None
    output.write_text("loss 1.5\n")
    await leave_log(store, "job-a", 1, output)
    assert await read_log(store, "job-a", 1) == ("loss 1.5\n", False)
    (tmp_path / "objects" / "tunings" / "job-b").write_text("in the way of a folder")
    await leave_log(store, "job-b", 1, output)
