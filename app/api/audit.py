"""The audit log: every refusal, and whatever was done that changes something, by what its route is."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any, Literal

import asyncpg
import structlog
from litestar.types import Scope
from msgspec import Struct
from msgspec.structs import asdict, astuple
from prometheus_client import Counter as Metric

from app.api.database import DATABASE_ERRORS
from app.api.edge import CALLER, LOCATION, REFUSED, REPLAYED
from app.domain.ids import derive_id

FLUSH_SECONDS = 0.2
MOST_HELD = 10_000
ROWS_A_SECOND = 5  # of refusals to one caller; the rest of that second is one row with their number
LONGEST_TARGET = 256
ALWAYS = (401, 403, 409, 429)
OF_WRITES = (400, 404, 408, 413, 415)
READS = ("GET", "HEAD", "OPTIONS")

ADD = """
INSERT INTO ops.audit
SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int[],
    $8::text[], $9::text[], $10::text[], $11::text[], $12::int[])
ON CONFLICT (id) DO NOTHING
"""

LOST = Metric("tunesmith_audit_lost", "Audit rows that were logged and never stored", registry=None)

logger = structlog.get_logger("audit")

Outcome = Literal["done", "refused", "failed"]


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


def entry_of(scope: Scope, status: int) -> Entry | None:
    """What the audit log says of a request that was answered so; None for what it does not tell."""
    handler: Any = scope.get("route_handler")
    if handler is None or handler.opt.get("scope") is None:
        return None
    state: dict[str, Any] = scope["state"]
    reads = scope.get("method") in READS
    told = handler.opt.get("audit", not reads)
    outcome: Outcome
    if status < 400:
        outcome = "done"
        wanted = told and REPLAYED not in state
    elif status < 500:
        outcome = "refused"
        in_path = status == 404 and bool(scope.get("path_params"))
        wanted = status in ALWAYS or in_path or (told and status in OF_WRITES)
    else:
        outcome, wanted = "failed", told  # it may have taken all the same
    if not wanted:
        return None
    caller, client = state.get(CALLER), scope.get("client")
    ids = [str(value) for value in scope.get("path_params", {}).values()]
    target = ids[0] if ids else state.get(LOCATION, "").rpartition("/")[2]
    return Entry(
        derive_id("audit", state["request_id"]),
        datetime.now(UTC),
        caller.account_id if caller else None,
        caller.actor if caller else None,
        handler.operation_id,
        outcome,
        status,
        state.get(REFUSED),
        _text(target),
        state["request_id"],
        client[0] if client else None,
    )


def _text(target: str) -> str | None:
    """A client's text as PostgreSQL has a place for it."""
    return target.replace("\x00", "").encode(errors="replace").decode()[:LONGEST_TARGET] or None


class Audit:
    """Rows on their way to PostgreSQL, in batches beside the requests; no request waits for them."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._fresh: list[Entry] = []
        self._logged: list[Entry] = []  # PostgreSQL did not take them yet; the process's log has
        self._dropped = 0
        self._second = 0
        self._taken: Counter[tuple[str | None, str | None]] = Counter()
        self._alike: dict[tuple[str | None, str | None, str | None], Entry] = {}

    def hear(self, scope: Scope, status: int) -> None:
        """Take in a request that was answered."""
        if (entry := entry_of(scope, status)) is not None:
            self.add(entry)

    def add(self, entry: Entry) -> None:
        """Take in an entry; of refusals to one caller only so many a second, and the rest as a number."""
        self._turn()
        if entry.outcome == "refused":
            who = (entry.address, entry.account_id)
            self._taken[who] += 1
            if self._taken[who] > ROWS_A_SECOND:
                alike = (*who, entry.code)
                if alike in self._alike:
                    self._alike[alike].count += 1
                    return
                self._alike[alike] = entry
                return
        self._hold(entry)

    def _turn(self) -> None:
        """With each second begin to count anew."""
        if (second := int(time.monotonic())) != self._second:
            self._second = second
            for entry in self._alike.values():
                self._hold(entry)
            self._taken.clear()
            self._alike.clear()

    def _hold(self, entry: Entry) -> None:
        if len(self._fresh) < MOST_HELD:
            self._fresh.append(entry)
        else:
            self._dropped += 1
            LOST.inc()

    async def write(self) -> None:
        """Write for ever; what is left is written when this is cancelled."""
        try:
            while True:
                await asyncio.sleep(FLUSH_SECONDS)
                self._turn()
                await self._flush()
        finally:
            self._second = 0
            self._turn()
            await self._flush()

    async def _flush(self) -> None:
        fresh, self._fresh = self._fresh, []
        if self._dropped:
            logger.warning("audit_dropped", rows=self._dropped)
            self._dropped = 0
        rows = self._logged + fresh
        if not rows:
            return
        try:
            await self._pool.execute(ADD, *[list(column) for column in zip(*map(astuple, rows), strict=True)])
            self._logged = []
        except asyncpg.DataError as error:
            self._log(fresh, error)
            LOST.inc(len(rows))
            self._logged = []
        except DATABASE_ERRORS as error:
            self._log(fresh, error)
            LOST.inc(max(0, len(rows) - MOST_HELD))
            self._logged = rows[-MOST_HELD:]
        except BaseException:  # cancelled: they are written at the end
            self._fresh = fresh + self._fresh
            raise

    def _log(self, entries: list[Entry], error: Exception) -> None:
        for entry in entries:
            fields: dict[str, Any] = asdict(entry) | {"at": entry.at.isoformat()}
            logger.warning("audit_unwritten", error=repr(error), **fields)
