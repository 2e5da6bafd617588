"""The webhooks: endpoints that are told of events, and what was delivered to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from tunesmith._async._page import AsyncPage, paged
from tunesmith._async._transport import AsyncTransport
from tunesmith._call import Call, delete, path_to, post, without_none
from tunesmith._endpoints import WebhookDelivery, WebhookEndpoint, WebhookReplay
from tunesmith._models import Deleted


class AsyncWebhookResource:
    """`client.webhooks`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def create(
        self,
        url: str,
        types: Sequence[str] | None = None,
        *,
        description: str | None = None,
        idempotency_key: str | None = None,
    ) -> WebhookEndpoint:
        """Have events sent to an address of yours. The secret that signs them is in this answer alone.

        Args:
            url: Where they go.
            types: Which, such as `tuning.succeeded`; the ends of tunings by default.
            description: For yourself.
            idempotency_key: Makes repeated calls one endpoint.
        """
        body = without_none(
            url=url, types=list(types) if types is not None else None, description=description
        )
        call = post("/v1/webhooks.create", body, idempotency_key)
        return WebhookEndpoint(await self._transport.json(call))

    async def list(self, limit: int = 20, after: str | None = None) -> AsyncPage[WebhookEndpoint]:
        """A page of the account's endpoints, newest first. Raises `APIError`."""
        params = without_none(limit=limit, after=after)
        return await paged(self._transport, "/v1/webhooks.list", params, WebhookEndpoint)

    async def iter(self, *, page_size: int = 100) -> AsyncIterator[WebhookEndpoint]:
        """Every endpoint, page by page. Raises `APIError`."""
        page = await self.list(page_size)
        async for endpoint in page.iter():
            yield endpoint

    async def get(self, webhook_id: str) -> WebhookEndpoint:
        """One endpoint. Raises `NotFoundError` when there is none of this id."""
        call = Call("GET", path_to("/v1/webhooks.get", webhook_id))
        return WebhookEndpoint(await self._transport.json(call))

    async def update(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        types: Sequence[str] | None = None,
        description: str | None = None,
        enabled: bool | None = None,
        idempotency_key: str | None = None,
    ) -> WebhookEndpoint:
        """Change what is given and leave the rest; `enabled=False` stops deliveries."""
        body = without_none(
            url=url,
            types=list(types) if types is not None else None,
            description=description,
            enabled=enabled,
        )
        call = post(path_to("/v1/webhooks.update", webhook_id), body, idempotency_key)
        return WebhookEndpoint(await self._transport.json(call))

    async def delete(self, webhook_id: str) -> Deleted:
        """Send it nothing more. Raises `NotFoundError`."""
        call = delete("/v1/webhooks.delete", webhook_id, "webhook.endpoint")
        return Deleted(await self._transport.json(call))

    async def rotate(
        self, webhook_id: str, *, keep_seconds: int | None = None, idempotency_key: str | None = None
    ) -> WebhookEndpoint:
        """Sign with a new secret from now on; it is in this answer alone.

        Args:
            webhook_id: The endpoint.
            keep_seconds: How long requests are signed with the old one as well; a day otherwise.
            idempotency_key: Makes repeated calls one new secret.
        """
        body = without_none(keep_seconds=keep_seconds)
        call = post(path_to("/v1/webhooks.rotate", webhook_id), body, idempotency_key)
        return WebhookEndpoint(await self._transport.json(call))

    async def test(self, webhook_id: str, *, idempotency_key: str | None = None) -> WebhookDelivery:
        """Deliver a `webhook.test` event now; how that went."""
        call = post(path_to("/v1/webhooks.test", webhook_id), key=idempotency_key)
        return WebhookDelivery(await self._transport.json(call))

    async def deliveries(
        self, webhook_id: str, limit: int = 20, after: str | None = None
    ) -> AsyncPage[WebhookDelivery]:
        """A page of what was delivered or is still tried, newest first, with every request and answer."""
        path, params = path_to("/v1/webhooks.deliveries", webhook_id), without_none(limit=limit, after=after)
        return await paged(self._transport, path, params, WebhookDelivery)

    async def replay(
        self,
        webhook_id: str,
        *,
        after: str | None = None,
        since: int | None = None,
        idempotency_key: str | None = None,
    ) -> WebhookReplay:
        """Deliver past events once more.

        Args:
            webhook_id: The endpoint.
            after: An event's id: all of the account's that came later.
            since: Unix seconds: all from then on.
            idempotency_key: Makes repeated calls one replay.

        Raises:
            InvalidRequestError: Neither of the two is given, or both.
        """
        body = without_none(after=after, since=since)
        call = post(path_to("/v1/webhooks.replay", webhook_id), body, idempotency_key)
        return WebhookReplay(await self._transport.json(call))
