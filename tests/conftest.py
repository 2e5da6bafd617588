"""What every test shares: where the machine-wide cache is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.settings import Settings


@pytest.fixture(scope="session")
def cache_dir() -> Path:
    """The machine's own cache, so that the broker's jars are fetched once and not per test session."""
    return Settings.from_env(os.environ).cache_dir
