"""What the routes work with: settings, pool, keys, store, log and audit, held by the running app."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
from msgspec import Struct, field

from app.api.audit import Audit
from app.api.auth import Keys
from app.api.commands import Commands
from app.api.known import Known
from app.api.overlaps import Overlaps
from app.api.shared import Shared
from app.api.streams import Streams
from app.settings import Settings
from app.storage.store import Store

MEASURED_AT_A_TIME = 2


class Measuring(Struct, frozen=True):
    """Whose turn it is to have files measured, and the models whose files are being made."""

    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MEASURED_AT_A_TIME))
    models: Shared[Path] = field(default_factory=Shared)


class Service(Struct, frozen=True):
    """One api process's dependencies; `joining` are the uploads whose parts become one file."""

    settings: Settings
    pool: asyncpg.Pool
    keys: Keys
    known: Known
    store: Store
    commands: Commands
    audit: Audit
    streams: Streams
    overlaps: Overlaps
    measuring: Measuring = field(default_factory=Measuring)
    joining: Shared[asyncpg.Record] = field(default_factory=Shared)
