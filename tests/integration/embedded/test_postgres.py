"""The embedded PostgreSQL is a real one, durable, closed to strangers, and taken down with us."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import asyncpg
import psutil
import pytest

from app.embedded.errors import DataDirLocked, DataDirVersion
from app.embedded.postgres import embedded_postgres, program


def servers_of(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["name"]):
        try:
            if process.info["name"] == "postgres" and process.cwd() == str(folder / "cluster"):
                found.append(process)
        except psutil.Error:
            continue
    return found


async def ask(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_it_is_the_release_we_say_and_loses_nothing_that_it_committed(postgres_dsn: str) -> None:
    assert str(await ask(postgres_dsn, "SHOW server_version")).startswith("18.")
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        assert await ask(postgres_dsn, f"SHOW {setting}") == "on"


async def test_it_listens_on_loopback_only(postgres_dsn: str) -> None:
    assert await ask(postgres_dsn, "SHOW listen_addresses") == "127.0.0.1"


async def test_it_wants_the_password(postgres_dsn: str) -> None:
    user, _, address = postgres_dsn.removeprefix("postgresql://").partition(":")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(f"postgresql://{user}:wrong@{address.partition('@')[2]}")


async def test_psql_can_connect_as_well(postgres_dsn: str) -> None:
    said = subprocess.run(
        [str(program("psql")), postgres_dsn, "-tAc", "SELECT 6 * 7"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert said.stdout == "42\n"


async def test_each_test_gets_a_database_of_its_own(database: str, postgres_dsn: str) -> None:
    await ask(database, "CREATE TABLE mine (id int)")
    assert await ask(database, "SELECT count(*) FROM mine") == 0
    assert await ask(postgres_dsn, "SELECT to_regclass('mine')") is None


async def test_it_keeps_its_rows_over_a_stop_and_a_kill_whose_pid_file_names_a_living_process(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "postgres"
    died: list[int] = []
    async with embedded_postgres(folder) as dsn:
        await ask(dsn, "CREATE TABLE kept AS SELECT 1 AS id")
        with pytest.raises(DataDirLocked):
            async with embedded_postgres(folder):
                pass
    assert servers_of(folder) == []
    async with embedded_postgres(folder, on_death=died.append) as dsn:
        await ask(dsn, "INSERT INTO kept VALUES (2)")
        [postmaster] = [one for one in servers_of(folder) if one.ppid() == os.getpid()]
        postmaster.kill()
        async with asyncio.timeout(10):
            while not died:
                await asyncio.sleep(0.01)
    assert died == [-signal.SIGKILL]
    pid_file = folder / "cluster" / "postmaster.pid"
    old_pid, _, rest = pid_file.read_text().partition("\n")
    assert int(old_pid) == postmaster.pid
    pid_file.write_text(f"{os.getppid()}\n{rest}")  # as after a reboot, when pids are given anew
    async with embedded_postgres(folder) as dsn:
        assert await ask(dsn, "SELECT sum(id) FROM kept") == 3


async def test_a_torn_initdb_is_begun_anew(tmp_path: Path) -> None:
    torn = tmp_path / "postgres" / "cluster.part"
    torn.mkdir(parents=True)
    (torn / "PG_VERSION").write_text("18\n")
    async with embedded_postgres(tmp_path / "postgres") as dsn:
        assert await ask(dsn, "SELECT 1") == 1
    assert not torn.exists()


async def test_the_cluster_of_another_release_is_refused(tmp_path: Path) -> None:
    cluster = tmp_path / "postgres" / "cluster"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("16\n")
    with pytest.raises(DataDirVersion, match="made by PostgreSQL 16, this release runs 18"):
        async with embedded_postgres(tmp_path / "postgres"):
            pass


async def test_its_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    async with embedded_postgres(folder):
        assert folder.stat().st_mode & 0o077 == 0
        assert (folder / "password").stat().st_mode & 0o177 == 0
