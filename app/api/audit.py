"""The audit log: every refusal, and what was done that changes something or hands out what is kept."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

import asyncpg
import structlog
from litestar.types import Scope
from msgspec import Struct
from msgspec.structs import asdict, astuple
from prometheus_client import Counter as Metric

from app.api.auth import Caller
from app.api.edge import CALLER, LOCATION, REFUSED, REPLAYED
from app.api.errors import ApiError
from app.database import DATABASE_ERRORS
from app.domain.ids import derive_id

FLUSH_SECONDS = 0.2
MOST_HELD = 10_000
ALIKE_SECONDS = 60.0  # what is alike and comes within them is one row with its number
ROWS_OF_ONE, ROWS_OF_ALL = 60, 300  # in that time; past them only the refusal's code tells one from another
LONGEST_TARGET = 256
READS = ("GET", "HEAD", "OPTIONS")
NO_OPERATION = "noOperation"

# A row that counts is written again, with what it counts by then.
ADD = """
INSERT INTO ops.audit
SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int[],
    $8::text[], $9::text[], $10::text[], $11::text[], $12::int[])
ON CONFLICT (id) DO UPDATE SET count = greatest(ops.audit.count, excluded.count)
"""

LOST = Metric("tunesmith_audit_lost", "Audit rows that were logged and never stored", registry=None)

logger = structlog.get_logger("audit")

Outcome = Literal["done", "refused", "failed"]
Kind = tuple[str | None, ...]
Remembered = Callable[[bytes | None], Caller | None]


class Entry(Struct):
    """A row, as its table has it; `count` refusals alike are told by one."""

    id: str
    at: datetime
    account_id: str | None
    actor: str | None
    action: str
    outcome: Outcome
    status: int
    code: str | None
    target: str | None
    request_id: str
    address: str | None
    count: int = 1


def entry_of(scope: Scope, status: int, remembered: Remembered) -> Entry | None:
    """What the audit log says of a request that was answered so; None for what it does not tell.

    That is every refusal, and of what was done whatever changes something or hands out what an account keeps:
    a route says by `audit` that it does, `"admins"` that it does for those, False that it does not.
    """
    handler: Any = scope.get("route_handler")
    state: dict[str, Any] = scope["state"]
    caller: Caller | None = state.get(CALLER)
    if handler is None:  # no such route, or not by this method: nobody has asked who it is
        caller = remembered(dict(scope["headers"]).get(b"authorization"))
    opt = handler.opt if handler is not None else {}
    told = opt.get("audit", scope.get("method") not in READS) if opt.get("scope") is not None else False
    if told == "admins":
        told = caller is not None and caller.admin
    outcome: Outcome
    if status < 400:
        outcome = "done"
        wanted = told and REPLAYED not in state
    elif status < 500:
        outcome, wanted = "refused", True
    else:
        outcome, wanted = "failed", told  # it may have taken all the same
    if not wanted:
        return None
    client = scope.get("client")
    ids = [str(value) for value in scope.get("path_params", {}).values()]
    made = state.get(LOCATION, "").rpartition("/")[2]
    return Entry(
        derive_id("audit", state["request_id"]),
        datetime.now(UTC),
        caller.account_id if caller else None,
        caller.actor if caller else None,
        getattr(handler, "operation_id", None) or NO_OPERATION,
        outcome,
        status,
        state.get(REFUSED),
        _text(scope["path"] if handler is None else ids[0] if ids else made),
        state["request_id"],
        client[0] if client else None,
    )


def unread(error: ApiError, request_id: str, address: str | None) -> Entry:
    """What the audit log says of what was refused before it was a request."""
    id, now = derive_id("audit", request_id), datetime.now(UTC)
    return Entry(
        id, now, None, None, NO_OPERATION, "refused", error.status, error.code, None, request_id, address
    )


def _text(target: str) -> str | None:
    """A client's text as PostgreSQL has a place for it, without a key that came to the wrong place."""
    kept = re.sub(r"sk-[\w-]+", "sk-…", target.replace("\x00", ""))
    return kept.encode(errors="replace").decode()[:LONGEST_TARGET] or None


class Audit:
    """Rows on their way to PostgreSQL, in batches beside the requests; no request waits for them."""

    def __init__(self, pool: asyncpg.Pool, remembered: Remembered = lambda _: None) -> None:
        self._pool = pool
        self._remembered = remembered
        self._fresh: dict[str, Entry] = {}
        self._logged: dict[str, Entry] = {}  # PostgreSQL did not take them yet; the process's log has
        self._dropped = 0
        self._since = time.monotonic()
        self._rows: Counter[Kind] = Counter()  # of each caller, since then
        self._alike: dict[Kind, Entry] = {}

    def hear(self, scope: Scope, status: int) -> None:
        """Take in a request that was answered."""
        if (entry := entry_of(scope, status, self._remembered)) is not None:
            self.add(entry, counted=entry.outcome == "refused" or scope.get("method") in READS)

    def hear_unread(self, error: ApiError, request_id: str, address: str | None) -> None:
        """Take in what was refused before it was a request."""
        self.add(unread(error, request_id, address), counted=True)

    def add(self, entry: Entry, *, counted: bool) -> None:
        """Take in an entry. Each is a row of its own, but for those that are counted where they are alike."""
        if not counted:
            self._hold(entry)
            return
        if time.monotonic() - self._since >= ALIKE_SECONDS:
            self._since = time.monotonic()
            self._rows.clear()
            self._alike.clear()
        kind = self._kind(entry)
        if (first := self._alike.get(kind)) is None:
            self._alike[kind] = first = entry
            self._rows[entry.address, entry.account_id] += 1
        else:
            first.count += 1
        self._hold(first)

    def _kind(self, entry: Entry) -> Kind:
        """What is the same in entries that are one row."""
        who = (entry.address, entry.account_id)
        exact = (*who, entry.actor, entry.action, entry.code, entry.target)
        if exact in self._alike:
            return exact
        if len(self._alike) >= ROWS_OF_ALL:
            return (entry.code,)
        return exact if self._rows[who] < ROWS_OF_ONE else (*who, entry.code)

    def _hold(self, entry: Entry) -> None:
        if entry.id in self._fresh or len(self._fresh) < MOST_HELD:
            self._fresh[entry.id] = entry
        else:
            self._dropped += 1
            LOST.inc()

    async def write(self) -> None:
        """Write for ever; what is left is written when this is cancelled."""
        try:
            while True:
                await asyncio.sleep(FLUSH_SECONDS)
                await self._flush()
        finally:
            await self._flush()

    async def _flush(self) -> None:
        fresh, self._fresh = self._fresh, {}
        if self._dropped:
            logger.warning("audit_dropped", rows=self._dropped)
            self._dropped = 0
        rows = self._logged | fresh
        if not rows:
            return
        try:
            columns = zip(*map(astuple, rows.values()), strict=True)
            await self._pool.execute(ADD, *[list(column) for column in columns])
            self._logged = {}
        except asyncpg.DataError as error:
            self._log(fresh, error)
            LOST.inc(len(rows))
            self._logged = {}
        except DATABASE_ERRORS as error:
            self._log(fresh, error)
            LOST.inc(max(0, len(rows) - MOST_HELD))
            self._logged = dict(list(rows.items())[-MOST_HELD:])
        except BaseException:  # cancelled: they are written at the end
            self._fresh = fresh | self._fresh
            raise

    def _log(self, entries: dict[str, Entry], error: Exception) -> None:
        for entry in entries.values():
            fields: dict[str, Any] = asdict(entry) | {"at": entry.at.isoformat()}
            logger.warning("audit_unwritten", error=repr(error), **fields)
