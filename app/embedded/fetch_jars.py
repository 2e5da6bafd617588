"""Fetch the broker's jars by jgo into the cache: `python -m app.embedded.fetch_jars CACHE`."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import sys
import warnings
from pathlib import Path

from app.embedded.errors import DiskFull, EmbeddedError, JarError, RegistryUnreachable
from app.embedded.jars import FAILURES, JarLock, check_all, committed_lock


def fetch(cache: Path, lock: JarLock) -> None:
    """Fetch, check and put in place; whoever comes second waits and finds it done. Raises `JarError`."""
    folder = lock.folder(cache)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "lock").open("w") as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        if folder.is_dir():
            return
        fetching = folder.parent / "fetching"
        shutil.rmtree(fetching, ignore_errors=True)  # a killed run's, possibly torn
        try:
            by_name = {jar.name: jar for jar in _resolved(lock.endpoint, fetching)}
            if missing := sorted(set(lock.sha256) - set(by_name)):
                raise JarError(f"jgo did not bring {missing[0]}, which infra/kafka/jars.lock.toml names")
            ready = fetching / "ready"
            ready.mkdir()
            for name in lock.sha256:
                shutil.copyfile(by_name[name], ready / name)
                with (ready / name).open("rb") as copied:
                    os.fsync(copied.fileno())  # the rename must not outlive the bytes
            check_all([ready / name for name in lock.sha256], lock.sha256)
            ready.rename(folder)
        finally:
            shutil.rmtree(fetching, ignore_errors=True)


def _resolved(endpoint: str, fetching: Path) -> list[Path]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of platformdirs, about folders that are not used here
        from jgo.env import EnvironmentBuilder, LinkStrategy
        from jgo.maven import MavenContext
    import requests

    logging.getLogger("jgo").setLevel(logging.ERROR)
    context = MavenContext(repo_cache=fetching / "repository")
    builder = EnvironmentBuilder(context, cache_dir=fetching / "jgo", link_strategy=LinkStrategy.AUTO)
    try:
        return list(builder.from_endpoint(endpoint).all_jars)
    except requests.RequestException as error:
        raise RegistryUnreachable(
            f"the Maven registry that has the Kafka broker does not answer ({type(error).__name__}); "
            "check the network and the proxy settings, and start again"
        ) from error
    except (RuntimeError, ValueError) as error:
        raise JarError(f"the Kafka broker cannot be fetched: {error}") from error


def main(cache: Path) -> int:
    """Exit status by kind of failure; the sentence goes to stderr."""
    try:
        try:
            fetch(cache, committed_lock())
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise DiskFull(
                    f"no room is left at {cache} for the Kafka broker; free 200 MiB there"
                ) from error
            raise JarError(f"the Kafka broker cannot be put into {cache}: {error}") from error
    except EmbeddedError as error:
        print(error, file=sys.stderr)
        return next((status for status, kind in FAILURES.items() if type(error) is kind), 1)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
