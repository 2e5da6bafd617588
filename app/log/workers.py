"""Heartbeats of trainer workers, on the compacted workers topic."""

from __future__ import annotations

import msgspec
import structlog
from msgspec import Struct

from app.log import topics
from app.log.codec import encode, headers, where
from app.log.port import Received, Record

logger = structlog.get_logger("log")


class Device(Struct, frozen=True):
    """What a slot computes on; memory in bytes, its part of it where several slots share a device.

    `id` is what CUDA is told to see; `driver` and `cuda` are versions, empty on a CPU.
    """

    kind: str
    name: str
    memory: int
    driver: str = ""
    cuda: str = ""
    id: str = ""


class Occupant(Struct, frozen=True):
    """The attempt that holds a slot, and how far it is: a lease is progress.

    `detail` is how far it is within a phase without steps, in words, as of a model that is fetched.
    `seconds_left` is what the child said with its last step; None before the first one.
    """

    tuning_id: str
    attempt: int
    phase: str = "loading"
    step: int = 0
    seconds_left: float | None = None
    detail: str = ""


class Slot(Struct, frozen=True):
    """A place for one attempt."""

    index: int
    device: Device
    occupant: Occupant | None = None


class Heartbeat(Struct, frozen=True):
    """A worker's word that it lives. `session` is new at each start of its process, `beat` counts up."""

    worker: str
    session: str
    beat: int
    slots: tuple[Slot, ...]
    draining: bool = False
    version: str = ""


def heartbeat_record(heartbeat: Heartbeat) -> Record:
    """A heartbeat, ready to be sent."""
    attributes = headers(
        id=f"{heartbeat.session}:{heartbeat.beat}",
        type="tunesmith.worker.heartbeat.v1",
        source="/tunesmith/trainer-worker",
        subject=heartbeat.worker,
    )
    return Record(topics.WORKERS, heartbeat.worker, encode(heartbeat), attributes)


def read_heartbeat(received: Received) -> Heartbeat | None:
    """The heartbeat in a record; None for what is none: tombstones, control records, what cannot be read."""
    if received.value is None or (received.key or "").endswith("!control"):
        return None
    try:
        return msgspec.json.decode(received.value, type=Heartbeat)
    except msgspec.DecodeError as error:
        logger.warning("heartbeat_unreadable", error=f"{where(received)}: {error}")
        return None
