"""What every test shares: where the machine-wide cache is, and the servers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.settings import Settings
from tests.jvm import start_brokers_faster
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


@pytest.fixture(scope="session", autouse=True)
def brokers_start_faster(request: pytest.FixtureRequest, cache_dir: Path) -> None:
    """Where anything but the tests that start no server is run."""
    here = Path(__file__).parent
    paths = [item.path for item in request.session.items]
    folders = {path.relative_to(here).parts[0] for path in paths if path.is_relative_to(here)}
    if folders - {"unit", "contract"}:
        start_brokers_faster(cache_dir)
