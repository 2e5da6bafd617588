"""States that another version of the code folded, folded anew from the events."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec
import structlog
from msgspec.structs import replace

from app.domain.decider import Decider
from app.log import bounds, topics
from app.log.aggregates import Aggregate, state_record
from app.log.codec import encode, read_event
from app.log.port import Log, LogError, Partition, Start, TransactionalWriter, batches_from

logger = structlog.get_logger("command_handler")


class NotFolded(LogError):
    """The events do not lead to what the state topic knows: the log is not whole."""


async def fold_anew(
    log: Log, writer: TransactionalWriter, decider: Decider, index: int, old: Mapping[str, bytes]
) -> dict[str, bytes]:
    """Fold these aggregates' states from the events, and put them back to stay. Raises `NotFolded`.

    What an aggregate holds beside its state (version, chain, latest commands) is kept as it is.
    """
    kept = {id: msgspec.json.decode(value, type=Aggregate) for id, value in old.items()}
    folded = await _folded(log, decider, index, kept.keys())
    values: dict[str, bytes] = {}
    for id, aggregate in kept.items():
        version, chain, state = folded.get(id, (0, "", None))
        if (version, chain) != (aggregate.version, aggregate.chain):
            known = f"the state topic knows version {aggregate.version} of {id}"
            raise NotFolded(f"{known}, its events lead to version {version}: run `log verify`")
        values[id] = encode(replace(aggregate, state=state))
    records = [state_record(decider, id, value, index) for id, value in values.items()]
    for first in range(0, len(records), bounds.STATES_A_TRANSACTION):
        await writer.commit(records[first : first + bounds.STATES_A_TRANSACTION])
    logger.info("states_folded_anew", stream=decider.stream, partition=index, aggregates=len(values))
    return values


async def _folded(
    log: Log, decider: Decider, index: int, ids: Collection[str]
) -> dict[str, tuple[int, str, Any]]:
    """Version, chain and state of each of these aggregates."""
    found: dict[str, tuple[int, str, Any]] = {}
    events = Partition(topics.events(decider.stream), index)
    async for batch in batches_from(log, {events: Start.FIRST}):
        for received in batch:
            if received.key in ids:
                event = read_event(decider, received)
                _, _, before = found.get(event.aggregate_id, (0, "", None))
                state = decider.evolve(before, event.body, event.recorded)
                found[event.aggregate_id] = (event.version, event.chain, state)
    return found
