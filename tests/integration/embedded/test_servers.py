"""Both servers together: what happens to them when the process that runs them ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import psutil
import pytest

from app.embedded.data_dir import opened
from app.embedded.errors import PortInUse
from app.embedded.ports import free_port
from app.embedded.servers import embedded_servers
from app.log import topic_admin
from app.log.topics import declared

RUN = """
import asyncio, json, signal, sys
from pathlib import Path
from app.embedded import children
from app.embedded.data_dir import opened
from app.embedded.servers import embedded_servers

children.LEFTOVERS_END_WITHIN = 1.0

async def main():
    stop = asyncio.Event()
    for sent in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sent, stop.set)
    with opened(Path(sys.argv[1])) as folder:
        async with embedded_servers(folder, Path(sys.argv[2])) as servers:
            print(json.dumps([servers.kafka, servers.database]), flush=True)
            await stop.wait()

asyncio.run(main())
"""


@contextmanager
def running(
    data_dir: Path, cache_dir: Path
) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process], str, str]]:
    """A process that runs both servers, in a terminal's foreground group of its own; its descendants."""
    command = [sys.executable, "-c", RUN, str(data_dir), str(cache_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0) as run:
        assert run.stdout is not None
        try:
            kafka, database = json.loads(run.stdout.readline())
            yield run, psutil.Process(run.pid).children(recursive=True), kafka, database
        finally:
            run.kill()


def is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


async def until_all_gone(processes: list[psutil.Process], within: float) -> float:
    began = time.monotonic()
    async with asyncio.timeout(within):
        while any(is_alive(one) for one in processes):
            await asyncio.sleep(0.02)
    return time.monotonic() - began


def postmasters_of(root: Path) -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if str(root / "postgres" / "cluster") in one.cmdline()]


async def ask(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_killed_with_nine_it_takes_both_down_and_the_next_run_has_everything(
    tmp_path: Path, cache_dir: Path
) -> None:
    with running(tmp_path, cache_dir) as (run, descendants, kafka, database):
        assert {"java", "postgres"} == {one.name() for one in descendants}
        await topic_admin.apply(kafka, declared("embedded"))
        await ask(database, "CREATE TABLE kept AS SELECT 42 AS id")
        run.send_signal(signal.SIGKILL)
        run.wait()
        print(f"all gone after {await until_all_gone(descendants, within=15):.2f} s")
    told: list[str] = []
    with opened(tmp_path) as folder:
        began = time.monotonic()
        async with embedded_servers(folder, cache_dir, on_progress=told.append) as servers:
            took = time.monotonic() - began
            assert await topic_admin.drift(servers.kafka, declared("embedded")) == []
            assert await ask(servers.database, "SELECT id FROM kept") == 42
    print(f"both up after {took:.2f} s")
    assert {"starting the Kafka broker", "starting PostgreSQL"} <= set(told)
    assert took < 30  # 2.6 s on two idle cores


async def test_servers_of_a_killed_run_that_hang_are_killed_by_the_next_which_alone_gets_ctrl_c(
    tmp_path: Path, cache_dir: Path
) -> None:
    with running(tmp_path, cache_dir) as (first, of_the_first, _, _):
        for one in of_the_first:
            one.suspend()  # so that it cannot go down when it is asked to
        first.send_signal(signal.SIGKILL)
        first.wait()
        with running(tmp_path, cache_dir) as (second, descendants, _, database):
            assert not any(is_alive(one) for one in of_the_first)
            assert await ask(database, "SELECT 1") == 1
            assert second.pid not in {os.getpgid(one.pid) for one in descendants}
            os.killpg(second.pid, signal.SIGINT)
            assert second.wait(timeout=60) == 0
            assert not any(is_alive(one) for one in descendants)
    assert not (tmp_path / "postgres" / "cluster" / "postmaster.pid").exists()
    assert (tmp_path / "kafka" / "logs" / ".kafka_cleanshutdown").exists()


async def test_one_that_cannot_start_stops_the_other_and_is_told_alone(
    tmp_path: Path, cache_dir: Path
) -> None:
    port = free_port()
    with opened(tmp_path) as folder:
        listener = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", port)
        async with listener:
            with pytest.raises(PortInUse):
                async with embedded_servers(folder, cache_dir, kafka_port=port):
                    pass
    assert postmasters_of(tmp_path) == []


async def test_a_server_that_ends_by_itself_is_told_in_a_sentence(tmp_path: Path, cache_dir: Path) -> None:
    told: list[str] = []
    with opened(tmp_path) as folder:
        async with embedded_servers(folder, cache_dir, on_death=told.append):
            [postmaster] = postmasters_of(tmp_path)
            postmaster.terminate()
            async with asyncio.timeout(30):
                while not told:
                    await asyncio.sleep(0.02)
    assert told == [f"PostgreSQL ended by itself with status 0 (see {folder.postgres}/server.log)"]
