"""What a reader remembers to drop repeats, stop on gaps and check hashes: each aggregate's last event."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

FIRST_CHAIN = "0" * 64
CHAINED = (
    "ce_specversion",
    "ce_id",
    "ce_type",
    "ce_source",
    "ce_subject",
    "ce_time",
    "ce_sequence",
    "ce_causationid",
    "ce_correlationid",
    "ce_actor",
)


class StreamError(Exception):
    """The log is not what it should be; `place` names the record, as `topic[partition]@offset`."""

    def __init__(self, message: str, place: str = "") -> None:
        super().__init__(f"{place}: {message}" if place else message)
        self.place = place


class GapError(StreamError):
    """An event is missing: `found` came where `expected` was due. Nothing was skipped; nothing is read on."""

    def __init__(self, place: str, aggregate_id: str, expected: int, found: int) -> None:
        super().__init__(f"version {found} of {aggregate_id} follows version {expected - 1}", place)
        self.aggregate_id, self.expected, self.found = aggregate_id, expected, found


class ChainError(StreamError):
    """An event's hash does not follow from the one before it and its own content."""


@dataclass(frozen=True)
class Last:
    """The last event seen of an aggregate; `chain` is None where it is not known."""

    version: int
    chain: str | None


class Histories:
    """The last event of up to `remembered` aggregates, the least recently seen forgotten first.

    Of an aggregate that is not remembered `last_version` is asked, if given; else it must begin at 1, or,
    when `from_beginning` is false or something was forgotten, wherever it is first seen.
    """

    def __init__(
        self, remembered: int, from_beginning: bool, last_version: Callable[[str], int | None] | None
    ) -> None:
        self._remembered, self._complete, self._last_version = remembered, from_beginning, last_version
        self._known: OrderedDict[str, Last] = OrderedDict()

    def take(
        self,
        place: str,
        aggregate_id: str,
        version: int,
        headers: Mapping[str, bytes],
        value: bytes,
        verify: bool,
    ) -> bool:
        """Whether an event is new. Raises `GapError` or `ChainError`."""
        last = self._known.get(aggregate_id) or self._unknown(aggregate_id, version)
        if version <= last.version:
            return False
        if version != last.version + 1:
            raise GapError(place, aggregate_id, last.version + 1, version)
        chain = headers["ce_chain"].decode()
        if verify and last.chain is not None and chain_hash(last.chain, headers, value) != chain:
            raise ChainError(f"the chain of {aggregate_id} is broken at version {version}", place)
        self._known[aggregate_id] = Last(version, chain)
        self._known.move_to_end(aggregate_id)
        if len(self._known) > self._remembered:
            self._known.popitem(last=False)
            self._complete = False
        return True

    def _unknown(self, aggregate_id: str, version: int) -> Last:
        if self._last_version is not None:
            stored = self._last_version(aggregate_id) or 0
            return Last(stored, None if stored else FIRST_CHAIN)
        if self._complete or version == 1:
            return Last(0, FIRST_CHAIN)
        return Last(version - 1, None)


def chain_hash(before: str, headers: Mapping[str, bytes], value: bytes) -> str:
    """SHA-256, in hex, over the hash before, these headers and the value, each preceded by `<length>:`."""
    digest = hashlib.sha256()
    for part in (before.encode(), *(headers[name] for name in CHAINED), value):
        digest.update(b"%d:" % len(part) + part)
    return digest.hexdigest()
