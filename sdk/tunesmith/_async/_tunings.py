"""The tunings: estimate, create, follow, steer, take the adapter home."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from tunesmith._archive import unpack
from tunesmith._async._page import AsyncPage, paged
from tunesmith._async._streaming import streamed
from tunesmith._async._transport import AsyncTransport
from tunesmith._async._tuning_job import AsyncTuningJob, AsyncTuningUpdate
from tunesmith._async._watching import waited_for, watched
from tunesmith._call import Call, path_to, post, rows_of, without_none
from tunesmith._following import Position
from tunesmith._hyperparameters import Hyperparameters
from tunesmith._models import Checkpoint, Cursor, ExampleLosses, StepMetric, TuningEvent, TuningLog
from tunesmith._planning import TuningEstimate, TuningPreview
from tunesmith._tuning import tuning_request

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
        method: str | None = None,
        suffix: str | None = None,
        metadata: Mapping[str, str] | None = None,
        seed: int | None = None,
        priority: int | None = None,
        preview_hash: str | None = None,
        export: str | None = None,
        example_losses: int | None = None,
        idempotency_key: str | None = None,
        **more: Any,
    ) -> AsyncTuningJob:
        """Create a tuning job; it waits for a free worker and runs on its own from there.

        Args:
            model: Id of a base model, or of a tuned one to go on from; `models.list()` has them.
            training_file: Id of a processed file; `files.upload()` gives one.
            hyperparameters: What to set; the service chooses the rest.
            validation_file: Id of another file, for a loss after each epoch.
            method: `supervised`, or `dpo` for pairs of a better and a worse answer.
            suffix: Part of the tuned model's name.
            metadata: Up to 16 pairs of your own.
            seed: For a run that can be repeated.
            priority: Higher starts first; 0 by default.
            preview_hash: What `preview` gave: the job trains on exactly that, or fails.
            export: `merged`: make a model in bf16 that needs no PEFT as well as the adapter.
            example_losses: Of how many rows at most to tell the loss, for `examples`; 0: of none.
            idempotency_key: Makes repeated calls with the same arguments one job; otherwise each is its own.
            more: Further fields of the request, as the service knows them.

        Raises:
            InvalidRequestError: `param` names what is wrong, `errors` lists all of it.
            RateLimitError: Too many jobs in a short time, or waiting.
        """
        body = tuning_request(
            model,
            training_file,
            hyperparameters,
            validation_file=validation_file,
            method=method,
            suffix=suffix,
            metadata=dict(metadata) if metadata is not None else None,
            seed=seed,
            priority=priority,
            preview_hash=preview_hash,
            export=export,
            example_losses=example_losses,
            **more,
        )
        return self._job(await self._transport.json(post("/v1/tunings.create", body, idempotency_key)))

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

    async def estimate(
        self,
        model: str,
        training_file: str,
        hyperparameters: Hyperparameters | Mapping[str, Any] | None = None,
        *,
        validation_file: str | None = None,
        method: str | None = None,
        findings_limit: int | None = None,
        findings_after: int | None = None,
        **more: Any,
    ) -> TuningEstimate:
        """What a job would need, and what is wrong with its rows for this model; nothing is created.

        The other arguments are those of `create`, and so are the errors.

        Args:
            model: Id of a model.
            training_file: Id of a processed file.
            hyperparameters: What to set; the service chooses the rest.
            validation_file: Id of another file.
            method: `supervised` or `dpo`.
            findings_limit: How many findings to tell; 100 otherwise, at most 10,000.
            findings_after: Tell those behind the first so many, while `has_more` says that there are some.
            more: Further fields of the request.
        """
        body = tuning_request(
            model,
            training_file,
            hyperparameters,
            validation_file=validation_file,
            method=method,
            findings_limit=findings_limit,
            findings_after=findings_after,
            **more,
        )
        return TuningEstimate(await self._transport.json(post("/v1/tunings.estimate", body)))

    async def preview(
        self,
        model: str,
        training_file: str,
        hyperparameters: Hyperparameters | Mapping[str, Any] | None = None,
        *,
        validation_file: str | None = None,
        method: str | None = None,
        first: int | None = None,
        lines: Sequence[int] | None = None,
        findings_limit: int | None = None,
        findings_after: int | None = None,
        **more: Any,
    ) -> TuningPreview:
        """What a job would be trained on, token by token, and the hash that holds it to that.

        The other arguments are those of `create`, and so are the errors; nothing is created.

        Args:
            model: Id of a model.
            training_file: Id of a processed file.
            hyperparameters: What to set; the service chooses the rest.
            validation_file: Id of another file.
            method: `supervised` or `dpo`.
            first: How many rows to show from the beginning; 3 otherwise, at most 20.
            lines: The rows to show instead, by their lines from 1; at most 20.
            findings_limit: How many findings to tell; 100 otherwise, at most 10,000.
            findings_after: Tell those behind the first so many, while `has_more` says that there are some.
            more: Further fields of the request.
        """
        body = tuning_request(
            model,
            training_file,
            hyperparameters,
            validation_file=validation_file,
            method=method,
            first=first,
            lines=list(lines) if lines is not None else None,
            findings_limit=findings_limit,
            findings_after=findings_after,
            **more,
        )
        return TuningPreview(await self._transport.json(post("/v1/tunings.preview", body)))

    async def get(
        self, job_id: str, *, as_of: int | str | datetime | None = None, as_of_version: int | None = None
    ) -> AsyncTuningJob:
        """One job, as it is or as it was.

        Args:
            job_id: The job.
            as_of: As it was at this time: a `datetime`, Unix seconds, or RFC 3339.
            as_of_version: As it was after its event of this version.

        Raises:
            NotFoundError: There is no job of this id, or there was none then.
        """
        at = as_of.astimezone(timezone.utc).isoformat() if isinstance(as_of, datetime) else as_of
        params = without_none(as_of=at, as_of_version=as_of_version)
        call = Call("GET", path_to("/v1/tunings.get", job_id), params=params)
        return self._job(await self._transport.json(call))

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
        return await paged(self._transport, "/v1/tunings.list", params, self._job)

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

    async def pause(self, job_id: str, *, idempotency_key: str | None = None) -> AsyncTuningJob:
        """Bring a running job to rest at a checkpoint and free its devices; `resume` lets it go on.

        Raises `InvalidRequestError` when it is not running.
        """
        call = post(path_to("/v1/tunings.pause", job_id), key=idempotency_key)
        return self._job(await self._transport.json(call))

    async def resume(self, job_id: str, *, idempotency_key: str | None = None) -> AsyncTuningJob:
        """Let a paused job go on from its last checkpoint. Raises `InvalidRequestError` when it has ended."""
        call = post(path_to("/v1/tunings.resume", job_id), key=idempotency_key)
        return self._job(await self._transport.json(call))

    async def update(
        self,
        job_id: str,
        *,
        priority: int | None = None,
        metadata: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> AsyncTuningJob:
        """Give a job that has not ended another priority or other metadata; what is left out stays.

        Args:
            job_id: The job.
            priority: Higher starts first.
            metadata: Takes the place of all pairs so far.
            idempotency_key: For a call of which you do not know whether it took.
        """
        body = without_none(priority=priority, metadata=dict(metadata) if metadata is not None else None)
        call = post(path_to("/v1/tunings.update", job_id), body, idempotency_key)
        return self._job(await self._transport.json(call))

    async def rerun(self, job_id: str, *, idempotency_key: str | None = None) -> AsyncTuningJob:
        """Create a job that repeats another: the same model, files, hyperparameters and seed.

        Raises `InvalidRequestError` when the bytes of a file are gone, or the model is another one by now.
        """
        call = post(path_to("/v1/tunings.rerun", job_id), key=idempotency_key)
        return self._job(await self._transport.json(call))

    async def events(self, job_id: str, limit: int = 20, after: str | None = None) -> AsyncPage[TuningEvent]:
        """A page of what happened to a job, oldest first; `after` is an event's id."""
        path, params = path_to("/v1/tunings.events", job_id), without_none(limit=limit, after=after)
        return await paged(self._transport, path, params, TuningEvent)

    @overload
    def stream_events(
        self, job_id: str, *, after: str | None = None, include_metrics: Literal[False] = False
    ) -> AsyncIterator[TuningEvent]: ...

    @overload
    def stream_events(
        self, job_id: str, *, after: str | None = None, include_metrics: bool
    ) -> AsyncIterator[TuningEvent | StepMetric]: ...

    def stream_events(
        self, job_id: str, *, after: str | None = None, include_metrics: bool = False
    ) -> AsyncIterator[Any]:
        """What happens to a job, as it happens: from its first event on, to the one that ends it.

        A connection that breaks is made again behind the last event, so that none is missing and none comes
        twice; restarts of the service are waited out.

        Args:
            job_id: The job.
            after: Id of the last event that you have, to go on behind it.
            include_metrics: Steps too, as they are taken, as `StepMetric`; `metrics` has the earlier ones.

        Raises:
            NotFoundError: There is no job of this id.
            APIError: The service stayed away for longer than a short outage.
        """
        return streamed(self._transport, Position(job_id, after), include_metrics=include_metrics)

    async def checkpoints(
        self, job_id: str, limit: int = 20, after: str | None = None
    ) -> AsyncPage[Checkpoint]:
        """A page of the checkpoints that a job saved, newest first. Raises `NotFoundError`."""
        path, params = path_to("/v1/tunings.checkpoints", job_id), without_none(limit=limit, after=after)
        return await paged(self._transport, path, params, Checkpoint)

    async def logs(self, job_id: str, attempt: int | None = None) -> TuningLog:
        """What the training process of an attempt printed, once that is over; of the newest otherwise.

        Raises `NotFoundError` while there is none.
        """
        path, params = path_to("/v1/tunings.logs", job_id), without_none(attempt=attempt)
        return TuningLog(await self._transport.json(Call("GET", path, params=params)))

    async def metrics(
        self,
        job_id: str,
        *,
        after_step: int = 0,
        until_step: int | None = None,
        limit: int = STEPS_PER_PAGE,
        points: int | None = None,
    ) -> AsyncPage[StepMetric]:
        """The loss curve: a page of a job's steps, in order.

        Args:
            job_id: The job.
            after_step: Only steps behind this one.
            until_step: Only steps up to this one, itself among them.
            limit: Steps per page, at most 10,000.
            points: The whole range in at most so many steps, thinned so that the curve keeps its shape.

        Raises:
            NotFoundError: There is no job of this id.
        """
        given = {"after_step": after_step, "until_step": until_step, "points": points}
        params = without_none(**given, limit=limit if points is None else None)
        answer = await self._transport.json(
            Call("GET", path_to("/v1/tunings.metrics", job_id), params=params)
        )
        steps = [StepMetric(row) for row in rows_of(answer) if isinstance(row.get("step"), int)]
        more = bool(answer.get("has_more")) and bool(steps)

        async def fetch(last: str) -> AsyncPage[StepMetric]:
            return await self.metrics(job_id, after_step=int(last), until_step=until_step, limit=limit)

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
        return await waited_for(self, self._transport, job_id, poll_interval, timeout)

    def watch(
        self, job_id: str, poll_interval: float = 1.0, *, after_step: int = 0
    ) -> AsyncIterator[AsyncTuningUpdate]:
        """Follow a job to its end: its state first, then an update whenever that changes or steps were made.

        The last update's job has ended. Each step is told once, and again with its `eval_loss` if it is
        evaluated; what a later attempt repeats is told again. Short outages of the service are waited out.

        Args:
            job_id: The job.
            poll_interval: Seconds between looks.
            after_step: The last step known already, to go on where an earlier watch broke off.

        Raises:
            NotFoundError: There is no job of this id.
        """
        return watched(self, self._transport, job_id, poll_interval, after_step)

    async def examples(
        self, job_id: str, *, limit: int = 100, after_line: int | None = None
    ) -> ExampleLosses:
        """What single training rows cost the model before and after, the worst after training first.

        Args:
            job_id: A job that succeeded.
            limit: How many rows, at most 1,000.
            after_line: Those behind the row of this line, while `has_more`.

        Raises:
            InvalidRequestError: The job has not succeeded.
            NotFoundError: There is no job of this id.
        """
        params = without_none(limit=limit, after_line=after_line)
        call = Call("GET", path_to("/v1/tunings.examples", job_id), params=params)
        return ExampleLosses(await self._transport.json(call))

    async def download_adapter(
        self, job_id: str, target: str | os.PathLike[str], *, form: str | None = None
    ) -> Path:
        """Unpack a succeeded job's adapter into the folder `target`, ready for PEFT.

        A new folder appears only once it is complete; in one that exists, namesakes are replaced.

        Args:
            job_id: The job.
            target: The folder.
            form: `merged` is the whole model, ready for transformers, of a job created with that `export`.

        Raises:
            InvalidRequestError: The job has not succeeded, or made no merged model.
            NotFoundError: There is no job of this id.
            OSError: The folder cannot be written.
        """
        call = Call("GET", path_to("/v1/tunings.adapter", job_id), params=without_none(form=form))
        with tempfile.TemporaryFile() as archive:
            await self._transport.download(call, archive)
            archive.seek(0)
            return await asyncio.to_thread(unpack, archive, target)

    def _job(self, fields: Mapping[str, Any]) -> AsyncTuningJob:
        return AsyncTuningJob(self._client, fields)
