"""Sends a call, tries it again as the rules say, and turns failures into exceptions."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import IO, Any, TypeVar

import httpx

from tunesmith._call import (
    Call,
    error_of_answer,
    error_of_no_answer,
    json_object,
    may_be_taken,
    may_pass,
)
from tunesmith._exceptions import APIError
from tunesmith._retry import RetryRules

T = TypeVar("T")

logger = logging.getLogger("tunesmith")


class AsyncTransport:
    """An httpx client with the address, key and retry rules of a Tunesmith client.

    A DELETE that is tried again because nobody knows what became of an earlier try (no answer, or 5xx) counts
    as done when it is answered with 404. `sleep`, `random` and `now` (Unix seconds) can be replaced, by tests
    above all.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        *,
        base_url: str,
        headers: dict[str, str],
        timeout: float | None,
        rules: RetryRules,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = random.random,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.http = http
        self.base_url = base_url
        self.headers = headers
        self.timeout = timeout
        self.rules = rules
        self.sleep = sleep
        self.random = random
        self.now = now

    async def json(self, call: Call) -> dict[str, Any]:
        """The JSON object that the call is answered with. Raises `APIError`."""
        return json_object(await self.send(call))

    async def send(self, call: Call) -> httpx.Response:
        """The answer to the call, read whole. Raises `APIError`."""

        async def whole(response: httpx.Response) -> httpx.Response:
            await response.aread()
            return response

        return await self._tried(call, whole)

    async def download(self, call: Call, into: IO[bytes]) -> int:
        """Write the answer's bytes into a file, in constant memory; their number. Raises `APIError`.

        A connection that breaks on the way makes the whole download begin anew.
        """

        async def written(response: httpx.Response) -> int:
            into.seek(0)
            into.truncate()
            async for chunk in response.aiter_bytes():
                into.write(chunk)
            return into.tell()

        return await self._tried(call, written)

    async def open(self, call: Call) -> httpx.Response:
        """An answer whose body is still to come, for whoever reads and closes it. Raises `APIError`."""

        async def unread(response: httpx.Response) -> httpx.Response:
            return response

        return await self._tried(call, unread, keep=True)

    def failed(self, failure: httpx.RequestError) -> APIError:
        """The exception that a failure of the transport means."""
        error = error_of_no_answer(failure, self.base_url, self.timeout)
        error.__cause__ = failure
        return error

    async def _tried(
        self, call: Call, take: Callable[[httpx.Response], Awaitable[T]], *, keep: bool = False
    ) -> T:
        attempt, unclear = 0, False
        while True:
            wait: float | None
            error: APIError
            try:
                response = await self._sent(call)
                if unclear and response.status_code == 404 and call.gone is not None:
                    await response.aclose()
                    response = httpx.Response(200, json=call.gone, request=response.request)
                accepted = call.accepts(response.status_code)
                try:
                    if accepted:
                        return await take(response)
                    await response.aread()
                finally:
                    if not (keep and accepted):
                        await response.aclose()
            except httpx.RequestError as failure:
                error = self.failed(failure)
                unclear = unclear or may_be_taken(failure)
                wait = self.rules.wait_after_no_answer(attempt, self.random) if may_pass(failure) else None
            else:
                status = response.status_code
                unclear = unclear or status >= 500
                error = error_of_answer(response, self.now())
                wait = self.rules.wait_after_answer(
                    status, response.headers, attempt, self.random, self.now()
                )
            if wait is None:
                raise error
            attempt += 1
            told = {"wait": wait, "error": error}
            logger.info("retry %d/%d after %.2f s: %s", attempt, self.rules.attempts, wait, error, extra=told)
            await self.sleep(wait)

    async def _sent(self, call: Call) -> httpx.Response:
        request = self.http.build_request(
            call.method,
            self.base_url + call.path,
            params=call.query(),
            headers={**self.headers, **call.headers()},
            timeout=call.patience(self.timeout),
            **call.body(),
        )
        return await self.http.send(request, stream=True)

    async def close(self) -> None:
        """Close the connections."""
        await self.http.aclose()
