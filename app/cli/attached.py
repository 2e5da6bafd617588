"""What operator commands work on: the `up` of a data folder, or what the environment names."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec
import typer

from app.settings import Settings, SettingsError

Result = TypeVar("Result")

DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Data folder; operator commands attach to the `up` running on it."),
]


def fail(message: str) -> NoReturn:
    """One sentence, exit code 1."""
    typer.echo(f"tunesmith-server: {message}", err=True)
    raise typer.Exit(1)


def settings_of(**overrides: Any) -> Settings:
    """Settings from the environment and these options."""
    try:
        return Settings.from_env(os.environ, **overrides)
    except SettingsError as error:
        fail(str(error))


def attached(data_dir: Path | None) -> Settings:
    """Settings that point to the `up` running on the data folder, or to what the environment names."""
    from app.embedded.addresses import read_addresses

    settings = settings_of(data_dir=data_dir)
    if settings.kafka is None or data_dir is not None:
        running = read_addresses(settings.data_dir)
        if running is None:
            fail(
                f"no `tunesmith-server up` runs on {settings.data_dir}; start it, name another --data-dir, "
                "or set TUNESMITH_KAFKA and TUNESMITH_DATABASE"
            )
        settings = msgspec.structs.replace(
            settings, kafka=running.kafka, kafka_security="plaintext", database=running.database
        )
    return settings


def finished(work: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end; what is expected to go wrong becomes one sentence."""
    import asyncpg

    from app.keys import Refused
    from app.log.port import LogError

    try:
        return asyncio.run(work)
    except (LogError, Refused, SettingsError) as error:
        fail(str(error))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        fail(f"the database cannot be used: {error}")
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


async def fetched(found: Settings, query: str) -> list[Any]:
    """Rows of the database."""
    import asyncpg

    connection = await asyncpg.connect(found.database)
    try:
        return list(await connection.fetch(query))
    finally:
        await connection.close()
