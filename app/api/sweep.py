"""Operational rows that are too old, deleted."""

from __future__ import annotations

import asyncio

import asyncpg
import structlog

from app.database import DATABASE_ERRORS

SWEEP_SECONDS = 3600.0
AT_A_TIME = 5_000
TAKES_SECONDS = 60.0  # at most; nobody waits for it

AUDIT = """
DELETE FROM ops.audit WHERE id IN (
    SELECT id FROM ops.audit WHERE at < clock_timestamp() - make_interval(days => $1) LIMIT $2)
"""
ANSWERS = """
DELETE FROM ops.idempotency WHERE (account_id, key) IN (
    SELECT account_id, key FROM ops.idempotency WHERE expires_at < clock_timestamp() LIMIT $1)
"""

logger = structlog.get_logger("api")


async def keep_swept(pool: asyncpg.Pool, audit_days: int) -> None:
    """Sweep now and every hour, for ever."""
    while True:
        try:
            await sweep(pool, audit_days)
        except DATABASE_ERRORS as error:
            logger.warning("sweep_interrupted", error=repr(error))
        await asyncio.sleep(SWEEP_SECONDS)


async def sweep(pool: asyncpg.Pool, audit_days: int) -> None:
    """Delete audit rows older than so many days (0: none), and answers that are no more to be repeated."""
    if audit_days:
        while (
            await pool.execute(AUDIT, audit_days, AT_A_TIME, timeout=TAKES_SECONDS) == f"DELETE {AT_A_TIME}"
        ):
            pass
    while await pool.execute(ANSWERS, AT_A_TIME, timeout=TAKES_SECONDS) == f"DELETE {AT_A_TIME}":
        pass
