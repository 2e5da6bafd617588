"""A tuning's events as they happen, over as many connections as it takes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import httpx

from tunesmith._async._transport import AsyncTransport
from tunesmith._call import Call, path_to, rows_of
from tunesmith._exceptions import APIError, RateLimitError, ServerError
from tunesmith._following import Position
from tunesmith._models import ENDED, StepMetric, TuningEvent
from tunesmith._sse import Frame, FrameDecoder
from tunesmith._waiting import Patience


async def streamed(
    transport: AsyncTransport, position: Position, *, include_metrics: bool
) -> AsyncIterator[TuningEvent | StepMetric]:
    """Every event behind the position, up to the one that ends the tuning. Raises `APIError`."""
    patience, failures, decoder = Patience(), 0, FrameDecoder()
    while True:
        told_to_wait: float | None = None
        try:
            response = await transport.open(position.call())
            patience.answered()
            decoder = FrameDecoder(decoder.retry)
            try:
                if include_metrics and position.step:
                    for step in await _missed_steps(transport, position):
                        yield step
                async with aclosing(_pieces(transport, response, decoder)) as pieces:
                    async for frames in pieces:
                        patience.answered()
                        for frame in frames:
                            if (told := position.told(frame)) is None:
                                continue
                            failures = 0
                            if isinstance(told, TuningEvent) or include_metrics:
                                yield told
                            if isinstance(told, TuningEvent) and told.ends:
                                return
            finally:
                await response.aclose()
            if await _told_to_its_end(transport, position):
                return
        except APIError as error:
            if not patience.bears(error):
                raise
            if isinstance(error, (RateLimitError, ServerError)):
                told_to_wait = error.retry_after
        own = transport.rules.delay(failures, transport.random)
        failures += 1
        await transport.sleep(max(told_to_wait or decoder.retry or 0.0, own))


async def _pieces(
    transport: AsyncTransport, response: httpx.Response, decoder: FrameDecoder
) -> AsyncGenerator[list[Frame], None]:
    """The frames that each piece of the answer completes: none for a heartbeat."""
    kind = response.headers.get("content-type", "")
    if not kind.startswith("text/event-stream"):
        raise APIError(f"{response.request.url} answered with {kind or 'no type'} and not with a stream")
    try:
        async for piece in response.aiter_bytes():
            yield decoder.feed(piece)
    except httpx.RequestError as failure:
        raise transport.failed(failure) from failure
    except ValueError as error:
        raise APIError(f"the stream cannot be read: {error}") from error


async def _missed_steps(transport: AsyncTransport, position: Position) -> list[StepMetric]:
    """The steps that were made while no stream was open: they are not streamed again."""
    path = path_to("/v1/tunings.metrics", position.job_id)
    answer = await transport.json(
        Call("GET", path, params={"after_step": position.after_step, "limit": 10_000})
    )
    steps = (position.new_step(StepMetric(row)) for row in rows_of(answer))
    return [step for step in steps if step is not None]


async def _told_to_its_end(transport: AsyncTransport, position: Position) -> bool:
    """Whether a stream that the service closed has nothing more to tell, whatever its last event's type."""
    job = await transport.json(Call("GET", path_to("/v1/tunings.get", position.job_id)))
    version = job.get("version")
    ended = job.get("status") in ENDED or job.get("finished_at") is not None
    return ended and isinstance(version, int) and position.version >= version
