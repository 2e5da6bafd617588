"""A client of server-sent events, for tests: frames as they come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from msgspec import Struct

from tests.integration.api.service import Running

ACCEPT = {"accept": "text/event-stream"}


class Frame(Struct, frozen=True):
    """A frame: of an event with its id, of a step without; a comment has text alone."""

    id: str | None
    event: str | None
    data: Any
    comment: str | None = None


class Following:
    """An open stream."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._lines = answer.aiter_lines()

    async def frame(self, within: float = 10.0) -> Frame | None:
        """The next frame that is no comment; None at the end."""
        while (found := await self.anything(within)) is not None:
            if found.event is not None:
                return found
        return None

    async def anything(self, within: float = 10.0) -> Frame | None:
        """The next frame; None at the end."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(within):
            async for line in self._lines:
                if line:
                    name, _, value = line.partition(":")
                    fields[name] = value.removeprefix(" ")
                elif fields:
                    data = json.loads(fields["data"]) if "data" in fields else None
                    return Frame(fields.get("id"), fields.get("event"), data, fields.get(""))
        return None

    async def rest(self, within: float = 10.0) -> list[Frame]:
        """All further frames, up to the end, that are no comments."""
        found: list[Frame] = []
        async with asyncio.timeout(within):
            while (frame := await self.frame(within)) is not None:
                found.append(frame)
        return found


@asynccontextmanager
async def following(
    service: Running, id: str, *, behind: str | None = None, key: str | None = None, **query: str
) -> AsyncIterator[Following]:
    """A stream of a tuning's events, opened with a key, behind a last event."""
    headers = ACCEPT | ({"last-event-id": behind} if behind is not None else {})
    async with (
        service.client(key) as client,
        client.stream("GET", f"/v1/tunings.events/{id}", headers=headers, params=query) as answer,
    ):
        yield Following(answer)
