"""Logs of attempts: their end kept, listed by attempt, read back."""

from __future__ import annotations

from pathlib import Path

from app.storage.logs import LARGEST_LOG, keep_log, logged_attempts, read_log
from app.storage.store import Store


async def test_the_logs_of_attempts_are_listed_and_read_back(tmp_path: Path) -> None:
    store, output = Store(f"file://{tmp_path / 'objects'}"), tmp_path / "child.log"
    assert await logged_attempts(store, "job-a") == []
    assert await read_log(store, "job-a", 1) is None
    output.write_bytes(b"Traceback: \xff\n")
    for attempt in (2, 10):
        await keep_log(store, "job-a", attempt, output)
    await keep_log(store, "job-ab", 3, output)
    await store.put_bytes("tunings/job-a/4/adapter/log.txt", b"no log")
    assert await logged_attempts(store, "job-a") == [2, 10]
    assert await read_log(store, "job-a", 10) == ("Traceback: \ufffd\n", False)


async def test_of_a_long_log_the_end_is_kept(tmp_path: Path) -> None:
    store, output = Store(f"file://{tmp_path / 'objects'}"), tmp_path / "child.log"
    output.write_bytes(b"a" * LARGEST_LOG + b"the end")
    await keep_log(store, "job-a", 1, output)
    kept = await read_log(store, "job-a", 1)
    assert kept is not None
    text, truncated = kept
    assert truncated
    assert len(text) == LARGEST_LOG
    assert text.endswith("athe end")
