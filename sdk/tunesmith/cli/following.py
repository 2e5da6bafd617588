"""A job followed to its end: by its stream, and by looking at it where there is no stream."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import suppress

from tunesmith import (
    APIError,
    AsyncTuningClient,
    AsyncTuningUpdate,
    StepMetric,
    TuningClient,
    TuningEvent,
    TuningJob,
    TuningUpdate,
)
from tunesmith._async._watching import new_steps
from tunesmith._waiting import Curve, Patience, changed

SECONDS_BETWEEN_LOOKS = 2.0
"""While the stream tells of events and steps: for what it does not tell, such as the phase and the queue."""

Heard = asyncio.Queue["TuningEvent | StepMetric | None"]


def followed(client: TuningClient, job_id: str, poll_interval: float) -> Iterator[TuningUpdate]:
    """The job's state, then an update whenever it changed or made steps, until it has ended.

    Ctrl-C is heard by the loop: as an exception, in whatever runs just then, it may be lost.

    Raises:
        NotFoundError: There is no job of this id.
        APIError: The service stayed away for longer than a short outage.
    """
    loop, interrupted = asyncio.new_event_loop(), asyncio.Event()
    updates = _opened(client, job_id, poll_interval)
    with suppress(NotImplementedError, RuntimeError, ValueError):  # on Windows, and beside the main thread
        loop.add_signal_handler(signal.SIGINT, interrupted.set)
    try:
        while (update := loop.run_until_complete(_next(updates, interrupted))) is not None:
            yield TuningUpdate(TuningJob(client, update.job.to_dict()), update.steps)
    finally:
        with suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)
        loop.run_until_complete(_put_down(updates))
        loop.close()


async def _next(
    updates: AsyncGenerator[AsyncTuningUpdate, None], interrupted: asyncio.Event
) -> AsyncTuningUpdate | None:
    """The next update; None when there is none. Raises KeyboardInterrupt."""
    coming = asyncio.ensure_future(anext(updates, None))
    waiting = asyncio.ensure_future(interrupted.wait())
    await asyncio.wait([coming, waiting], return_when=asyncio.FIRST_COMPLETED)
    if interrupted.is_set():
        raise KeyboardInterrupt
    waiting.cancel()
    return await coming


async def _put_down(updates: AsyncGenerator[AsyncTuningUpdate, None]) -> None:
    """Close all that is open, also when Ctrl-C came in the middle of it."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await updates.aclose()
    await asyncio.get_running_loop().shutdown_asyncgens()


async def _opened(
    client: TuningClient, job_id: str, poll_interval: float
) -> AsyncGenerator[AsyncTuningUpdate, None]:
    options = (client.api_key, client.base_url, client.timeout, client.max_retries)
    async with AsyncTuningClient(*options) as own:
        heard: Heard = asyncio.Queue()
        listening = asyncio.create_task(_listen(own.with_options(max_retries=1), job_id, heard))
        try:
            async for update in _updates(own, job_id, heard, listening, poll_interval):
                yield update
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


async def _updates(
    client: AsyncTuningClient,
    job_id: str,
    heard: Heard,
    listening: asyncio.Task[None],
    poll_interval: float,
) -> AsyncIterator[AsyncTuningUpdate]:
    patience, curve = Patience(), Curve()
    job, shown, looked_at = None, None, 0.0
    while True:
        pause = poll_interval if listening.done() else SECONDS_BETWEEN_LOOKS
        news = await _news(heard, pause if job else 0.0)
        rows = [one for one in news if isinstance(one, StepMetric)]
        due = len(rows) < len(news) or time.monotonic() - looked_at >= SECONDS_BETWEEN_LOOKS
        if job is None or due or listening.done() or not _follow_on(rows, curve):
            try:
                job = await client.tunings.get(job_id)
                steps = await new_steps(client.tunings, job, curve)
            except APIError as error:
                if not patience.bears(error):
                    raise
                await asyncio.sleep(poll_interval)
                continue
            patience.answered()
            looked_at = time.monotonic()
        else:
            steps = curve.new(rows)
        if steps or changed(shown, job._data):
            shown = job._data
            yield AsyncTuningUpdate(job, steps)
        if job.ended:
            return


def _follow_on(rows: list[StepMetric], curve: Curve) -> bool:
    """Whether nothing is missing between the curve and these steps, and no later attempt has begun."""
    last = curve.last_step
    for row in rows:
        # The last one comes again with its evaluation.
        if row.step not in (last, last + 1) or curve.is_of_later_attempt(row):
            return False
        last = row.step
    return True


async def _news(heard: Heard, within: float) -> list[TuningEvent | StepMetric | None]:
    """What was heard, once something is; nothing when the time is up."""
    try:
        news = [await asyncio.wait_for(heard.get(), within)]
    except asyncio.TimeoutError:
        return []
    while not heard.empty():
        news.append(heard.get_nowait())
    return news


async def _listen(client: AsyncTuningClient, job_id: str, heard: Heard) -> None:
    try:
        async for one in client.tunings.stream_events(job_id, include_metrics=True):
            heard.put_nowait(one)
    except APIError:
        pass  # without a stream the job is looked at more often
    finally:
        heard.put_nowait(None)
