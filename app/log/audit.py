"""The audit of a whole log: what must be true of it, and the first record of each kind for which it is not.

It runs while writes go on. A transaction appends events, states and replies at once, so what is kept
elsewhere is read first and the events after it: they hold at least all that was kept. The other way round,
events that were there before are held against what is kept: nothing of them may be missing.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from app.domain.decider import Decider
from app.log import bounds, topics
from app.log.aggregates import Aggregate, of_this_schema, read_aggregate
from app.log.codec import (
    FIRST_CHAIN,
    Envelope,
    Event,
    Undecodable,
    chain_hash,
    encode,
    read_envelope,
    read_event,
    where,
)
from app.log.port import Log, Partition, Received, all_partitions, batches_of, begins_of, ends_of

LONG_AGO = datetime.min.replace(tzinfo=UTC)
A_TRANSACTION = timedelta(milliseconds=bounds.TRANSACTION_TIMEOUT_MS)
LONG_HENCE = datetime.max.replace(tzinfo=UTC)


class Kept(Struct, frozen=True):
    """An aggregate as something keeps it: `place` names that; `chain` is None where none is kept.

    `history` is the digest of the events as they are kept there, None where they are not.
    `foreign`: another version of the code folded the state, which is not compared.
    `accepted`: the latest commands that were accepted, those without events among them.
    """

    id: str
    version: int
    state: Any
    place: str
    chain: str | None = None
    history: str | None = None
    foreign: bool = False
    accepted: tuple[str, ...] = ()
    partition: int = 0


def as_it_is(id: str, version: int, state: Any) -> Any:
    """What a copy keeps that holds the very state."""
    return state


class Copy(Struct, frozen=True):
    """All that one place keeps of a stream; it claims to know the events up to the offsets `known_to`.

    `shape(id, version, state)` is how the place holds an aggregate.
    """

    place: str
    aggregates: dict[str, Kept]
    known_to: Mapping[Partition, int]
    shape: Callable[[str, int, Any], Any] = as_it_is


class Audit(Struct, frozen=True):
    """How much was read, and the first wrong record of each kind, as sentences."""

    events: int
    aggregates: int
    replies: int
    wrong: dict[str, str]


class Folded(Struct):
    """An aggregate as its events make it; `unknown` once one of them could not be folded."""

    version: int = 0
    chain: str = FIRST_CHAIN
    state: Any = None
    ended: bool = False
    history: str = ""
    unknown: bool = False


def history_digest(before: str, version: int, type: str, at: datetime, actor: str, body: bytes) -> str:
    """The digest of an aggregate's events up to this one; `before` is that of the events before it."""
    parts = (before, version, type, at, actor)
    return hashlib.sha256(msgspec.json.encode(parts) + body).hexdigest()


async def audit(log: Log, deciders: Iterable[Decider], copies: Mapping[str, list[Copy]]) -> Audit:
    """Read every event; hold it against chain, state topics, replies, and these copies by stream."""
    wrong: dict[str, str] = {}
    events = aggregates = 0
    accepted: dict[str, str] = {}
    replies = Replies(await log.partition_count(topics.REPLIES))
    await replies.read_on(log)
    for decider in deciders:
        before = await ends_of(log, await all_partitions(log, topics.events(decider.stream)))
        states = await _states(log, decider, before)
        for kept in states.aggregates.values():
            if replies.since(kept.partition) == LONG_AGO:
                accepted |= dict.fromkeys(kept.accepted, f"was accepted by {kept.id}")
        auditor = Auditor(decider, [states, *copies.get(decider.stream, [])], wrong)
        count = 0
        async for batch in batches_of(log, topics.events(decider.stream)):
            count += len(batch)
            for received in batch:
                event = auditor.take(received)
                if event is not None and received.at >= replies.since(received.partition.number):
                    accepted.setdefault(event.causation_id, f"made {event.id}")
        auditor.finish()
        events, aggregates = events + count, aggregates + len(auditor.folded)
    # Replies that came while the events were read belong to some of them.
    await replies.read_on(log)
    for command, what in accepted.items():
        if (found := replies.accepting[command]) != 1:
            wrong.setdefault("reply", f"command {command} {what} and has {found} replies, not 1")
    return Audit(events, aggregates, replies.accepting.total(), wrong)


class Auditor:
    """One stream's events in order, held against everything that is kept of them."""

    def __init__(self, decider: Decider, copies: Iterable[Copy], wrong: dict[str, str]) -> None:
        self._decider, self._copies, self._wrong = decider, list(copies), wrong
        self._histories = any(
            kept.history is not None for copy in self._copies for kept in copy.aggregates.values()
        )
        self.folded: dict[str, Folded] = {}

    def take(self, received: Received) -> Envelope | None:
        """Hold one event against what came before it, and against whoever keeps its aggregate so."""
        event = self._read(received)
        if event is None:
            return None
        folded = self.folded.setdefault(event.aggregate_id, Folded())
        if event.version != folded.version + 1:
            known = f"{event.aggregate_id} is at version {folded.version}, then comes {event.id}"
            self._tell("version", f"{where(received)}: {known}")
        if chain_hash(folded.chain, received.headers, received.value or b"") != event.chain:
            self._tell("chain", f"{where(received)}: the chain is broken at {event.id}")
        if folded.ended:
            self._tell("terminal", f"{where(received)}: {event.id} comes after the end of its aggregate")
        folded.version, folded.chain = event.version, event.chain
        self._fold(folded, event, received)
        for copy in self._copies:
            self._compare(copy, event, folded, received)
        return event

    def _read(self, received: Received) -> Envelope | None:
        """The event; if it cannot be decoded, what its headers say."""
        try:
            return read_event(self._decider, received)
        except Undecodable as error:
            self._tell("event", str(error))
        try:
            return read_envelope(received)
        except Undecodable:
            return None

    def _fold(self, folded: Folded, event: Envelope, received: Received) -> None:
        if not isinstance(event, Event):
            folded.unknown = True
            return
        try:
            folded.state = self._decider.evolve(folded.state, event.body, event.recorded)
        except Exception as error:  # noqa: BLE001 – a log with a wrong event is what this is for
            why = f"{event.id} cannot follow what came before it: {error!r}"
            self._tell("fold", f"{where(received)}: {why}")
            folded.unknown = True
        folded.ended = bool(getattr(folded.state, "ended", False))
        if self._histories:
            type, body = self._decider.wire_type(event.body), encode(event.body)
            folded.history = history_digest(folded.history, event.version, type, event.at, event.actor, body)

    def _compare(self, copy: Copy, event: Envelope, folded: Folded, received: Received) -> None:
        kept = copy.aggregates.get(event.aggregate_id)
        version = kept.version if kept else 0
        if version < event.version:
            if received.offset < copy.known_to.get(received.partition, 0):
                self._tell(
                    copy.place, f"{copy.place} has {event.aggregate_id} at version {version}, not {event.id}"
                )
        elif kept is not None and version == event.version:
            if kept.chain is not None and kept.chain != folded.chain:
                self._tell(copy.place, f"{kept.place} has another chain than {event.id}")
            elif folded.unknown or kept.foreign:
                return
            elif kept.state != copy.shape(event.aggregate_id, event.version, folded.state):
                self._tell(copy.place, f"{kept.place} is not what the events up to {event.id} make")
            elif kept.history not in (None, folded.history):
                self._tell(copy.place, f"{kept.place} has other events than those up to {event.id}")

    def finish(self) -> None:
        """What is kept of events that are not there: the log was cut off."""
        for copy in self._copies:
            for kept in copy.aggregates.values():
                folded = self.folded.get(kept.id, Folded())
                if kept.version > folded.version:
                    known = f"{kept.place} knows version {kept.version} of {kept.id}"
                    self._tell("cut off", f"{known}, its events end at {folded.version}")
                elif folded.version == 0:
                    self._tell(copy.place, f"{kept.place} belongs to no event")

    def _tell(self, kind: str, sentence: str) -> None:
        self._wrong.setdefault(kind, sentence)


async def _states(log: Log, decider: Decider, known_to: Mapping[Partition, int]) -> Copy:
    """What the state topic keeps: of each aggregate the last record, the others are decoded by nobody."""
    last: dict[str, Received] = {}
    async for batch in batches_of(log, topics.state(decider.stream)):
        for received in batch:
            if received.key is None or received.key.startswith("!"):
                continue
            if received.value is None:
                last.pop(received.key, None)
            else:
                last[received.key] = received
    found: dict[str, Kept] = {}
    for key, received in last.items():
        found[key] = _kept(decider, key, received)
    return Copy("the state topic", found, known_to)


def _kept(decider: Decider, key: str, received: Received) -> Kept:
    value, place, foreign = received.value or b"", where(received), not of_this_schema(decider, received)
    try:
        aggregate = msgspec.json.decode(value, type=Aggregate) if foreign else read_aggregate(decider, value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Kept(key, 0, None, place)  # nothing that anybody could go on from
    return Kept(
        key,
        aggregate.version,
        aggregate.state,
        place,
        aggregate.chain,
        foreign=foreign,
        accepted=tuple(one.command_id for one in aggregate.recent),
        partition=received.partition.number,
    )


class Answer(Struct, frozen=True):
    """As much of a reply as is audited."""

    command_id: str
    accepted: bool
    repeated: bool = False


class Replies:
    """How many first acceptances each command got, and since when none of them is missing for its age."""

    def __init__(self, partitions: int) -> None:
        self.accepting = Counter[str]()
        self._partitions = partitions
        self._since: dict[int, datetime] = {}
        self._next: dict[Partition, int] = {}

    def since(self, partition: int) -> datetime:
        """From when on the replies to commands of that partition are all kept."""
        return self._since[partition % self._partitions]

    async def read_on(self, log: Log) -> None:
        """Count the replies behind those counted before."""
        if not self._since:
            begins = await begins_of(log, await all_partitions(log, topics.REPLIES))
            self._next = begins
            # Where some were too old, the first that is left says since when; where all were, nothing does.
            # Of the transaction that it belongs to, others may have been too old.
            self._since = {one.number: LONG_HENCE if begin else LONG_AGO for one, begin in begins.items()}
        decoder = msgspec.json.Decoder(Answer)
        async for batch in batches_of(log, topics.REPLIES, self._next):
            for received in batch:
                number = received.partition.number
                self._since[number] = min(self._since[number], received.at + A_TRANSACTION)
                self._next[received.partition] = received.offset + 1
                try:
                    answer = decoder.decode(received.value or b"")
                except (msgspec.DecodeError, UnicodeDecodeError):
                    continue  # its command is without an answer, and will be told
                if answer.accepted and not answer.repeated:
                    self.accepting[answer.command_id] += 1
