"""`tunesmith-server`: the service and its operator's commands."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import msgspec
import typer

from app import logs
from app.settings import Settings, SettingsError

if TYPE_CHECKING:
    from app.log.topic_admin import Drift

Result = TypeVar("Result")

app = typer.Typer(
    help="A fine-tuning service for a team's own machines. `up` runs all of it here, `run` single roles.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
topics_app = typer.Typer(help="Topics as declared in infra/kafka/topics.toml.", no_args_is_help=True)
keys_app = typer.Typer(help="API keys.", no_args_is_help=True)
projections_app = typer.Typer(help="The read model.", no_args_is_help=True)
log_app = typer.Typer(help="The log itself.", no_args_is_help=True)
workers_app = typer.Typer(help="Trainer workers.", no_args_is_help=True)
for name, group in (
    ("topics", topics_app),
    ("keys", keys_app),
    ("projections", projections_app),
    ("log", log_app),
    ("workers", workers_app),
):
    app.add_typer(group, name=name)

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
        settings = msgspec.structs.replace(settings, kafka=running.kafka, database=running.database)
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


@app.command()
def up(
    data_dir: DataDir = None,
    port: Annotated[
        int | None, typer.Option(help="Port of the api; 0: a free one.", min=0, max=65535)
    ] = None,
) -> None:
    """Run all roles here, with an embedded Kafka broker and PostgreSQL. Prints `READY <url>` on stdout."""
    import asyncpg

    from app.catalogue.packaged import ModelError
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
    except (EmbeddedError, NotReady, ServerDied, ModelError, LogError) as error:
        fail(str(error))
    except (asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError) as error:
        fail(f"the database cannot be used: {error}")
    except ExceptionGroup as group:
        fail(str(group.exceptions[0]))


@app.command()
def run(
    roles: Annotated[
        list[str],
        typer.Argument(help="api, command-handler, scheduler, projector, reactor, trainer-worker."),
    ],
) -> None:
    """Run these roles against TUNESMITH_KAFKA and TUNESMITH_DATABASE."""
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


@app.command()
def settings() -> None:
    """List every setting: its variable, value and meaning."""
    current = settings_of()
    for field in msgspec.inspect.type_info(Settings).fields:  # type: ignore[attr-defined]
        described = getattr(field.type, "extra_json_schema", None) or {}
        meaning = described.get("description", "")
        print(f"TUNESMITH_{field.name.upper():<22} {getattr(current, field.name)!s:<28} {meaning}")


@topics_app.command("apply")
def topics_apply(data_dir: DataDir = None) -> None:
    """Make the topics that are missing; report what the others differ in."""
    from app.log import topics
    from app.log.topic_admin import apply

    found = attached(data_dir)
    _tell_drift(finished(apply(found.kafka or "", topics.declared(found.profile))))


@topics_app.command("diff")
def topics_diff(data_dir: DataDir = None) -> None:
    """Report how the broker's topics differ from the declared ones; change nothing."""
    from app.log import topics
    from app.log.topic_admin import drift

    found = attached(data_dir)
    _tell_drift(finished(drift(found.kafka or "", topics.declared(found.profile))))


def _tell_drift(differences: Sequence[Drift]) -> None:
    for one in differences:
        print(f"{one.topic}: {one.what} is {one.found}, declared {one.declared}")
    if differences:
        raise typer.Exit(1)
    print("all topics are as declared")


@keys_app.command("create")
def keys_create(
    account: Annotated[str, typer.Option(help="Account; opened if there is none of that name.")] = "default",
    name: Annotated[str, typer.Option(help="What the key is for.")] = "",
    scope: Annotated[list[str] | None, typer.Option(help="read, write, admin; several times.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Make a key and print it: it is shown this once."""
    from app.keys import issue
    from app.log.kafka import KafkaLog

    scopes = tuple(scope or ("read", "write"))
    if bad := [one for one in scopes if one not in ("read", "write", "admin")]:
        fail(f"there is no scope {bad[0]!r}; there are read, write, admin")
    key_id, secret = finished(issue(KafkaLog(attached(data_dir).kafka or ""), account, name, scopes))  # type: ignore[arg-type]
    typer.echo(f"key {key_id} of account {account}, shown this once:", err=True)
    print(secret)


@keys_app.command("list")
def keys_list(data_dir: DataDir = None) -> None:
    """List all keys, never their secrets."""
    rows = finished(
        _fetch(
            attached(data_dir),
            "SELECT k.id, a.state->>'name' AS account, k.name, k.scopes, k.created_at, k.revoked_at "
            "FROM read.api_keys k JOIN read.accounts a ON a.id = k.account_id ORDER BY k.created_at",
        )
    )
    for row in rows:
        state = f"revoked {row['revoked_at']:%Y-%m-%d}" if row["revoked_at"] else "valid"
        print(f"{row['id']}  {row['account']:<16} {row['name']:<16} {','.join(row['scopes']):<18} {state}")


@keys_app.command("revoke")
def keys_revoke(
    key_id: str,
    account: Annotated[str, typer.Option(help="The account that the key belongs to.")] = "default",
    data_dir: DataDir = None,
) -> None:
    """Make a key worthless."""
    from app.keys import revoke
    from app.log.kafka import KafkaLog

    finished(revoke(KafkaLog(attached(data_dir).kafka or ""), account, key_id))
    print(f"{key_id} is revoked")


@projections_app.command("status")
def projections_status(data_dir: DataDir = None) -> None:
    """How far the read model is, by partition."""
    rows = finished(
        _fetch(
            attached(data_dir),
            "SELECT topic, partition, next_offset, (SELECT fingerprint FROM read.meta) AS fingerprint "
            "FROM read.checkpoints ORDER BY topic, partition",
        )
    )
    for row in rows:
        print(f"{row['topic']}[{row['partition']}]  next offset {row['next_offset']}")
    print(f"fingerprint {rows[0]['fingerprint']}" if rows else "nothing is projected yet")


@projections_app.command("rebuild")
def projections_rebuild(data_dir: DataDir = None) -> None:
    """Build the read model anew from the log, beside the serving one, then put it in its place."""
    from app.log.kafka import KafkaLog
    from app.projections.read_model import prepare, rebuild

    found = attached(data_dir)

    def progress(done: int, total: int) -> None:
        typer.echo(f"\r{done} of about {total} records", nl=False, err=True)

    async def work() -> int:
        await prepare(found.database or "")
        return await rebuild(KafkaLog(found.kafka or ""), found.database or "", progress)

    records = finished(work())
    typer.echo("", err=True)
    print(f"the read model was built from {records} records and serves now")


@log_app.command("tail")
def log_tail(
    topic: Annotated[str, typer.Argument(help="tunings.events, files.events, workers, …")] = "tunings.events",
    from_start: Annotated[bool, typer.Option(help="From the beginning, then stop at the end.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Print records as they lie on the log, one a line."""
    from app.log.kafka import KafkaLog
    from app.log.port import Start, all_partitions

    found = attached(data_dir)

    async def work() -> None:
        log = KafkaLog(found.kafka or "")
        partitions = await all_partitions(log, f"tunesmith.{topic}.v1")
        reader = await log.reader(dict.fromkeys(partitions, Start.FIRST if from_start else Start.END))
        ends = {partition: await reader.end(partition) for partition in partitions}
        try:
            while True:
                for record in await reader.fetch(500, 0.5):
                    what = record.header("ce_type") or "-"
                    print(
                        f"{record.at:%H:%M:%S} {record.key} {what} {(record.value or b'').decode()}",
                        flush=True,
                    )
                if from_start and all([await reader.position(one) >= end for one, end in ends.items()]):
                    return
        finally:
            await reader.close()

    finished(work())


@workers_app.command("list")
def workers_list(data_dir: DataDir = None) -> None:
    """The workers by their last heartbeats."""
    from app.log import topics
    from app.log.kafka import KafkaLog
    from app.log.port import Start, all_partitions, read_to_end
    from app.log.workers import read_heartbeat

    found = attached(data_dir)

    async def work() -> None:
        log = KafkaLog(found.kafka or "")
        partitions = await all_partitions(log, topics.WORKERS)
        reader = await log.reader(dict.fromkeys(partitions, Start.FIRST))
        try:
            last = {record.key: record for record in await read_to_end(reader, partitions)}
        finally:
            await reader.close()
        for record in last.values():
            if (beat := read_heartbeat(record)) is not None:
                slots = ", ".join(
                    f"{slot.device.kind} {slot.occupant.tuning_id if slot.occupant else 'free'}"
                    for slot in beat.slots
                )
                heard = f"{record.at:%H:%M:%S}"
                print(f"{beat.worker}  session {beat.session}  heard {heard}  {slots or 'warming up'}")

    finished(work())


async def _fetch(found: Settings, query: str) -> list[Any]:
    import asyncpg

    connection = await asyncpg.connect(found.database)
    try:
        return list(await connection.fetch(query))
    finally:
        await connection.close()


def main() -> None:
    """The entry point."""
    app()


if __name__ == "__main__":
    main()
