"""Files and models as the read model has them, believed until it says that they changed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import asyncpg
import msgspec

from app.domain.files import File
from app.domain.models import BaseModel

MOST_KNOWN = 10_000
OTHERS = ("job-", "acct-")
STATES = """
SELECT id, state FROM files WHERE id = ANY($1::text[])
UNION ALL SELECT id, state FROM models WHERE id = ANY($1::text[])
"""


class Known:
    """What was read once is not asked for again: the projector tells of each change as it commits it.

    While nobody hears that (`heard` is False), nothing is believed.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._states: dict[str, File | BaseModel] = {}
        self._changes = 0
        self.heard = False

    async def states(self, ids: Iterable[str]) -> dict[str, File | BaseModel]:
        """The files and models among these ids that there are, whosever they may be."""
        wanted = set(ids)
        found = {id: self._states[id] for id in wanted & self._states.keys()}
        if asked := wanted - found.keys():
            changes = self._changes
            for row in await self._pool.fetch(STATES, list(asked)):
                found[row["id"]] = _read(row)
            # What changed while it was read may have been read as it was before.
            if self.heard and changes == self._changes:
                self._keep({id: found[id] for id in asked & found.keys()})
        return found

    def _keep(self, states: dict[str, File | BaseModel]) -> None:
        if len(self._states) + len(states) > MOST_KNOWN:
            self._states.clear()
        self._states |= states

    def forget(self, id: str) -> None:
        """It changed."""
        if not id.startswith(OTHERS):
            self._changes += 1
            self._states.pop(id, None)

    def forget_all(self) -> None:
        """Anything may have changed."""
        self._changes += 1
        self._states.clear()


def _read(row: Any) -> File | BaseModel:
    if row["id"].startswith("file-"):
        return msgspec.json.decode(row["state"], type=File)
    return msgspec.json.decode(row["state"], type=BaseModel)
