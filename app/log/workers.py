"""Heartbeats of trainer workers and what was decided about them, on the compacted workers topic."""

from __future__ import annotations

from typing import Literal

import msgspec
import structlog
from msgspec import Struct

from app.log import topics
from app.log.codec import encode, headers, where
from app.log.port import Received, Record

Drain = Literal["hand_back", "finish"]
CONTROL = "!control"  # behind the worker's name: the key of its control record

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


class Control(Struct, frozen=True):
    """What the operator or the scheduler decided about a worker; it gets no work while either stands.

    `drain`: what becomes of the attempts on it, which are handed back or may finish; until the operator takes
    it back. `set_aside` is why attempts failed alike there, and stands for one `session` of the worker.
    """

    worker: str
    drain: Drain | None = None
    set_aside: str | None = None
    session: str | None = None

    def keeps_out(self, session: str) -> bool:
        """Whether the worker gets no work in this session."""
        return self.drain is not None or self.is_set_aside(session)

    def is_set_aside(self, session: str) -> bool:
        """Whether it is set aside in this session: a new one of the worker is given another chance."""
        return self.set_aside is not None and self.session == session


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
    if received.value is None or (received.key or "").endswith(CONTROL):
        return None
    try:
        return msgspec.json.decode(received.value, type=Heartbeat)
    except msgspec.DecodeError as error:
        logger.warning("heartbeat_unreadable", error=f"{where(received)}: {error}")
        return None


def control_record(control: Control) -> Record:
    """A control record, ready to be sent; without a value when nothing is decided any more."""
    key = control.worker + CONTROL
    attributes = headers(
        id=key, type="tunesmith.worker.control.v1", source="/tunesmith/workers", subject=control.worker
    )
    stands = control.drain is not None or control.set_aside is not None
    return Record(topics.WORKERS, key, encode(control) if stands else None, attributes)


def read_control(received: Received) -> Control | None:
    """What a control record says now; None for what is none, or cannot be read."""
    key = received.key or ""
    if not key.endswith(CONTROL):
        return None
    if received.value is None:
        return Control(key.removesuffix(CONTROL))
    try:
        return msgspec.json.decode(received.value, type=Control)
    except msgspec.DecodeError as error:
        logger.warning("control_unreadable", error=f"{where(received)}: {error}")
        return None
