"""A log that cannot be kept holds nothing up."""

from __future__ import annotations

import json
from pathlib import Path

from app.storage.logs import read_log
from app.storage.store import Store
from app.trainer_worker import attempt_log
from app.trainer_worker.attempt_log import leave_log


async def test_a_log_is_left_or_passed_over(tmp_path: Path) -> None:
    store, output = Store(f"file://{tmp_path / 'objects'}"), tmp_path / "child.log"
    await leave_log(store, "job-a", 1, output)  # nothing was ever printed
    assert await read_log(store, "job-a", 1) is None
    output.write_text("loss 1.5\n")
    await leave_log(store, "job-a", 1, output)
    assert await read_log(store, "job-a", 1) == ("loss 1.5\n", False)
    output.write_text(
        f'File "{json.__file__}"\nFile "{attempt_log.__file__}"\n{tmp_path}/slot-0/x {Path.home()}'
    )
    await leave_log(store, "job-a", 2, output)
    told = await read_log(store, "job-a", 2)
    assert told is not None
    assert 'File "<python>/' in told[0]
    assert 'File "<tunesmith>/app/trainer_worker/attempt_log.py"' in told[0]
    assert told[0].endswith("\n<work>/slot-0/x ~")
    (tmp_path / "objects" / "tunings" / "job-b").write_text("in the way of a folder")
    await leave_log(store, "job-b", 1, output)
