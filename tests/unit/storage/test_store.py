"""Objects stored and read back, whole or not at all."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.storage.store import ObjectMissing, StorageError, StorageFull, Store, Stored

MIB = 1024**2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
def store(folder: Path) -> Store:
    return Store(f"file://{folder}")


def kept(folder: Path) -> list[str]:
    """Names of all that lies in the store, parts of objects too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def chunks_of(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@pytest.mark.parametrize("chunks", [(), (b"",), (b"a",), (b"a" * MIB,) * 20, (b"b" * (20 * MIB + 7),)])
async def test_what_was_stored_comes_back_with_its_size_and_digest(
    store: Store, chunks: tuple[bytes, ...]
) -> None:
    content = b"".join(chunks)
    stored = await store.put("files/a", chunks_of(*chunks))
    assert stored == Stored(len(content), hashlib.sha256(content).hexdigest())
    assert await store.get_bytes("files/a") == content


async def test_an_object_is_replaced_as_a_whole(store: Store, folder: Path) -> None:
    await store.put("files/a", chunks_of(b"long " * 1000))
    await store.put_bytes("files/a", b"short")
    assert await store.get_bytes("files/a") == b"short"
    assert kept(folder) == ["files/a"]


@pytest.mark.parametrize("before", [0, 1, 30])
async def test_a_stream_that_breaks_leaves_nothing_and_its_own_error_comes_through(
    store: Store, folder: Path, before: int
) -> None:
    class Broken(Exception):
        pass

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(before):
            yield b"x" * MIB
        raise Broken("in the middle")

    with pytest.raises(Broken, match="in the middle"):
        await store.put("files/a", chunks())
    assert kept(folder) == []
    with pytest.raises(ObjectMissing):
        await store.get_bytes("files/a")


async def test_a_file_goes_in_and_comes_out(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * (9 * MIB))
    stored = await store.put_file("tunings/job-a/1/adapter/weights", source)
    assert await store.get_file("tunings/job-a/1/adapter/weights", tmp_path / "deep" / "copy") == stored
    assert (tmp_path / "deep" / "copy").read_bytes() == source.read_bytes()


async def test_what_is_not_there_is_missing(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ObjectMissing, match="files/none"):
        await store.get_bytes("files/none")
    with pytest.raises(ObjectMissing):
        await store.get_file("files/none", tmp_path / "copy")


async def test_deleting_twice_is_as_good_as_once(store: Store, folder: Path) -> None:
    await store.put_bytes("files/a", b"x")
    await store.delete("files/a")
    await store.delete("files/a")
    assert kept(folder) == []


async def test_a_store_that_answers_says_nothing_and_one_that_does_not_raises(
    store: Store, folder: Path
) -> None:
    await store.answers()
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    folder.write_text("a file where the folder was")
    with pytest.raises(StorageError):
        await store.answers()


async def test_a_range_is_read_and_what_lies_under_a_prefix_is_listed(store: Store) -> None:
    before = datetime.now(UTC) - timedelta(seconds=5)
    for key in ("files/a/1", "files/b", "filesystem/c"):
        await store.put_bytes(key, b"0123456789")
    assert await store.get_range("files/b", 3, 6) == b"345"
    assert await store.get_range("files/b", 6, 6) == b""
    with pytest.raises(ObjectMissing):
        await store.get_range("files/none", 0, 1)
    listed = {one.key: one async for one in store.listed("files")}
    assert set(listed) == {"files/a/1", "files/b"}
    assert (listed["files/b"].bytes, listed["files/b"].modified > before) == (10, True)
    assert [one async for one in store.listed("nothing")] == []


async def test_what_a_killed_process_left_half_written_is_freed_once_it_is_old(
    store: Store, folder: Path
) -> None:
    writing = (
        "import asyncio, os, sys\n"
        "from app.storage.store import Store\n"
        "async def chunks():\n"
        "    for _ in range(40): yield bytes(2**20)\n"
        "    os._exit(9)\n"
        f"asyncio.run(Store('file://{folder}').put('files/a', chunks()))\n"
    )
    assert subprocess.run([sys.executable, "-c", writing]).returncode == 9
    [left] = kept(folder)
    assert left != "files/a"
    assert [one async for one in store.listed("files")] == []
    now = datetime.now(UTC)
    assert await store.free_unfinished("files", now - timedelta(hours=1)) == 0
    assert await store.free_unfinished("files", now + timedelta(hours=1)) == 1
    assert kept(folder) == []


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", folder], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


async def test_no_room_is_told_in_a_sentence_and_nothing_is_kept(small: Path) -> None:
    store = Store(f"file://{small}")
    with pytest.raises(StorageFull, match="files/a could not be stored: no room"):
        await store.put("files/a", chunks_of(*[b"x" * MIB] * 20))
    assert kept(small) == []
    with pytest.raises(StorageFull):
        await store.put_bytes("files/b", b"x" * 3 * MIB)
    assert kept(small) == []
    await store.put_bytes("files/c", b"x")
