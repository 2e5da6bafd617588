"""The models that can be tuned, and those that tunings made."""

from __future__ import annotations

from collections.abc import AsyncIterator

from tunesmith._async._page import AsyncPage
from tunesmith._async._transport import AsyncTransport
from tunesmith._call import Call, cursor_of, path_to, rows_of, without_none
from tunesmith._models import Model


class AsyncModelResource:
    """`client.models`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def list(self, limit: int | None = None, after: str | None = None) -> AsyncPage[Model]:
        """The models: base models, then the account's own. Raises `APIError`."""
        answer = await self._transport.json(
            Call("GET", "/v1/models", params=without_none(limit=limit, after=after))
        )

        async def fetch(last: str) -> AsyncPage[Model]:
            return await self.list(limit, last)

        return AsyncPage((Model(row) for row in rows_of(answer)), cursor_of(answer), fetch)

    async def iter(self) -> AsyncIterator[Model]:
        """Every model, page by page. Raises `APIError`."""
        page = await self.list()
        async for model in page.iter():
            yield model

    async def get(self, model_id: str) -> Model:
        """One model. Raises `NotFoundError` when there is none of this id."""
        return Model(await self._transport.json(Call("GET", path_to("/v1/models", model_id))))
