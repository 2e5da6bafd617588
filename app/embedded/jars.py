"""The broker's jars: where they are, and the check against the committed lock at every start."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from app.embedded import children, progress
from app.embedded.errors import DiskFull, JarError, JarMismatch, RegistryUnreachable
from app.log.resources import infra_kafka

# Exit statuses of `python -m app.embedded.fetch_jars`; its last line of output is the sentence.
FAILURES: dict[int, type[JarError | DiskFull]] = {
    3: JarMismatch,
    4: RegistryUnreachable,
    5: DiskFull,
}


class JarLock(Struct, frozen=True):
    """The committed lock: what jgo resolves, and the SHA-256 of each jar by its name."""

    endpoint: str
    sha256: dict[str, str]

    def folder(self, cache: Path) -> Path:
        """Where the jars of this lock are kept."""
        return cache / "kafka" / self.endpoint.split(":")[2].partition("+")[0]


def committed_lock() -> JarLock:
    """Read `infra/kafka/jars.lock.toml`."""
    return JarLock(**tomllib.loads(infra_kafka("jars.lock.toml").read_text()))


async def broker_jars(cache: Path, on_progress: Callable[[str], None]) -> list[Path]:
    """Paths of the broker's jars, fetched if need be, each with the locked SHA-256. Raises `JarError`."""
    lock = committed_lock()
    folder = lock.folder(cache)
    if not folder.is_dir():
        await _fetch(cache, lock, on_progress)
    jars = [folder / name for name in lock.sha256]
    await asyncio.to_thread(check_all, jars, lock.sha256)
    return jars


def check_all(jars: list[Path], locked: dict[str, str]) -> None:
    """Compare every jar with its lock. Raises `JarMismatch`."""
    for jar in jars:
        try:
            found = hashlib.sha256(jar.read_bytes()).hexdigest()
        except OSError as error:
            raise JarMismatch(
                f"{jar} cannot be read ({error.strerror}); "
                f"remove {jar.parent} and start again: it is fetched anew"
            ) from error
        if found != locked[jar.name]:
            raise JarMismatch(
                f"{jar} is not the jar that infra/kafka/jars.lock.toml names (its SHA-256 is {found}); "
                f"remove {jar.parent} and start again: it is fetched anew"
            )


async def _fetch(cache: Path, lock: JarLock, on_progress: Callable[[str], None]) -> None:
    """Fetch in a child, so that Ctrl-C ends it at once."""
    folder = lock.folder(cache)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise JarError(
            f"cache folder {cache} cannot be used ({error.strerror}); set TUNESMITH_CACHE_DIR to another one"
        ) from error
    log = folder.parent / "fetch.log"
    log.unlink(missing_ok=True)

    def done() -> str:
        fetched = sum(1 for _ in (folder.parent / "fetching").glob("repository/**/*.jar"))
        return f"{fetched} of {len(lock.sha256)} jars, "

    async with progress.ticking(on_progress, "fetching the Kafka broker (45 MB, once per machine)", done):
        child = await children.start(
            [sys.executable, "-m", "app.embedded.fetch_jars", str(cache)],
            log=log,
            on_parents_death=signal.SIGKILL,
        )
        try:
            status = await child.wait()
        finally:
            await children.stop(child, signal.SIGKILL, 1.0)
    if status != 0:
        sentence = children.tail(log, 1)
        raise FAILURES.get(status, JarError)(sentence or f"the Kafka broker could not be fetched (see {log})")
