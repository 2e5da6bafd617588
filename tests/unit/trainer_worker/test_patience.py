"""A store that is away for a while costs time and no attempt."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.storage.store import ObjectMissing, Store
from app.trainer_worker import patience
from app.trainer_worker.patience import patiently


async def test_a_store_that_fails_is_asked_until_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "FIRST_BACKOFF", 0.001)
    store, asked = Store(f"file://{tmp_path}/objects"), 0
    in_the_way = tmp_path / "objects" / "tunings"
    in_the_way.write_text("no folder")

    async def put() -> int:
        nonlocal asked
        asked += 1
        if asked == 3:
            in_the_way.unlink()
        return (await store.put_bytes("tunings/a", b"abc")).bytes

    assert await patiently(put) == 3
    assert asked == 3


async def test_what_is_missing_is_missing(tmp_path: Path) -> None:
    store = Store(f"file://{tmp_path}")
    with pytest.raises(ObjectMissing):
        await patiently(lambda: store.get_bytes("nothing"))
