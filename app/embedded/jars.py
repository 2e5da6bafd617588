"""The broker's jars, fetched once by jgo and checked against the committed lock every time."""

from __future__ import annotations

import hashlib
import logging
import tomllib
from collections.abc import Callable
from pathlib import Path

from app.embedded.errors import JarError
from app.log.resources import infra_kafka


def broker_jars(cache: Path, on_progress: Callable[[str], None]) -> list[Path]:
    """Paths of the broker's jars, each with the locked SHA-256. Blocks. Raises `JarError`."""
    lock = tomllib.loads(infra_kafka("jars.lock.toml").read_text())
    locked: dict[str, str] = lock["sha256"]
    folder = cache / "kafka" / lock["endpoint"].split(":")[2].split("+")[0]
    if not folder.is_dir():
        on_progress("fetching the Kafka broker (45 jars, 45 MB, once)")
        _fetch(lock["endpoint"], cache / "jgo", folder, locked)
    jars = [folder / name for name in locked]
    for jar in jars:
        check(jar, locked[jar.name])
    return jars


def check(jar: Path, sha256: str) -> None:
    """Compare a jar with its lock. Raises `JarError`."""
    try:
        found = hashlib.sha256(jar.read_bytes()).hexdigest()
    except OSError as error:
        raise JarError(f"{jar} cannot be read: {error.strerror}; remove {jar.parent} to fetch anew") from error
    if found != sha256:
        raise JarError(f"{jar.name} is not the locked one (SHA-256 {found}); remove {jar.parent} to fetch anew")


def _fetch(endpoint: str, jgo_cache: Path, folder: Path, locked: dict[str, str]) -> None:
    import jgo  # imported late: it is needed once per machine

    logging.getLogger("jgo").setLevel(logging.WARNING)
    try:
        built = jgo.build(endpoint, cache_dir=jgo_cache)
    except Exception as error:  # whatever jgo and its resolver raise, the user can do one thing
        raise JarError(
            f"the Kafka broker could not be fetched ({error}); check the network to the Maven registry and try again"
        ) from error
    by_name = {jar.name: jar for jar in built.all_jars}
    if missing := sorted(set(locked) - set(by_name)):
        raise JarError(f"the resolver did not bring {missing[0]}, which infra/kafka/jars.lock.toml names")
    part = folder.with_name(folder.name + ".part")
    part.mkdir(parents=True, exist_ok=True)
    for name, sha256 in locked.items():
        check(by_name[name], sha256)
        (part / name).write_bytes(by_name[name].read_bytes())
    part.rename(folder)
