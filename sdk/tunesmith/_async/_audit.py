"""The audit log: every refusal and every sensitive action."""

from __future__ import annotations

from collections.abc import AsyncIterator

from tunesmith._accounts import AuditEntry
from tunesmith._async._page import AsyncPage, paged
from tunesmith._async._transport import AsyncTransport
from tunesmith._call import without_none


class AsyncAuditResource:
    """`client.audit`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def list(
        self,
        limit: int = 20,
        after: str | None = None,
        *,
        action: str | None = None,
        outcome: str | None = None,
        account: str | None = None,
    ) -> AsyncPage[AuditEntry]:
        """A page of what was done and refused, newest first.

        Args:
            limit: Entries per page, 1 to 100.
            after: Id of the last entry of the page before.
            action: Only this action, an operation's id such as `createKey`.
            outcome: `done`, `refused` or `failed`.
            account: Only this account's; for admins.
        """
        params = without_none(limit=limit, after=after, action=action, outcome=outcome, account=account)
        return await paged(self._transport, "/v1/audit.list", params, AuditEntry)

    async def iter(
        self,
        *,
        action: str | None = None,
        outcome: str | None = None,
        account: str | None = None,
        page_size: int = 100,
    ) -> AsyncIterator[AuditEntry]:
        """Every entry, newest first, page by page. Raises `APIError`."""
        page = await self.list(page_size, action=action, outcome=outcome, account=account)
        async for entry in page.iter():
            yield entry
