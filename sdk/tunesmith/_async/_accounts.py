"""The accounts; all but `current` is for admins."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

from tunesmith._accounts import Account, Limits
from tunesmith._async._page import AsyncPage, paged
from tunesmith._async._transport import AsyncTransport
from tunesmith._call import Call, path_to, post, without_none


class AsyncAccountResource:
    """`client.accounts`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def current(self) -> Account:
        """Your own account, with its limits and what it uses of them. Raises `APIError`."""
        return Account(await self._transport.json(Call("GET", "/v1/accounts.current")))

    async def create(
        self,
        name: str,
        limits: Limits | Mapping[str, int | None] | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> Account:
        """Open an account; `keys.create(…, account=account.id)` makes its first key.

        Args:
            name: What it is called.
            limits: What it may have; the installation's defaults otherwise.
            idempotency_key: Makes repeated calls one account.
        """
        body = without_none(name=name, limits=dict(limits) if limits is not None else None)
        return Account(await self._transport.json(post("/v1/accounts.create", body, idempotency_key)))

    async def list(self, limit: int = 20, after: str | None = None) -> AsyncPage[Account]:
        """A page of all accounts, newest first. Raises `APIError`."""
        params = without_none(limit=limit, after=after)
        return await paged(self._transport, "/v1/accounts.list", params, Account)

    async def iter(self, *, page_size: int = 100) -> AsyncIterator[Account]:
        """Every account, page by page. Raises `APIError`."""
        page = await self.list(page_size)
        async for account in page.iter():
            yield account

    async def get(self, account_id: str) -> Account:
        """One account. Raises `NotFoundError` when there is none of this id."""
        return Account(await self._transport.json(Call("GET", path_to("/v1/accounts.get", account_id))))

    async def update(
        self,
        account_id: str,
        *,
        name: str | None = None,
        limits: Limits | Mapping[str, int | None] | None = None,
        idempotency_key: str | None = None,
    ) -> Account:
        """Change what is given and leave the rest. Raises `NotFoundError`.

        Args:
            account_id: The account.
            name: What it is called from now on.
            limits: The limits to change; None in one of them is the installation's default.
            idempotency_key: For a call of which you do not know whether it took.
        """
        body = without_none(name=name, limits=dict(limits) if limits is not None else None)
        call = post(path_to("/v1/accounts.update", account_id), body, idempotency_key)
        return Account(await self._transport.json(call))

    async def suspend(
        self, account_id: str, *, force: bool = False, idempotency_key: str | None = None
    ) -> Account:
        """Refuse all of its requests from now on; running jobs finish, waiting ones wait.

        Args:
            account_id: The account.
            force: Suspend it even when it has the installation's last admin key.
            idempotency_key: For a call of which you do not know whether it took.

        Raises:
            ConflictError: It has the last admin key, and `force` was not given.
        """
        call = post(path_to("/v1/accounts.suspend", account_id), key=idempotency_key)
        if force:
            call = replace(call, params={"force": "true"})
        return Account(await self._transport.json(call))

    async def reinstate(self, account_id: str, *, idempotency_key: str | None = None) -> Account:
        """Take a suspension back."""
        call = post(path_to("/v1/accounts.reinstate", account_id), key=idempotency_key)
        return Account(await self._transport.json(call))
