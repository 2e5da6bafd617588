"""A service from handler to worker as a test sees it: tunings asked for on the log, and what came of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import psutil
from msgspec import Struct, field
from msgspec.structs import replace

from app.catalogue.catalogue import Entry
from app.domain.hyperparameters import Hyperparameters, resolve
from app.domain.tunings import (
    TUNINGS,
    CancelTuning,
    CreateTuning,
    Export,
    FileRef,
    ModelRef,
    PauseTuning,
    ResumeTuning,
    Tuning,
    WarmStart,
)
from app.log import topics
from app.log.aggregates import read_aggregate
from app.log.metrics import Step, read_metric
from app.log.port import Log, read_all
from app.log.queue import QueuePlace
from app.log.workers import Heartbeat, read_heartbeat
from app.storage.store import Store
from tests.handling import events_of, send

EXAMPLE = Path(__file__).parents[1] / "examples" / "order_mails"
WITHIN = 150.0


class Shop(Struct, frozen=True):
    """What a test has its hands on; `stop` drains a worker in this process."""

    model: Entry
    log: Log
    store: Store
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def create(
        self,
        id: str,
        *,
        rows: int = 8,
        validation_rows: int = 0,
        sha256: str | None = None,
        content: bytes = b"",
        warm_start: WarmStart | None = None,
        export: Export = "adapter",
        **asked: Any,
    ) -> None:
        """Create a tuning of the example's first rows, or of `content`, with the hyperparameters `asked`."""
        usual = {"rank": 4, "epochs": 1, "batch_size": 4, "learning_rate": 1e-3}
        hyperparameters = resolve(usual | asked, rows=rows, context_length=2048)
        assert isinstance(hyperparameters, Hyperparameters)
        training = await self._file(f"file-{id}", content or _example("train", rows), rows)
        validation = None
        if validation_rows:
            rows_of_it = _example("validation", validation_rows)
            validation = await self._file(f"file-{id}-v", rows_of_it, validation_rows)
        wanted = CreateTuning(
            "acct-1",
            ModelRef(self.model.id, self.model.revision),
            replace(training, sha256=sha256 or training.sha256),
            validation,
            hyperparameters,
            warm_start=warm_start,
            export=export,
        )
        await send(self.log, TUNINGS, id, wanted)

    async def _file(self, id: str, content: bytes, rows: int) -> FileRef:
        put = await self.store.put_bytes(key := f"files/{id}/upload", content)
        return FileRef(id, put.sha256, key, put.bytes, rows)

    async def cancel(self, id: str) -> None:
        await send(self.log, TUNINGS, id, CancelTuning(), ids=[f"cancel-{id}"])

    async def pause(self, id: str) -> None:
        await send(self.log, TUNINGS, id, PauseTuning(), ids=[f"pause-{id}"])

    async def resume(self, id: str) -> None:
        await send(self.log, TUNINGS, id, ResumeTuning(), ids=[f"resume-{id}"])

    async def happened(self, id: str) -> list[str]:
        """The types of a tuning's events so far."""
        return [
            type(one.body).__name__ for one in await events_of(self.log, TUNINGS) if one.aggregate_id == id
        ]

    async def tuning(self, id: str) -> Tuning:
        """A tuning as the state topic has it."""
        state: Tuning = read_aggregate(TUNINGS, (await self._last(topics.state("tunings")))[id] or b"").state
        return state

    async def place(self, id: str) -> QueuePlace | None:
        value = (await self._last(topics.QUEUE)).get(id)
        return msgspec.json.decode(value, type=QueuePlace) if value else None

    async def beat(self) -> Heartbeat | None:
        """The worker's last heartbeat."""
        return ([read_heartbeat(one) async for one in read_all(self.log, topics.WORKERS)] or [None])[-1]

    async def steps(self, id: str, attempt: int) -> list[int]:
        """The steps that an attempt told of so far."""
        told = [read_metric(one) async for one in read_all(self.log, topics.METRICS)]
        return [
            one.step for job, one in told if job == id and isinstance(one, Step) and one.attempt == attempt
        ]

    async def free(self) -> bool:
        """Whether the worker offers its slot."""
        beat = await self.beat()
        return beat is not None and bool(beat.slots) and beat.slots[0].occupant is None

    async def _last(self, topic: str) -> dict[str, bytes | None]:
        return {one.key or "": one.value async for one in read_all(self.log, topic)}


def _example(name: str, rows: int) -> bytes:
    lines = (EXAMPLE / f"{name}.jsonl").read_bytes().splitlines(keepends=True)
    return b"".join(lines[:rows])


def children(of: psutil.Process | None = None) -> list[psutil.Process]:
    """Training processes of this one, or of another."""
    found = []
    for one in (of or psutil.Process()).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it may end while it is looked at
            if one.status() != psutil.STATUS_ZOMBIE and "app.trainer_worker.training" in one.cmdline():
                found.append(one)
    return found


async def gone(child: psutil.Process, within: float) -> None:
    async with asyncio.timeout(within):
        while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.02)


async def until(condition: Callable[[], Awaitable[Any]], within: float = WITHIN) -> None:
    async with asyncio.timeout(within):
        while not await condition():
            await asyncio.sleep(0.05)
