"""A tuning job and what can be done with it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

from tunesmith._models import Checkpoint, ExampleLosses, StepMetric, TuningEvent, TuningLog
from tunesmith._tuning import TuningFields

if TYPE_CHECKING:
    from tunesmith._async._client import AsyncTuningClient
    from tunesmith._async._page import AsyncPage


class AsyncTuningJob(TuningFields):
    """A tuning job, as of the last answer about it; `refresh` asks again."""

    def __init__(self, client: AsyncTuningClient, data: Mapping[str, Any]) -> None:
        self.client = client
        self._take(data)

    async def refresh(self) -> AsyncTuningJob:
        """Ask for its present state, take that over and return itself."""
        return self._now(await self.client.tunings.get(self.id))

    async def cancel(self) -> AsyncTuningJob:
        """End it at once, take over its state and return itself; see `tunings.cancel`."""
        return self._now(await self.client.tunings.cancel(self.id))

    async def pause(self) -> AsyncTuningJob:
        """Bring it to rest at a checkpoint, take over its state and return itself; see `tunings.pause`."""
        return self._now(await self.client.tunings.pause(self.id))

    async def resume(self) -> AsyncTuningJob:
        """Let it go on, take over its state and return itself; see `tunings.resume`."""
        return self._now(await self.client.tunings.resume(self.id))

    async def update(
        self, *, priority: int | None = None, metadata: Mapping[str, str] | None = None
    ) -> AsyncTuningJob:
        """Change priority or metadata, take over its state and return itself; see `tunings.update`."""
        return self._now(await self.client.tunings.update(self.id, priority=priority, metadata=metadata))

    async def rerun(self, *, idempotency_key: str | None = None) -> AsyncTuningJob:
        """Create another job that repeats it, and return that one; see `tunings.rerun`."""
        return await self.client.tunings.rerun(self.id, idempotency_key=idempotency_key)

    async def wait_for_completion(
        self, poll_interval: float = 10, timeout: float | None = None
    ) -> AsyncTuningJob:
        """Wait until it has ended, take over its state, return itself; see `tunings.wait_for_completion`."""
        return self._now(await self.client.tunings.wait_for_completion(self.id, poll_interval, timeout))

    async def watch(self, poll_interval: float = 1.0) -> AsyncIterator[AsyncTuningUpdate]:
        """Follow it to its end, taking over its state on the way; see `tunings.watch`."""
        async for update in self.client.tunings.watch(self.id, poll_interval):
            self._take(update.job._data)
            yield update

    @overload
    def stream_events(
        self, *, after: str | None = None, include_metrics: Literal[False] = False
    ) -> AsyncIterator[TuningEvent]: ...

    @overload
    def stream_events(
        self, *, after: str | None = None, include_metrics: bool
    ) -> AsyncIterator[TuningEvent | StepMetric]: ...

    async def stream_events(
        self, *, after: str | None = None, include_metrics: bool = False
    ) -> AsyncIterator[Any]:
        """What happens to it, as it happens; at the end it is refreshed. See `tunings.stream_events`."""
        told: AsyncIterator[Any] = self.client.tunings.stream_events(
            self.id, after=after, include_metrics=include_metrics
        )
        async for event in told:
            yield event
        await self.refresh()

    async def events(self, limit: int = 20, after: str | None = None) -> AsyncPage[TuningEvent]:
        """A page of what happened to it, oldest first; see `tunings.events`."""
        return await self.client.tunings.events(self.id, limit, after)

    async def checkpoints(self, limit: int = 20, after: str | None = None) -> AsyncPage[Checkpoint]:
        """A page of its checkpoints, newest first; see `tunings.checkpoints`."""
        return await self.client.tunings.checkpoints(self.id, limit, after)

    async def logs(self, attempt: int | None = None) -> TuningLog:
        """What the training process of an attempt printed; see `tunings.logs`."""
        return await self.client.tunings.logs(self.id, attempt)

    async def examples(self, *, limit: int = 100, after_line: int | None = None) -> ExampleLosses:
        """What single training rows cost the model, the worst first; see `tunings.examples`."""
        return await self.client.tunings.examples(self.id, limit=limit, after_line=after_line)

    async def download_adapter(self, target: str | os.PathLike[str], *, form: str | None = None) -> Path:
        """Unpack its adapter into the folder `target`, ready for PEFT; see `tunings.download_adapter`."""
        return await self.client.tunings.download_adapter(self.id, target, form=form)

    def _now(self, job: AsyncTuningJob) -> AsyncTuningJob:
        # An answer need not have every field.
        self._take({**self._data, **job._data})
        return self


class AsyncTuningUpdate(NamedTuple):
    """What a watched tuning has to tell: its state, and the steps since the last update."""

    job: AsyncTuningJob
    steps: Sequence[StepMetric]
