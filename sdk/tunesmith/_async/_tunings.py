"""The tunings: create, follow, cancel, take the adapter home."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tunesmith._archive import unpack
from tunesmith._async._page import AsyncPage
from tunesmith._async._transport import AsyncTransport
from tunesmith._async._tuning_job import AsyncTuningJob, AsyncTuningUpdate
from tunesmith._call import Call, cursor_of, path_to, rows_of, without_none
from tunesmith._exceptions import APIError, TimeoutError
from tunesmith._hyperparameters import Hyperparameters
from tunesmith._models import Cursor, StepMetric
from tunesmith._waiting import Curve, Deadline, Patience, changed

if TYPE_CHECKING:
    from tunesmith._async._client import AsyncTuningClient

STEPS_PER_PAGE = 1_000


class AsyncTuningResource:
    """`client.tunings`."""

    def __init__(self, client: AsyncTuningClient, transport: AsyncTransport) -> None:
        self._client = client
        self._transport = transport

    async def create(
        self,
        model: str,
        training_file: str,
        hyperparameters: Hyperparameters | Mapping[str, Any] | None = None,
        *,
        validation_file: str | None = None,
        suffix: str | None = None,
        metadata: Mapping[str, str] | None = None,
        seed: int | None = None,
        priority: int | None = None,
        idempotency_key: str | None = None,
        **more: Any,
    ) -> AsyncTuningJob:
        """Create a tuning job; it waits for a free worker and runs on its own from there.

        Args:
            model: Id of a base model; `models.list()` has them.
            training_file: Id of a processed file; `files.upload()` gives one.
            hyperparameters: What to set; the service chooses the rest.
            validation_file: Id of another file, for a loss after each epoch.
            suffix: Part of the tuned model's name.
            metadata: Up to 16 pairs of your own.
            seed: For a run that can be repeated.
            priority: Higher starts first; 0 by default.
            idempotency_key: Makes repeated calls with the same arguments one job; otherwise each is its own.
            more: Further fields of the request, as the service knows them.

        Raises:
            InvalidRequestError: `param` names what is wrong, `errors` lists all of it.
            RateLimitError: Too many jobs in a short time, or waiting.
        """
        body = {
            "model": model,
            "training_file": training_file,
            "hyperparameters": dict(hyperparameters or {}),
            **without_none(
                validation_file=validation_file,
                suffix=suffix,
                metadata=dict(metadata) if metadata is not None else None,
                seed=seed,
                priority=priority,
            ),
            **more,
        }
        call = Call("POST", "/v1/tunings.create", json=body, idempotency_key=idempotency_key or str(uuid4()))
        return self._job(await self._transport.json(call))

    async def create_and_wait(
        self,
        model: str,
        training_file: str,
        hyperparameters: Hyperparameters | Mapping[str, Any] | None = None,
        *,
        poll_interval: float = 10,
        timeout: float | None = None,
        **fields: Any,
    ) -> AsyncTuningJob:
        """Create a job and wait until it has ended; `status` says how. See both for arguments and errors."""
        job = await self.create(model, training_file, hyperparameters, **fields)
        return await job.wait_for_completion(poll_interval, timeout)

    async def get(self, job_id: str) -> AsyncTuningJob:
        """One job. Raises `NotFoundError` when there is none of this id."""
        return self._job(await self._transport.json(Call("GET", path_to("/v1/tunings.get", job_id))))

    async def list(
        self,
        limit: int = 20,
        after: str | None = None,
        *,
        status: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> AsyncPage[AsyncTuningJob]:
        """A page of the account's jobs, newest first.

        Args:
            limit: Jobs per page, 1 to 100.
            after: Id of the last job of the page before.
            status: Only those of this status.
            metadata: Only those that have all of these pairs.
        """
        params = without_none(limit=limit, after=after, status=status)
        params.update({f"metadata[{name}]": value for name, value in (metadata or {}).items()})
        answer = await self._transport.json(Call("GET", "/v1/tunings.list", params=params))

        async def fetch(last: str) -> AsyncPage[AsyncTuningJob]:
            return await self.list(limit, last, status=status, metadata=metadata)

        return AsyncPage((self._job(row) for row in rows_of(answer)), cursor_of(answer), fetch)

    async def iter(
        self, *, status: str | None = None, metadata: Mapping[str, str] | None = None, page_size: int = 100
    ) -> AsyncIterator[AsyncTuningJob]:
        """Every job, newest first, page by page. Raises `APIError`."""
        page = await self.list(page_size, status=status, metadata=metadata)
        async for job in page.iter():
            yield job

    async def cancel(self, job_id: str) -> AsyncTuningJob:
        """End a job at once; one that is cancelled already stays so.

        Raises `InvalidRequestError` when it has succeeded or failed, `NotFoundError` when it is not there.
        """
        return self._job(await self._transport.json(Call("DELETE", path_to("/v1/tunings.cancel", job_id))))

    async def metrics(
        self, job_id: str, *, after_step: int = 0, limit: int = STEPS_PER_PAGE
    ) -> AsyncPage[StepMetric]:
        """The loss curve: a page of the steps behind `after_step`, in order. Raises `NotFoundError`."""
        params = {"after_step": after_step, "limit": limit}
        answer = await self._transport.json(
            Call("GET", path_to("/v1/tunings.metrics", job_id), params=params)
        )
        steps = [StepMetric(row) for row in rows_of(answer) if isinstance(row.get("step"), int)]
        more = bool(answer.get("has_more")) and bool(steps)

        async def fetch(last: str) -> AsyncPage[StepMetric]:
            return await self.metrics(job_id, after_step=int(last), limit=limit)

        return AsyncPage(steps, Cursor(more, str(steps[-1].step) if more else None), fetch)

    async def wait_for_completion(
        self, job_id: str, poll_interval: float = 10, timeout: float | None = None
    ) -> AsyncTuningJob:
        """Wait until a job has ended and return it; `status` says how: `succeeded`, `failed` or `cancelled`.

        Args:
            job_id: The job.
            poll_interval: Seconds between looks.
            timeout: Seconds to wait at most; for ever when None.

        Raises:
            TimeoutError: It has not ended then; the job itself goes on.
            NotFoundError: There is no job of this id.
        """
        patience, deadline = Patience(), Deadline(timeout)
        while True:
            try:
                job = await self.get(job_id)
            except APIError as error:
                if deadline.over or not patience.bears(error):
                    raise
            else:
                patience.answered()
                if job.ended:
                    return job
                if deadline.over:
                    raise TimeoutError(f"Job did not complete within {timeout:g}s: {job_id} is {job.status}")
            await self._transport.sleep(deadline.within(poll_interval))

    async def watch(
        self, job_id: str, poll_interval: float = 1.0, *, after_step: int = 0
    ) -> AsyncIterator[AsyncTuningUpdate]:
        """Follow a job to its end: its state first, then an update whenever that changes or steps were made.

        The last update's job has ended. Each step is told once; what a later attempt repeats is told again.
        Short outages of the service are waited out.

        Args:
            job_id: The job.
            poll_interval: Seconds between looks.
            after_step: The last step known already, to go on where an earlier watch broke off.

        Raises:
            NotFoundError: There is no job of this id.
        """
        patience, curve = Patience(), Curve(after_step)
        before: dict[str, Any] | None = None
        while True:
            try:
                job = await self.get(job_id)
                steps = await self._new_steps(job, curve)
            except APIError as error:
                if not patience.bears(error):
                    raise
            else:
                patience.answered()
                if steps or changed(before, job._data):
                    before = job._data
                    yield AsyncTuningUpdate(job, steps)
                if job.ended:
                    return
            await self._transport.sleep(poll_interval)

    async def _new_steps(self, job: AsyncTuningJob, curve: Curve) -> Sequence[StepMetric]:
        page = await self.metrics(job.id, after_step=curve.after_step)
        rows = [row async for row in page.iter()]
        if curve.restarted(job.attempt, rows):
            page = await self.metrics(job.id)
            rows = [row async for row in page.iter()]
        return curve.new(rows)

    async def download_adapter(self, job_id: str, target: str | os.PathLike[str]) -> Path:
        """Unpack a succeeded job's adapter into the folder `target`, ready for PEFT.

        A new folder appears only once it is complete; in one that exists, namesakes are replaced.

        Raises:
            InvalidRequestError: The job has not succeeded.
            NotFoundError: There is no job of this id.
            OSError: The folder cannot be written.
        """
        with tempfile.TemporaryFile() as archive:
            await self._transport.download(Call("GET", path_to("/v1/tunings.adapter", job_id)), archive)
            archive.seek(0)
            return await asyncio.to_thread(unpack, archive, target)

    def _job(self, fields: Mapping[str, Any]) -> AsyncTuningJob:
        return AsyncTuningJob(self._client, fields)
