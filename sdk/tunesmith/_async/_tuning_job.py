"""A tuning job and what can be done with it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tunesmith._models import StepMetric
from tunesmith._tuning import TuningFields

if TYPE_CHECKING:
    from tunesmith._async._client import AsyncTuningClient


class AsyncTuningJob(TuningFields):
    """A tuning job, as of the last answer about it; `refresh` asks again."""

    def __init__(self, client: AsyncTuningClient, data: Mapping[str, Any]) -> None:
        self.client = client
        self._take(data)

    async def refresh(self) -> AsyncTuningJob:
        """Ask for its present state, take that over and return itself."""
        job = await self.client.tunings.get(self.id)
        self._take(job._data)
        return self

    async def cancel(self) -> AsyncTuningJob:
        """End it at once, take over its state and return itself; see `tunings.cancel`."""
        job = await self.client.tunings.cancel(self.id)
        self._take({**self._data, **job._data})
        return self

    async def wait_for_completion(
        self, poll_interval: float = 10, timeout: float | None = None
    ) -> AsyncTuningJob:
        """Wait until it has ended, take over its state, return itself; see `tunings.wait_for_completion`."""
        job = await self.client.tunings.wait_for_completion(self.id, poll_interval, timeout)
        self._take(job._data)
        return self

    async def watch(self, poll_interval: float = 1.0) -> AsyncIterator[AsyncTuningUpdate]:
        """Follow it to its end, taking over its state on the way; see `tunings.watch`."""
        async for update in self.client.tunings.watch(self.id, poll_interval):
            self._take(update.job._data)
            yield update

    async def download_adapter(self, target: str | os.PathLike[str]) -> Path:
        """Unpack its adapter into the folder `target`, ready for PEFT; see `tunings.download_adapter`."""
        return await self.client.tunings.download_adapter(self.id, target)


class AsyncTuningUpdate(NamedTuple):
    """What a watched tuning has to tell: its state, and the steps since the last update."""

    job: AsyncTuningJob
    steps: Sequence[StepMetric]
