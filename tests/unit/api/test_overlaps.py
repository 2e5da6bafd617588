"""Two files compared for requests: once, and within bounds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.api import overlaps as comparing
from app.api.errors import ApiError
from app.api.overlaps import Overlaps, overlap_findings
from app.datasets.overlap import Overlap, write_digests
from app.domain.tunings import FileRef
from app.storage.keys import digests_key
from app.storage.store import Store


def file(name: str) -> FileRef:
    return FileRef(f"file-{name}", "aa", f"files/{name}", 10, 10)


async def store_of(folder: Path, **files: range) -> Store:
    """A store with the digests of files of these rows."""
    store = Store(f"file://{folder}/objects")
    for name, rows in files.items():
        path = folder / name
        for _ in write_digests(((number.to_bytes(8, "big"), number) for number in rows), path):
            pass
        await store.put_file(digests_key(f"file-{name}"), path)
    return store


async def test_a_pair_is_counted_once(tmp_path: Path) -> None:
    store = await store_of(tmp_path, training=range(10), validation=range(8, 12))
    overlaps = Overlaps(store)
    pair = file("training"), file("validation")
    assert await asyncio.gather(*(overlaps.of(*pair) for _ in range(3))) == [Overlap(2, 4, (8, 9))] * 3
    await store.delete(digests_key("file-training"))
    assert await overlaps.of(*pair) == Overlap(2, 4, (8, 9))
    # The other way round it is another question, and cannot be answered any more.
    assert await overlaps.of(*reversed(pair)) is None
    assert await overlaps.of(pair[0], None) is None


async def test_a_validation_file_that_is_all_trained_on_is_refused(tmp_path: Path) -> None:
    overlaps = Overlaps(await store_of(tmp_path, training=range(10), validation=range(3)))
    for _ in range(2):
        with pytest.raises(ApiError) as refused:
            await overlaps.of(file("training"), file("validation"))
        assert (refused.value.code, refused.value.param) == ("validation_overlap", "validation_file")


def test_each_line_in_common_is_a_finding_and_those_without_one_are_counted() -> None:
    assert overlap_findings(None) == overlap_findings(Overlap(0, 9, ())) == []
    first, last = overlap_findings(Overlap(7, 9, (2, 5)))
    assert [(one.param, one.line, one.warning) for one in (first, last)] == [
        *(("validation_file", 2, True), ("validation_file", 5, True)),
    ]
    assert "5 more such rows" in last.message
    assert "more such rows" not in first.message


async def test_what_takes_long_is_counted_on_and_told_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overlaps = Overlaps(await store_of(tmp_path, training=range(10), validation=range(5, 15)))
    monkeypatch.setattr(comparing, "WAITED_SECONDS", 0)
    with pytest.raises(ApiError) as refused:
        await overlaps.of(file("training"), file("validation"))
    assert refused.value.status == 503
    assert int(refused.value.headers["retry-after"]) >= 1
    monkeypatch.setattr(comparing, "WAITED_SECONDS", 60)
    assert await overlaps.of(file("training"), file("validation")) == Overlap(5, 10, (5, 6, 7, 8, 9))


async def test_what_takes_far_too_long_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overlaps = Overlaps(await store_of(tmp_path, training=range(10), validation=range(3)))
    monkeypatch.setattr(comparing, "COUNTED_WITHIN", 0)
    assert await overlaps.of(file("training"), file("validation")) is None
