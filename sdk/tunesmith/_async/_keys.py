"""The keys: made, listed, exchanged, revoked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from tunesmith._accounts import ApiKey
from tunesmith._async._page import AsyncPage, paged
from tunesmith._async._transport import AsyncTransport
from tunesmith._call import Call, path_to, post, without_none


class AsyncKeyResource:
    """`client.keys`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def create(
        self,
        name: str,
        scopes: Sequence[str] = ("read", "write"),
        *,
        expires_in: int | None = None,
        account: str | None = None,
        idempotency_key: str | None = None,
    ) -> ApiKey:
        """Make a key. Its secret is in `key` of this answer and nowhere else, so keep it.

        When an answer got lost and the call was tried again, `key` is None: `rotate` gives another one.

        Args:
            name: What it is for.
            scopes: Any of `read`, `write` and `admin` that your own key has.
            expires_in: Seconds until it stops working; never by default.
            account: Another account's id; for admins.
            idempotency_key: Makes repeated calls one key; the repeats are answered without the secret.

        Raises:
            PermissionError: Your key lacks a scope that it was to grant.
        """
        body = {
            "name": name,
            "scopes": list(scopes),
            **without_none(expires_in=expires_in, account=account),
        }
        return ApiKey(await self._transport.json(post("/v1/keys.create", body, idempotency_key)))

    async def list(self, limit: int = 20, after: str | None = None) -> AsyncPage[ApiKey]:
        """A page of the account's keys, newest first, without their secrets. Raises `APIError`."""
        params = without_none(limit=limit, after=after)
        return await paged(self._transport, "/v1/keys.list", params, ApiKey)

    async def iter(self, *, page_size: int = 100) -> AsyncIterator[ApiKey]:
        """Every key, page by page. Raises `APIError`."""
        page = await self.list(page_size)
        async for key in page.iter():
            yield key

    async def get(self, key_id: str) -> ApiKey:
        """One key, without its secret. Raises `NotFoundError` when there is none of this id."""
        return ApiKey(await self._transport.json(Call("GET", path_to("/v1/keys.get", key_id))))

    async def rotate(
        self, key_id: str, *, keep_seconds: int = 0, idempotency_key: str | None = None
    ) -> ApiKey:
        """Make a new key in place of one; the new secret is in `key` of this answer and nowhere else.

        Args:
            key_id: The key to replace.
            keep_seconds: How long the old one goes on working beside it.
            idempotency_key: Makes repeated calls one new key.
        """
        body = {"keep_seconds": keep_seconds}
        call = post(path_to("/v1/keys.rotate", key_id), body, idempotency_key)
        return ApiKey(await self._transport.json(call))

    async def revoke(self, key_id: str, *, force: bool = False) -> ApiKey:
        """End a key, everywhere and within a second.

        Args:
            key_id: The key.
            force: End it even when it is the installation's last admin key.

        Raises:
            ConflictError: It is the last admin key, and `force` was not given.
            NotFoundError: There is no key of this id.
        """
        params = {"force": "true"} if force else {}
        call = Call("DELETE", path_to("/v1/keys.revoke", key_id), params=params)
        return ApiKey(await self._transport.json(call))
