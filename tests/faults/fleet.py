"""A fleet on the real broker: workers and schedulers as processes, to be killed or cut off."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from msgspec import Struct, field

from app.log import topics
from app.log.metrics import Phase, read_metric
from app.log.port import Start, all_partitions
from tests.faults.processes import Process, process
from tests.shop import WITHIN, Shop

WORKER = "tests.faults.worker"


class Scheduler(Struct, frozen=True):
    """A scheduler's process, and the file of what it logs."""

    process: asyncio.subprocess.Process
    log: Path

    @property
    def plans(self) -> bool:
        """Whether it is the one that plans, or was."""
        return '"attempt_assigned"' in self.log.read_text()


class Fleet(Shop, frozen=True, kw_only=True):
    """A shop whose workers and schedulers are processes; what they log lies in `folder`."""

    bootstrap: str
    folder: Path
    schedulers: list[Scheduler] = field(default_factory=list)

    @asynccontextmanager
    async def worker(self, name: str, *, through: int | None = None) -> AsyncIterator[Process]:
        """A worker that is about to offer its slot; killed when the context ends."""
        model = msgspec.json.encode(self.model).decode()
        arguments = [self.bootstrap, self.store.url, str(self.folder / name), name, model]
        arguments += ["--through", str(through)] if through else []
        async with process(WORKER, *arguments, log=self.folder / f"{name}.log") as started:
            await started.go()
            yield started

    async def reaches(self, id: str, phase: str, attempt: int) -> None:
        """Wait until an attempt at a tuning has told that it is in this phase."""
        reader = await self.log.reader(
            dict.fromkeys(await all_partitions(self.log, topics.METRICS), Start.FIRST)
        )
        try:
            async with asyncio.timeout(WITHIN):
                while True:
                    for told, metric in map(read_metric, await reader.fetch(500, 0.5)):
                        if (
                            told == id
                            and isinstance(metric, Phase)
                            and (metric.attempt, metric.phase) == (attempt, phase)
                        ):
                            return
        finally:
            await reader.close()

    async def weights(self, id: str) -> str:
        """The digest of the weights that a tuning ended with."""
        [found] = [
            file for file in (await self.tuning(id)).result_files if file.name.endswith(".safetensors")
        ]
        return found.sha256


@asynccontextmanager
async def scheduling(fleet: Fleet, name: str, lease: float) -> AsyncIterator[Scheduler]:
    """`tunesmith-server run scheduler`, killed when the context ends."""
    environment = os.environ | {
        "TUNESMITH_KAFKA": fleet.bootstrap,
        "TUNESMITH_LEASE_SECONDS": str(lease),
        "TUNESMITH_DATA_DIR": str(fleet.folder / name),
    }
    log = fleet.folder / f"{name}.log"
    with log.open("wb") as out:
        started = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "app.cli", "run", "scheduler", stdout=out, stderr=out, env=environment
        )
    try:
        yield Scheduler(started, log)
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()
