"""One transaction per batch by aiokafka, with its silent repetition of EndTxn made fatal.

aiokafka sends an EndTxn again when it got no answer. Sent again on the same producer epoch, the first one may
arrive late and commit what the *next* transaction has written so far. So an EndTxn is sent once; without an
answer the producer is given up, and its successor's fence settles what became of the transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import aiokafka.producer.sender as aiokafka_sender
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    IllegalOperation,
    InvalidProducerEpoch,
    InvalidTxnState,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerFenced,
)

from app.log import bounds
from app.log.kafka_clients import looked_after, looked_at, started, stopping
from app.log.kafka_refusals import REFUSALS, not_authorized
from app.log.port import Fenced, OutcomeUnknown, Record, RecordTooLarge

aiokafka_sender.BACKOFF_OVERRIDE = bounds.CONCURRENT_TRANSACTIONS_BACKOFF


class Unanswered(KafkaError):  # type: ignore[misc]
    """An EndTxn got no answer."""


class SentOnceEndTxn(aiokafka_sender.EndTxnHandler):  # type: ignore[misc]
    """Ends a transaction by one request; no answer is fatal to the producer."""

    async def do(self, node_id: int) -> bool:
        transactions = self._sender._txn_manager
        try:
            response = await self._sender.client.send(node_id, self.create_request(), group=self.group)
            backoff = self.handle_response(response)
        except (InvalidProducerEpoch, InvalidTxnState, ProducerFenced) as error:
            transactions.fatal_error(error)
            return False
        except (KafkaError, OSError) as error:
            transactions.fatal_error(Unanswered(repr(error)))
            return False
        if backoff is not None:  # an answer, and it says that nothing was done
            await asyncio.sleep(backoff)
        return backoff is None


class GuardedSender(aiokafka_sender.Sender):  # type: ignore[misc]
    """aiokafka's sender, but for the end of a transaction, and for the noise when it is lost."""

    async def _do_txn_commit(self, commit_result: bool) -> None:
        await self._message_accumulator.flush_for_commit()
        transactions = self._txn_manager
        if transactions.is_empty_transaction():
            transactions.complete_transaction()
            return
        node_id = await self._find_coordinator(
            aiokafka_sender.CoordinationType.TRANSACTION, transactions.transactional_id
        )
        await SentOnceEndTxn(self, commit_result).do(node_id)

    def _fail_all(self, task: asyncio.Task[None]) -> None:
        looked_after(self._message_accumulator)
        super()._fail_all(task)


async def open_transactional_writer(
    transactional_id: str, common: Mapping[str, Any]
) -> KafkaTransactionalWriter:
    """Start a producer, which fences every earlier one with this id and aborts what it left open."""
    producer = AIOKafkaProducer(
        **common,
        transactional_id=transactional_id,
        transaction_timeout_ms=bounds.TRANSACTION_TIMEOUT_MS,
        linger_ms=0,
        max_batch_size=bounds.LARGEST_RECORD_BYTES,
        max_request_size=bounds.LARGEST_RECORD_BYTES,
    )
    producer._sender.__class__ = GuardedSender
    await started(producer, f"fence {transactional_id}", common)
    return KafkaTransactionalWriter(producer, transactional_id)


class KafkaTransactionalWriter:
    """A transactional producer; worthless after its first error."""

    def __init__(self, producer: AIOKafkaProducer, transactional_id: str) -> None:
        self._producer = producer
        self._id = transactional_id
        self._broken = False

    async def commit(self, records: Sequence[Record]) -> list[int]:
        for record in records:
            if len(record.value or b"") > bounds.LARGEST_RECORD_BYTES:
                raise RecordTooLarge(f"{record.topic} takes {bounds.LARGEST_RECORD_BYTES} bytes a record")
        if self._broken:
            raise OutcomeUnknown(f"{self._id} was given up after an error")
        self._broken = True  # until the commit is known to have succeeded, on whatever way out
        try:
            async with asyncio.timeout(bounds.COMMIT_WITHIN):
                await self._producer.begin_transaction()
                offsets = await self._append(records)
                await self._producer.commit_transaction()
        except MessageSizeTooLargeError as error:
            raise RecordTooLarge(str(error)) from error
        except (KafkaError, IllegalOperation, OSError, TimeoutError, AssertionError) as error:
            cause = self._cause_of(error)
            if isinstance(cause, REFUSALS):
                raise not_authorized(f"commit for {self._id}", cause) from error
            if isinstance(cause, ProducerFenced | InvalidProducerEpoch):
                message = f"{self._id} was taken by another writer, or its transaction timed out"
                raise Fenced(message) from error
            raise OutcomeUnknown(f"{self._id} got no clear answer: {error!r}") from error
        self._broken = False
        return offsets

    def _cause_of(self, error: Exception) -> BaseException:
        """What was fatal to the producer; who sends after that is only told that no transaction is open."""
        end = self._producer._txn_manager.wait_for_transaction_end()
        fatal: BaseException | None = end.exception() if end.done() and not end.cancelled() else None
        return fatal or error

    async def _append(self, records: Sequence[Record]) -> list[int]:
        """Send all and await each: aiokafka would commit although one of them failed."""
        places: dict[tuple[str, int], list[int]] = {}
        for place, record in enumerate(records):
            partition = record.partition if record.partition is not None else await self._partition_of(record)
            places.setdefault((record.topic, partition), []).append(place)
        sent: list[tuple[asyncio.Future[Any], list[int]]] = []

        async def send(batch: Any, topic: str, partition: int, inside: list[int]) -> None:
            future = await self._producer.send_batch(batch, topic, partition=partition)
            future.add_done_callback(looked_at)
            sent.append((future, inside))

        for (topic, partition), members in places.items():
            batch, inside = self._producer.create_batch(), list[int]()
            for place in members:
                if not _append_to(batch, records[place]):
                    await send(batch, topic, partition, inside)
                    batch, inside = self._producer.create_batch(), []
                    _append_to(batch, records[place])
                inside.append(place)
            await send(batch, topic, partition, inside)
        written = await asyncio.gather(*(future for future, _ in sent), return_exceptions=True)
        offsets = [0] * len(records)
        for batch, (_, members) in zip(written, sent, strict=True):
            if isinstance(batch, BaseException):
                raise batch
            for step, place in enumerate(members):
                offsets[place] = batch.offset + step
        return offsets

    async def _partition_of(self, record: Record) -> int:
        """The partition that its key's hash picks."""
        known = sorted(await self._producer.partitions_for(record.topic))
        key = record.key.encode() if record.key is not None else None
        return int(self._producer._partitioner(key, known, known))

    async def close(self) -> None:
        """End the producer within a bound; what it left open is aborted by its successor or by the broker."""
        async with stopping(self._producer):
            if self._broken:
                self._producer._closed = True  # stop() would first wait for a flush that may never end
                await self._producer._sender.close()
            else:
                await self._producer.stop()


def _append_to(batch: Any, record: Record) -> bool:
    key = record.key.encode() if record.key is not None else None
    added = batch.append(timestamp=None, key=key, value=record.value, headers=list(record.headers))
    return added is not None
