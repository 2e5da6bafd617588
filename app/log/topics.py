"""Topic names, and which topics there are."""

from __future__ import annotations

import tomllib

from msgspec import Struct, convert

from app.log.resources import infra_kafka

REPLIES = "tunesmith.replies.v1"
WORK = "tunesmith.work.v1"
WORKERS = "tunesmith.workers.v1"
QUEUE = "tunesmith.queue.v1"
METRICS = "tunesmith.metrics.v1"


def commands(stream: str) -> str:
    """The topic that a stream's commands are sent to."""
    return f"tunesmith.{stream}.commands.v1"


def events(stream: str) -> str:
    """The topic that a stream's events lie on."""
    return f"tunesmith.{stream}.events.v1"


def state(stream: str) -> str:
    """The compacted topic of a stream's aggregates, as the command handler last left them."""
    return f"tunesmith.{stream}.state.v1"


class Topic(Struct, frozen=True):
    """One topic as declared: partitions and replicas by profile, and its configuration."""

    name: str
    partitions: int
    replication: int
    config: dict[str, str]
