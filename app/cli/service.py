"""`up`, `run`, `settings`."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
import typer

from app import logs
from app.cli.attached import DataDir, fail, settings_of
from app.settings import Settings


def up(
    data_dir: DataDir = None,
    port: Annotated[
        int | None, typer.Option(help="Port of the api; 0: a free one.", min=0, max=65535)
    ] = None,
) -> None:
    """Run all roles here, with an embedded Kafka broker and PostgreSQL. Prints `READY <url>` on stdout.

    Example: `tunesmith-server up --data-dir .tunesmith --port 8000`
    """
    import asyncpg

    from app.catalogue.catalogue import CatalogueError
    from app.catalogue.files import ModelError
    from app.embedded.errors import EmbeddedError
    from app.log.port import LogError
    from app.up import NotReady, ServerDied
    from app.up import up as run_up

    settings = settings_of(data_dir=data_dir, port=port)
    logs.configure(settings.log_level)

    def progress(text: str) -> None:
        import structlog

        structlog.get_logger("up").info("progress", step=text)

    def ready(url: str) -> None:
        print(f"READY {url}", flush=True)

    try:
        asyncio.run(run_up(settings, progress, ready))
    except (EmbeddedError, NotReady, ServerDied, CatalogueError, ModelError, LogError) as error:
        fail(str(error))
    except (asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError) as error:
        fail(f"the database cannot be used: {error}")
    except ExceptionGroup as group:
        fail(str(group.exceptions[0]))


def run(
    roles: Annotated[
        list[str],
        typer.Argument(help="api, command-handler, scheduler, projector, reactor, trainer-worker."),
    ],
) -> None:
    """Run these roles against TUNESMITH_KAFKA and TUNESMITH_DATABASE.

    Example: `tunesmith-server run command-handler projector`
    """
    import asyncpg

    from app.roles import ROLES
    from app.roles import run as run_them

    settings = settings_of()
    if unknown := [role for role in roles if role not in ROLES]:
        fail(f"there is no role {unknown[0]!r}; there are {', '.join(ROLES)}")
    logs.configure(settings.log_level)
    try:
        run_them(settings, list(dict.fromkeys(roles)))
    except (asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError) as error:
        fail(f"the database cannot be used: {error}")
    except Exception as error:  # noqa: BLE001 – one sentence for the operator; the log above has the rest
        fail(f"{error}" or repr(error))


def settings() -> None:
    """List every setting: its variable, value and meaning.

    Example: `tunesmith-server settings`
    """
    current = settings_of()
    for field in msgspec.inspect.type_info(Settings).fields:  # type: ignore[attr-defined]
        described = getattr(field.type, "extra_json_schema", None) or {}
        meaning = described.get("description", "")
        value = getattr(current, field.name)
        secret = (getattr(field.type, "extra", None) or {}).get("secret")
        shown = "(set)" if secret and value is not None else str(value)
        print(f"TUNESMITH_{field.name.upper():<22} {shown:<28} {meaning}")
