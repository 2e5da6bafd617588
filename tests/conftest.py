"""What every test shares: where the machine-wide cache is, and the servers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.settings import Settings
from tests.servers import (
    database,
    kafka_bootstrap,
    postgres_dsn,
    remake_topics,
    topic_prefix,
    topics,
)
from tests.tiny import tiny

__all__ = ["database", "kafka_bootstrap", "postgres_dsn", "remake_topics", "tiny", "topic_prefix", "topics"]


@pytest.fixture(scope="session")
def cache_dir() -> Path:
    """The machine's own cache, so that the broker's jars are fetched once and not per test session."""
    return Settings.from_env(os.environ).cache_dir
