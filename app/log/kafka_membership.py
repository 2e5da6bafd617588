"""Who owns which command partition: a group member that is paused and polled, and never reads a record."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError, NoError, RebalanceInProgressError
from aiokafka.protocol.group import HeartbeatRequest

from app.log import bounds
from app.log.kafka_clients import started, stopped
from app.log.port import Partition, Unavailable

logger = structlog.get_logger("log")


class KafkaMembership(ConsumerRebalanceListener):  # type: ignore[misc]
    """A member of a group. Its committed offsets are of no account."""

    def __init__(self, group: str, topics: tuple[str, ...], common: Mapping[str, Any]) -> None:
        self._group, self._topics, self._common = group, topics, common
        self._consumer: AIOKafkaConsumer | None = None
        self._polling: asyncio.Task[None] | None = None
        self._owned: frozenset[Partition] = frozenset()
        self._settled = False
        self._generation = 0
        self._told = -1
        self._news = asyncio.Event()
        self._failure: BaseException | None = None

    async def start(self) -> None:
        """Join the group. Raises `Unavailable`."""
        self._consumer = AIOKafkaConsumer(
            **self._common,
            group_id=self._group,
            enable_auto_commit=False,
            session_timeout_ms=bounds.SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=bounds.HEARTBEAT_INTERVAL_MS,
            rebalance_timeout_ms=bounds.REBALANCE_TIMEOUT_MS,
        )
        self._consumer.subscribe(self._topics, listener=self)
        await started(self._consumer, f"let {self._group} be joined", self._common)
        self._polling = asyncio.create_task(self._poll(self._consumer))

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """What is assigned next tells what was lost; until then nobody takes anything anew."""
        self._settled = False
        if revoked:
            logger.info("assigned_anew_soon", group=self._group, partitions=len(revoked))

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        assert self._consumer is not None
        self._consumer.pause(*assigned)  # a pause does not outlive a rebalance
        self._settled = True
        self._tell(frozenset(Partition(*one) for one in assigned))

    def _tell(self, owned: frozenset[Partition]) -> None:
        self._owned, self._generation = owned, self._generation + 1
        self._news.set()

    async def _poll(self, consumer: AIOKafkaConsumer) -> None:
        """aiokafka drops a member that is never polled, without a word."""
        try:
            while True:
                await consumer.getmany(timeout_ms=int(bounds.MEMBER_POLL_SECONDS * 1000))
        except KafkaError as error:
            self._failure = error
            self._tell(frozenset())

    async def changed(self) -> frozenset[Partition]:
        while self._told == self._generation:
            self._news.clear()
            if self._failure is not None:
                raise Unavailable(f"the group {self._group} was lost: {self._failure!r}")
            await self._news.wait()
        self._told = self._generation
        return self._owned

    async def holds(self, partition: Partition) -> bool:
        consumer = self._consumer
        if consumer is None or not self._settled or partition not in self._owned:
            return False
        coordinator = consumer._coordinator
        beat = HeartbeatRequest(self._group, coordinator.generation, coordinator.member_id)
        try:
            async with asyncio.timeout(bounds.ANSWER_WITHIN):
                code = (await coordinator._send_req(beat)).error_code
        except (KafkaError, OSError, TimeoutError) as error:
            raise Unavailable(f"the group {self._group} does not answer: {error!r}") from error
        # While the group is rebalanced, who is in it keeps what it has.
        heard = code in (NoError.errno, RebalanceInProgressError.errno)
        return heard and self._settled and partition in self._owned

    async def rejoin(self) -> None:
        await self._leave()
        self._failure = None
        self._tell(frozenset())
        await self.start()

    async def publish(self, positions: Mapping[Partition, int]) -> None:
        ours = {TopicPartition(*one): offset for one, offset in positions.items() if one in self._owned}
        if self._consumer is None or not ours:
            return
        try:
            async with asyncio.timeout(bounds.PUBLISH_WITHIN):
                await self._consumer.commit(ours)
        except (KafkaError, OSError, TimeoutError) as error:
            logger.debug("lag_not_published", group=self._group, error=repr(error))

    async def close(self) -> None:
        await self._leave()

    async def _leave(self) -> None:
        if self._polling is not None:
            self._polling.cancel()
            with suppress(asyncio.CancelledError):
                await self._polling
            self._polling = None
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            await stopped(consumer)
