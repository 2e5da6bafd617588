"""A batch of commands decided: everything that one transaction will hold, and the states after it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from app.domain.decider import Accepted, Context, Decider, Recorded, Rejection
from app.log import bounds, topics
from app.log.aggregates import (
    CURSOR_KEY,
    Aggregate,
    Cursor,
    Decided,
    read_aggregate,
    state_record,
)
from app.log.codec import (
    Command,
    Reply,
    Undecodable,
    encode,
    event_record,
    read_command,
    reply_record,
)
from app.log.port import Received, Record
from app.log.work import order_record

logger = structlog.get_logger("command_handler")


class Batch(Struct, frozen=True):
    """Records of one transaction; `states` are the touched aggregates, encoded, to adopt after the commit."""

    records: list[Record]
    states: dict[str, bytes]
    next_offset: int


async def decide_batch(
    decider: Decider, states: Mapping[str, bytes], commands: Sequence[Received], replies: int
) -> Batch:
    """Decide `commands`, taken in order from one partition, on copies of the states they touch.

    `replies` is the partition count of the replies topic. A command that cannot be read or decided, or
    whose events the log would not take, is refused, and leaves the others of its batch unharmed.
    Every `bounds.TURN` commands the event loop gets its turn: there the batch before is being committed.
    """
    partition = commands[0].partition.number
    touched: dict[str, Aggregate] = {}
    records: list[Record] = []
    for place, received in enumerate(commands, start=1):
        if place % bounds.TURN == 0:
            await asyncio.sleep(0)
        try:
            command = read_command(decider, received)
        except Undecodable as error:
            logger.warning("command_undecodable", error=str(error))
            if (refusal := _refusal(received, str(error))) is not None:
                records.append(reply_record(refusal, noun=decider.noun, partition=partition % replies))
            continue
        before = touched.get(command.aggregate_id) or _aggregate(decider, states, command.aggregate_id)
        try:
            after, made, reply = _decide_one(decider, before, command, partition)
        except Exception:  # whatever it is, it must not stop all the commands behind it
            logger.critical("decision_broke", command_id=command.id, exc_info=True)
            after, made = before, []
            reply = _refused(command, before, "internal_error", "the command could not be decided")
        if _too_large(made, reply):
            after, made = before, []
            reply = _refused(
                command, before, "too_large", "the command makes a record larger than the log takes"
            )
        if after is not before:
            touched[command.aggregate_id] = after
        records += made
        records.append(reply_record(reply, noun=decider.noun, partition=partition % replies))
    encoded = {id: encode(aggregate) for id, aggregate in touched.items()}
    state_topic, next_offset = topics.state(decider.stream), commands[-1].offset + 1
    records += [state_record(decider, id, value, partition) for id, value in encoded.items()]
    records.append(Record(state_topic, CURSOR_KEY, encode(Cursor(next_offset)), partition=partition))
    return Batch(records, encoded, next_offset)


def _too_large(made: Sequence[Record], reply: Reply) -> bool:
    """Whether a record, or the state after it, would not fit; the reply holds what the state topic will."""
    largest = max([len(reply.state), *[len(record.value or b"") for record in made]])
    return largest > bounds.LARGEST_RECORD_BYTES - bounds.ROOM_BESIDE


def _aggregate(decider: Decider, states: Mapping[str, bytes], id: str) -> Aggregate:
    kept = states.get(id)
    return read_aggregate(decider, kept) if kept is not None else Aggregate(id)


def _decide_one(
    decider: Decider, aggregate: Aggregate, command: Command, partition: int
) -> tuple[Aggregate, list[Record], Reply]:
    """The aggregate after a command, the records it makes, and the reply to it."""
    if (earlier := aggregate.decided(command.id)) is not None:
        return aggregate, [], _accepted(command, aggregate, earlier.version, repeated=True)
    at = max(command.at, aggregate.at) if aggregate.at else command.at
    context = Context(command.id, command.aggregate_id, command.actor, at)
    decision = decider.decide(aggregate.state, command.body, context)
    orders = [order_record(order, command) for order in decision.orders]
    if isinstance(decision, Rejection):
        logger.info(
            "command_rejected",
            command_id=command.id,
            command=type(command.body).__name__,
            aggregate_id=command.aggregate_id,
            request_id=command.correlation_id,
            code=decision.code,
            reason=decision.message,
        )
        return (
            aggregate,
            orders,
            _refused(command, aggregate, decision.code, decision.message, decision.param),
        )
    after, records = _evolve(decider, aggregate, command, decision, at, partition)
    recent = (*after.recent, Decided(command.id, after.version))[-bounds.REMEMBERED_COMMANDS :]
    after = replace(after, recent=recent)
    return after, records + orders, _accepted(command, after, after.version)


def _evolve(
    decider: Decider, aggregate: Aggregate, command: Command, decision: Accepted, at: Any, partition: int
) -> tuple[Aggregate, list[Record]]:
    version, chain, state = aggregate.version, aggregate.chain, aggregate.state
    records: list[Record] = []
    for body in decision.events:
        version += 1
        record, chain = event_record(
            decider, command=command, version=version, at=at, chain=chain, body=body, partition=partition
        )
        state = decider.evolve(state, body, Recorded(command.aggregate_id, version, at))
        records.append(record)
        happened = f"{decider.noun}_{decider.wire_type(body).split('.')[2]}"
        logger.info(
            happened,
            id=command.aggregate_id,
            version=version,
            command_id=command.id,
            request_id=command.correlation_id,
            actor=command.actor,
        )
    return replace(aggregate, version=version, chain=chain, state=state, at=at), records


def _accepted(command: Command, aggregate: Aggregate, version: int, *, repeated: bool = False) -> Reply:
    state = msgspec.Raw(encode(aggregate.state))
    return Reply(command.id, command.aggregate_id, True, version, repeated, state)


def _refused(
    command: Command, aggregate: Aggregate, code: str, message: str, param: str | None = None
) -> Reply:
    return Reply(
        command.id, command.aggregate_id, False, aggregate.version, code=code, message=message, param=param
    )


def _refusal(received: Received, message: str) -> Reply | None:
    """The answer to a command that cannot be read; None when it does not even say who asks."""
    command_id, subject = received.header("ce_id"), received.header("ce_subject")
    if command_id is None or subject is None:
        return None
    return Reply(command_id, subject, False, 0, code="malformed_command", message=message)
