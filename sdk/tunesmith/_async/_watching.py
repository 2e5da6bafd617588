"""A tuning, looked at again and again until it has ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from tunesmith._async._transport import AsyncTransport
from tunesmith._async._tuning_job import AsyncTuningJob, AsyncTuningUpdate
from tunesmith._exceptions import APIError, TimeoutError
from tunesmith._models import StepMetric
from tunesmith._waiting import Curve, Deadline, Patience, changed

if TYPE_CHECKING:
    from tunesmith._async._tunings import AsyncTuningResource


async def waited_for(
    tunings: AsyncTuningResource,
    transport: AsyncTransport,
    job_id: str,
    poll_interval: float,
    timeout: float | None,
) -> AsyncTuningJob:
    """The job, once it has ended. Raises `APIError`."""
    patience, deadline = Patience(), Deadline(timeout)
    while True:
        try:
            job = await tunings.get(job_id)
        except APIError as error:
            if deadline.over or not patience.bears(error):
                raise
        else:
            patience.answered()
            if job.ended:
                return job
            if deadline.over:
                raise TimeoutError(f"Job did not complete within {timeout:g}s: {job_id} is {job.status}")
        await transport.sleep(deadline.within(poll_interval))


async def watched(
    tunings: AsyncTuningResource,
    transport: AsyncTransport,
    job_id: str,
    poll_interval: float,
    after_step: int,
) -> AsyncIterator[AsyncTuningUpdate]:
    """The job whenever it has changed or made steps, until it has ended. Raises `APIError`."""
    patience, curve = Patience(), Curve(after_step)
    before: dict[str, Any] | None = None
    while True:
        try:
            job = await tunings.get(job_id)
            steps = await new_steps(tunings, job, curve)
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
        await transport.sleep(poll_interval)


async def new_steps(tunings: AsyncTuningResource, job: AsyncTuningJob, curve: Curve) -> Sequence[StepMetric]:
    """The steps that the curve does not have yet. Raises `APIError`."""
    page = await tunings.metrics(job.id, after_step=curve.after_step)
    rows = [row async for row in page.iter()]
    if curve.restarted(job.attempt, rows):
        page = await tunings.metrics(job.id)
        rows = [row async for row in page.iter()]
    return curve.new(rows)
