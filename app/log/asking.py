"""One command, asked from a command line: sent, and its reply awaited."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import msgspec

from app.domain.decider import Decider
from app.log import topics
from app.log.codec import Reply, command_record
from app.log.port import Log, Start, Unavailable, all_partitions

REPLY_WITHIN = 20.0


async def ask(log: Log, decider: Decider, aggregate_id: str, body: Any, *, actor: str) -> Reply:
    """The reply to a command. Raises `Unavailable` when none came."""
    command_id = f"cmd-{uuid4().hex}"
    reader = await log.reader(dict.fromkeys(await all_partitions(log, topics.REPLIES), Start.END))
    try:
        writer = await log.writer()
        try:
            await writer.send(
                command_record(
                    decider,
                    id=command_id,
                    aggregate_id=aggregate_id,
                    actor=actor,
                    correlation_id=command_id,
                    source="operator",
                    body=body,
                )
            )
        finally:
            await writer.close()
        async with asyncio.timeout(REPLY_WITHIN):
            while True:
                for record in await reader.fetch(1000, 0.5):
                    if record.key == command_id:
                        return msgspec.json.decode(record.value or b"", type=Reply)
    except TimeoutError as error:
        raise Unavailable(
            f"no command handler answered within {REPLY_WITHIN:g} s; is one running?"
        ) from error
    finally:
        await reader.close()
