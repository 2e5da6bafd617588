"""What the routes work with: settings, pool, keys, store and the way to the log, held by the running app."""

from __future__ import annotations

import asyncpg
from msgspec import Struct

from app.api.auth import Keys
from app.api.commands import Commands
from app.api.known import Known
from app.settings import Settings
from app.storage.store import Store


class Service(Struct, frozen=True):
    """One api process's dependencies."""

    settings: Settings
    pool: asyncpg.Pool
    keys: Keys
    known: Known
    store: Store
    commands: Commands
