"""One page of a list, which knows the next one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from tunesmith._async._transport import AsyncTransport
from tunesmith._call import Call, cursor_of, rows_of
from tunesmith._models import Cursor

T = TypeVar("T")


class AsyncPage(list[T], Generic[T]):
    """A list of what one page holds; `has_more` and `next_after` tell of the next one."""

    def __init__(
        self, rows: Iterable[T], cursor: Cursor, fetch: Callable[[str], Awaitable[AsyncPage[T]]]
    ) -> None:
        super().__init__(rows)
        self.has_more: bool = cursor.has_more
        self.next_after: str | None = cursor.next_after
        self._fetch = fetch

    async def next_page(self) -> AsyncPage[T] | None:
        """The next page, or None after the last one. Raises `APIError`."""
        return await self._fetch(self.next_after) if self.next_after is not None else None

    async def iter(self) -> AsyncIterator[T]:
        """Everything from this page to the last one, fetched as needed. Raises `APIError`."""
        page: AsyncPage[T] | None = self
        while page is not None:
            for row in page:
                yield row
            page = await page.next_page()


async def paged(
    transport: AsyncTransport,
    path: str,
    params: Mapping[str, Any],
    made: Callable[[Mapping[str, Any]], T],
) -> AsyncPage[T]:
    """The page that a list call is answered with; `made` makes an object of each row. Raises `APIError`."""
    answer = await transport.json(Call("GET", path, params=params))

    async def fetch(last: str) -> AsyncPage[T]:
        return await paged(transport, path, {**params, "after": last}, made)

    return AsyncPage((made(row) for row in rows_of(answer)), cursor_of(answer), fetch)
