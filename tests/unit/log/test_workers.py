"""Heartbeats, and what is none."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.log.port import Partition, Received
from app.log.topics import WORKERS
from app.log.workers import Device, Heartbeat, Slot, heartbeat_record, read_heartbeat

BEAT = Heartbeat("w", "s", 1, (Slot(0, Device("cpu", "a cpu", 1)),))


def received(key: str, value: bytes | None) -> Received:
    return Received(Partition(WORKERS, 0), 0, datetime(2026, 11, 23, tzinfo=UTC), key, value, ())


def test_a_heartbeat_comes_back_as_it_was() -> None:
    record = heartbeat_record(BEAT)
    assert read_heartbeat(received(record.key or "", record.value)) == BEAT


@pytest.mark.parametrize(
    ("key", "value"),
    [("w", None), ("w!control", b"{}"), ("w", b"garbage"), ("w", b'{"worker": 1}'), ("w", b"")],
)
def test_what_is_no_heartbeat_harms_nobody(key: str, value: bytes | None) -> None:
    assert read_heartbeat(received(key, value)) is None
