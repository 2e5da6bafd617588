"""The models that can be tuned, and those that tunings made."""

from __future__ import annotations

from collections.abc import AsyncIterator

from tunesmith._async._page import AsyncPage, paged
from tunesmith._async._transport import AsyncTransport
from tunesmith._call import Call, delete, path_to, without_none
from tunesmith._models import Deleted, Model


class AsyncModelResource:
    """`client.models`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def list(self, limit: int | None = None, after: str | None = None) -> AsyncPage[Model]:
        """The models: base models, then the account's own. Raises `APIError`."""
        return await paged(self._transport, "/v1/models", without_none(limit=limit, after=after), Model)

    async def iter(self) -> AsyncIterator[Model]:
        """Every model, page by page. Raises `APIError`."""
        page = await self.list()
        async for model in page.iter():
            yield model

    async def get(self, model_id: str) -> Model:
        """One model. Raises `NotFoundError` when there is none of this id."""
        return Model(await self._transport.json(Call("GET", path_to("/v1/models", model_id))))

    async def delete(self, model_id: str) -> Deleted:
        """Take a tuned model of your account out of use. Raises `NotFoundError`, for a base model too."""
        return Deleted(await self._transport.json(delete("/v1/models", model_id, "model")))
