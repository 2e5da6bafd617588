"""The broker's jars are the locked ones or there is no broker."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from pathlib import Path

import psutil
import pytest

from app.embedded import progress
from app.embedded.errors import JarError, JarMismatch, RegistryUnreachable
from app.embedded.jars import broker_jars, check_all, committed_lock


def test_the_committed_lock_names_no_host() -> None:
    lock = committed_lock()
    assert len(lock.sha256) == 45
    assert lock.endpoint.startswith("org.apache.kafka:kafka_2.13:4.4.0+")
    assert all(len(digest) == 64 for digest in lock.sha256.values())


def test_a_jar_with_another_hash_is_refused_by_name_and_by_what_was_found(tmp_path: Path) -> None:
    jar = tmp_path / "a.jar"
    jar.write_bytes(b"tampered")
    found = hashlib.sha256(b"tampered").hexdigest()
    with pytest.raises(JarMismatch, match=rf"a\.jar is not the jar .*{found}.*remove {tmp_path}"):
        check_all([jar], {"a.jar": hashlib.sha256(b"genuine").hexdigest()})


async def test_kept_jars_are_checked_again_at_every_start(tmp_path: Path) -> None:
    folder = committed_lock().folder(tmp_path)
    folder.mkdir(parents=True)
    for name in committed_lock().sha256:
        (folder / name).write_bytes(b"not it")
    with pytest.raises(JarMismatch, match="is not the jar"):
        await broker_jars(tmp_path, progress.silent)
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(JarMismatch, match="cannot be read"):
        await broker_jars(tmp_path, progress.silent)


async def test_without_a_network_one_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # the discard port: refused
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    told: list[str] = []
    with pytest.raises(RegistryUnreachable, match=r"does not answer .*check the network"):
        await broker_jars(tmp_path, told.append)
    assert told[0].startswith("fetching the Kafka broker")
    assert sorted(path.name for path in (tmp_path / "kafka").iterdir()) == ["fetch.log", "lock"]


async def test_a_fetch_that_hangs_ends_at_once_when_it_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()  # until it hangs up
        writer.close()

    silent_proxy = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    async with silent_proxy:
        port = silent_proxy.sockets[0].getsockname()[1]
        for name in ("https_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        fetching = asyncio.create_task(broker_jars(tmp_path, progress.silent))
        async with asyncio.timeout(30):
            await asked.wait()
        [child] = [one for one in psutil.Process().children() if "app.embedded.fetch_jars" in one.cmdline()]
        fetching.cancel()
        async with asyncio.timeout(5):
            with pytest.raises(asyncio.CancelledError):
                await fetching
        assert not child.is_running()


async def test_a_cache_that_cannot_be_written_is_told_with_the_setting_to_change(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JarError, match="TUNESMITH_CACHE_DIR"):
        await broker_jars(tmp_path / "file", progress.silent)
