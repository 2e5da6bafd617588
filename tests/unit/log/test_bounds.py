"""The bounds of the writer's protocol hold together, and with the brokers' settings."""

from __future__ import annotations

import re

from app.log import bounds
from app.log.resources import infra_kafka

PROPERTIES = dict(re.findall(r"^([\w.]+)=(.*)$", infra_kafka("server.properties").read_text(), re.MULTILINE))


def test_a_member_is_missed_only_after_several_heartbeats() -> None:
    assert bounds.HEARTBEAT_INTERVAL_MS * 5 <= bounds.SESSION_TIMEOUT_MS
    assert bounds.SESSION_TIMEOUT_MS >= 6_000, "the brokers' group.min.session.timeout.ms"
    assert bounds.MEMBER_POLL_SECONDS * 1000 < bounds.REBALANCE_TIMEOUT_MS


def test_a_writer_gives_up_before_the_broker_ends_its_transaction() -> None:
    assert bounds.REQUEST_TIMEOUT_MS / 1000 < bounds.COMMIT_WITHIN < bounds.TRANSACTION_TIMEOUT_MS / 1000
    assert int(PROPERTIES["transaction.max.timeout.ms"]) > bounds.TRANSACTION_TIMEOUT_MS
    looked_for = int(PROPERTIES["transaction.abort.timed.out.transaction.cleanup.interval.ms"])
    assert looked_for <= 1_000, "readers wait for an open transaction"


def test_the_largest_record_fits_with_its_headers() -> None:
    assert int(PROPERTIES["message.max.bytes"]) > bounds.LARGEST_RECORD_BYTES + bounds.ROOM_BESIDE
    # A state holds the commands it remembers beside what a reply is measured by; an id has 255 bytes at most.
    assert bounds.REMEMBERED_COMMANDS * 300 < bounds.ROOM_BESIDE
