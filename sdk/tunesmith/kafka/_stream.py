"""The stream of events, as an async iterator over the committed records of one event topic."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any

from tunesmith._resource import Resource
from tunesmith.kafka._events import KINDS, Event
from tunesmith.kafka._history import CHAINED, Histories, StreamError

if sys.version_info >= (3, 11):
    from typing import Self
else:
    from typing_extensions import Self

try:
    from aiokafka import AIOKafkaConsumer, TopicPartition
    from aiokafka.conn import create_conn
    from aiokafka.errors import (
        AuthenticationFailedError,
        ClusterAuthorizationFailedError,
        IllegalSaslStateError,
        KafkaError,
        SaslAuthenticationFailed,
        TopicAuthorizationFailedError,
        UnsupportedSaslMechanismError,
    )
except ImportError as error:
    raise ImportError('tunesmith.kafka needs aiokafka: pip install "tunesmith[kafka]"') from error

STREAMS = ("tunings", "files", "models", "accounts")
FIRST_BACKOFF = 0.2
LONGEST_BACKOFF = 15.0
REFUSED = (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    IllegalSaslStateError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)


class EventStream:
    """Events of one stream, in the order of each aggregate: an async context manager and iterator.

    Reading never changes anything on the brokers: there is no consumer group, and where to go on is the
    application's to keep. Store `event.position` with whatever the event made you write, in one transaction,
    and every event takes effect exactly once.

    Args:
        bootstrap: The brokers, as `host:port`, comma separated.
        stream: `tunings`, `files`, `models` or `accounts`.
        position: An earlier event's `position`; None reads from the log's beginning.
        last_version: Gives the version of an aggregate that the application has stored, None if it has
            none; a dict's `get` will do. With it gaps and repeats are found across restarts too; without it a
            resumed reader takes an aggregate's first event as it comes.
        follow: Go on as events come; False ends with what is there at the start.
        unknown: Also yield events of types that this version does not know.
        verify: Check every event's hash, once the one before it was seen.
        remembered: Aggregates whose last version is kept in memory, about 300 bytes each.
        kafka: Further options of `aiokafka.AIOKafkaConsumer`, for TLS and SASL above all:
            `security_protocol`, `ssl_context`, `sasl_mechanism`, `sasl_plain_username`,
            `sasl_plain_password`.

    Raises (while iterating):
        GapError: An event is missing.
        ChainError: An event was changed.
        StreamError: A record is no event, or `position` belongs to another stream.
    """

    def __init__(
        self,
        bootstrap: str,
        stream: str = "tunings",
        *,
        position: str | None = None,
        last_version: Callable[[str], int | None] | None = None,
        follow: bool = True,
        unknown: bool = False,
        verify: bool = False,
        remembered: int = 100_000,
        **kafka: Any,
    ) -> None:
        if stream not in STREAMS:
            raise ValueError(f"stream must be one of {', '.join(STREAMS)}, not {stream!r}")
        self._topic = f"tunesmith.{stream}.events.v1"
        self._options = {"bootstrap_servers": bootstrap} | kafka
        self._next, self._passed = _place(self._topic, position)
        self._histories = Histories(remembered, not self._next, self._stored(last_version))
        self._follow, self._unknown, self._verify = follow, unknown, verify
        self._consumer: AIOKafkaConsumer | None = None
        self._ends: dict[TopicPartition, int] | None = None

    @property
    def position(self) -> str:
        """Where the stream is: behind the last event that was yielded or passed over."""
        place: dict[str, Any] = {"topic": self._topic, "next": self._next}
        return json.dumps(place | ({"passed": self._passed} if self._passed else {}))

    def _stored(self, last_version: Callable[[str], int | None] | None) -> Callable[[str], int | None] | None:
        """What the application has stored, or what was passed over behind that."""
        if last_version is None:
            return None
        passed = dict(self._passed)
        return lambda id: max(last_version(id) or 0, passed.get(id, 0))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Leave the brokers."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()

    async def __aiter__(self) -> AsyncIterator[Event]:
        backoff = FIRST_BACKOFF
        while True:
            try:
                records = await self._fetch()
                backoff = FIRST_BACKOFF
            except REFUSED as error:
                raise StreamError(f"the brokers refuse to be read: {error}") from error
            except (KafkaError, OSError):
                await self._check_user()
                await self.close()
                await asyncio.sleep(backoff * random.uniform(0.5, 1.5))
                backoff = min(LONGEST_BACKOFF, backoff * 2)
                continue
            for record in records:
                event = self._read(record)
                if event is not None:
                    yield event
            if self._ends is not None and await self._at_end():
                return

    async def _fetch(self) -> list[Any]:
        if self._consumer is None:
            self._consumer = await self._connected()
        found = await self._consumer.getmany(timeout_ms=500)
        return [record for records in found.values() for record in records]

    async def _connected(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            **self._options,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        try:
            await consumer.start()
            if self._topic not in await consumer.topics():
                raise StreamError(f"the brokers have no topic {self._topic}, or do not show it to this user")
            first = TopicPartition(self._topic, 0)
            consumer.assign([first])  # only of what is assigned the partitions are known
            await consumer.end_offsets([first])
            numbers = sorted(consumer.partitions_for_topic(self._topic) or {0})
            partitions = [TopicPartition(self._topic, number) for number in numbers]
            consumer.assign(partitions)
            for partition in partitions:
                if str(partition.partition) in self._next:
                    consumer.seek(partition, self._next[str(partition.partition)])
                else:
                    await consumer.seek_to_beginning(partition)
            if not self._follow and self._ends is None:
                self._ends = await consumer.end_offsets(partitions)
        except BaseException:
            await consumer.stop()
            raise
        return consumer

    async def _check_user(self) -> None:
        """Refused for its password, aiokafka only says that it found no broker: ask one by hand."""
        asked = {
            name: value for name, value in self._options.items() if name.startswith(("sasl_", "sec", "ssl"))
        }
        if "sasl_mechanism" not in asked:
            return
        host, _, port = str(self._options["bootstrap_servers"]).split(",")[0].rpartition(":")
        try:
            connection = await create_conn(host, int(port), **asked)
        except REFUSED as error:
            raise StreamError(f"the brokers refuse to be read: {error}") from error
        except (KafkaError, OSError, asyncio.TimeoutError):
            return
        connection.close()

    async def _at_end(self) -> bool:
        assert self._ends is not None
        if self._consumer is None:
            return False
        return all([await self._consumer.position(one) >= end for one, end in self._ends.items()])

    def _read(self, record: Any) -> Event | None:
        """The event in a record; None for a repeat, and for what is not asked for."""
        place = f"{record.topic}[{record.partition}]@{record.offset}"
        headers = dict(record.headers)
        missing = [name for name in (*CHAINED, "ce_chain") if name not in headers]
        if missing:
            raise StreamError(f"the record has no header {missing[0]}", place)
        try:
            text = {name: headers[name].decode() for name in (*CHAINED, "ce_chain")}
            version = int(text["ce_sequence"])
            time = datetime.fromisoformat(text["ce_time"].replace("Z", "+00:00"))
            data = json.loads(record.value)
        except (ValueError, TypeError) as error:
            raise StreamError(f"the record is no event: {error}", place) from error
        subject, wire_type = text["ce_subject"], text["ce_type"]
        new = self._histories.take(place, subject, version, headers, record.value, self._verify)
        self._next[str(record.partition)] = record.offset + 1
        kind = KINDS.get(wire_type)
        if not new:
            return None
        if kind is None and not self._unknown:
            self._passed[subject] = version  # the application stores nothing of it
            return None
        self._passed.pop(subject, None)
        return Event(
            id=text["ce_id"],
            type=wire_type.split(".")[-2],
            wire_type=wire_type,
            aggregate_id=subject,
            version=version,
            time=time,
            actor=text["ce_actor"],
            causation_id=text["ce_causationid"],
            correlation_id=text["ce_correlationid"],
            chain=text["ce_chain"],
            data=(kind or Resource)(data),
            position=self.position,
        )


def _place(topic: str, position: str | None) -> tuple[dict[str, int], dict[str, int]]:
    """The next offset of each partition, and the versions that were passed over last."""
    if position is None:
        return {}, {}
    try:
        stored = json.loads(position)
        offsets = {str(int(partition)): int(offset) for partition, offset in stored["next"].items()}
        passed = {str(id): int(version) for id, version in stored.get("passed", {}).items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StreamError(f"{position!r} is no position of an event stream") from error
    if stored.get("topic") != topic:
        raise StreamError(f"the position belongs to {stored.get('topic')}, not to {topic}")
    return offsets, passed
