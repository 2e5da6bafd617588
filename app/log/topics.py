"""Topic names, and which topics there are."""

from __future__ import annotations

import tomllib
from typing import Any

from msgspec import Struct

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
    """One topic as declared: its partitions, replicas and configuration, and the roles that use it."""

    name: str
    partitions: int
    replication: int
    config: dict[str, str]
    writers: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()


def declared(profile: str) -> tuple[Topic, ...]:
    """Every topic of `infra/kafka/topics.toml`, with the counts of `embedded` or `cluster`."""
    document: dict[str, Any] = tomllib.loads(infra_kafka("topics.toml").read_text())
    chosen = document["profiles"][profile]
    insync = {"min.insync.replicas": str(chosen["min_insync_replicas"])}
    return tuple(
        Topic(
            f"tunesmith.{name}.v1",
            entry["partitions"][profile],
            chosen["replication"],
            document["policies"][entry["policy"]] | insync,
            tuple(entry["writers"]),
            tuple(entry["readers"]),
        )
        for name, entry in document["topics"].items()
    )
