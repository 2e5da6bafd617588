"""The client: where the service is, with which key, and how patiently."""

from __future__ import annotations

import sys
from types import EllipsisType, TracebackType
from typing import Any
from uuid import uuid4

import httpx

from tunesmith._async._accounts import AsyncAccountResource
from tunesmith._async._audit import AsyncAuditResource
from tunesmith._async._files import AsyncFileResource
from tunesmith._async._keys import AsyncKeyResource
from tunesmith._async._models import AsyncModelResource
from tunesmith._async._transport import AsyncTransport
from tunesmith._async._tunings import AsyncTuningResource
from tunesmith._async._uploads import AsyncUploadResource
from tunesmith._async._webhooks import AsyncWebhookResource
from tunesmith._call import USER_AGENT, Call
from tunesmith._models import Health
from tunesmith._retry import RetryRules
from tunesmith._settings import (
    DEFAULT_MAX_RETRIES,
    DEFAULT_TIMEOUT,
    checked_attempts,
    chosen_api_key,
    chosen_base_url,
    ssl_context,
)

if sys.version_info >= (3, 11):
    from typing import Self
else:
    from typing_extensions import Self


class AsyncTuningClient:
    """A client of a Tunesmith service.

        async with AsyncTuningClient() as client:
            file = await client.files.upload("train.jsonl")
            job = await client.tunings.create("smollm2-135m-instruct", file.id)
            await job.wait_for_completion()
            await job.download_adapter("adapter")

    Args:
        api_key: The key, `sk-…`; `TUNESMITH_API_KEY` otherwise.
        base_url: The service's address; `TUNESMITH_BASE_URL` otherwise, else `http://localhost:8000`.
        timeout: Seconds to wait for each step of a request (connect, write, read); None waits for ever.
        max_retries: Number of tries in all for each call, the first one counted.
        http_client: An httpx client of your own, for a proxy or a private authority, say; you close it.

    Raises:
        AuthenticationError: There is no key.
        ValueError: An argument cannot be used.
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        max_retries: int = DEFAULT_MAX_RETRIES,
        *,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        self.api_key: str = chosen_api_key(api_key)
        self.base_url: str = chosen_base_url(base_url)
        self.timeout: float | None = timeout
        self.max_retries: int = checked_attempts(max_retries)
        self._owns_http = http_client is None
        self._transport = AsyncTransport(
            http_client if http_client is not None else httpx.AsyncClient(verify=ssl_context()),
            base_url=self.base_url,
            headers={
                "authorization": f"Bearer {self.api_key}",
                "accept": "application/json, */*;q=0.5",
                "user-agent": USER_AGENT,
            },
            timeout=timeout,
            rules=RetryRules(attempts=self.max_retries),
        )
        self.tunings: AsyncTuningResource = AsyncTuningResource(self, self._transport)
        self.files: AsyncFileResource = AsyncFileResource(self._transport)
        self.uploads: AsyncUploadResource = AsyncUploadResource(self._transport)
        self.models: AsyncModelResource = AsyncModelResource(self._transport)
        self.keys: AsyncKeyResource = AsyncKeyResource(self._transport)
        self.accounts: AsyncAccountResource = AsyncAccountResource(self._transport)
        self.webhooks: AsyncWebhookResource = AsyncWebhookResource(self._transport)
        self.audit: AsyncAuditResource = AsyncAuditResource(self._transport)

    async def health(self) -> Health:
        """What the service says of its parts, also when some are down. Raises `APIConnectionError`."""
        call = Call("GET", "/health", answers=frozenset({503}))
        return Health(await self._transport.json(call))

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, Any] | None = None,
        json: Any = None,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Call a route that this version has no method for, with the same key, retries and exceptions.

        Args:
            method: `GET`, `POST` or `DELETE`.
            path: The route's path, beginning with `/v1/`.
            params: Query parameters.
            json: The body.
            idempotency_key: For a POST; a fresh one otherwise.
        """
        if not path.startswith("/"):
            raise ValueError(f"path is {path!r}: it must begin with /")
        key = idempotency_key or (str(uuid4()) if method.upper() == "POST" else None)
        return await self._transport.json(
            Call(method.upper(), path, params=params or {}, json=json, idempotency_key=key)
        )

    def with_options(
        self, *, timeout: float | EllipsisType | None = ..., max_retries: int | None = None
    ) -> Self:
        """The same client with another timeout or number of tries; it shares this one's connections."""
        return type(self)(
            self.api_key,
            self.base_url,
            self.timeout if isinstance(timeout, EllipsisType) else timeout,
            self.max_retries if max_retries is None else max_retries,
            http_client=self._transport.http,
        )

    async def close(self) -> None:
        """Close its connections."""
        if self._owns_http:
            await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} base_url={self.base_url}>"
