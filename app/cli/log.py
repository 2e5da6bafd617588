"""`log`: tail, replay, verify."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.attached import DataDir, attached, fail, finished

if TYPE_CHECKING:
    from app.log.audit import Audit

app = typer.Typer(help="The log itself.", no_args_is_help=True)


@app.command("tail")
def tail(
    topic: Annotated[str, typer.Argument(help="tunings.events, files.events, workers, …")] = "tunings.events",
    from_start: Annotated[bool, typer.Option(help="From the beginning, then stop at the end.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Print records as they lie on the log, one a line.

    Example: `tunesmith-server log tail tunings.events --from-start`
    """
    from app.log.kafka import log_of
    from app.log.port import Start, all_partitions

    found = attached(data_dir)

    async def work() -> None:
        log = log_of(found)
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


@app.command("replay")
def replay(
    id: Annotated[str, typer.Argument(help="A tuning's id; of a file, a model or an account as well.")],
    version: Annotated[
        int | None, typer.Option(help="Only up to this version, and the state at it.", min=1)
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="Only up to this time, RFC 3339 or Unix seconds, and the state then.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Print what happened to a job, event by event, and the state that the events make.

    Example: `tunesmith-server log replay job-abc --version 3`
    """
    import msgspec

    from app.domain.streams import STREAMS
    from app.log.codec import Undecodable, timestamp
    from app.log.history import history_of, moment, past
    from app.log.kafka import log_of

    found = attached(data_dir)
    try:
        until = moment(at) if at is not None else None
        history = finished(history_of(log_of(found), STREAMS.values(), id))
    except (ValueError, Undecodable) as error:
        fail(str(error))
    if history is None:
        fail(f"the log has no event of {id!r}")
    decider, events = history
    last = events[-1]
    if version is not None and version > last.version:
        fail(f"{id} is at version {last.version}; there is no version {version} yet")
    then = past(decider, events, version=version, at=until)
    if then is None:
        fail(f"{id} did not exist then; its first event is of {timestamp(events[0].at)}")
    shown = [event for event in events if event.version <= then.version]
    if as_json:
        whole = {"id": id, "stream": decider.stream, "version": then.version, "at": then.at}
        print(msgspec.json.encode(whole | {"state": then.state, "events": shown}).decode())
        return
    for event in shown:
        body = msgspec.json.encode(event.body).decode()
        kind = event.type.split(".")[2]
        print(f"{event.version:>4}  {timestamp(event.at)}  {kind:<16}  {event.actor}  {body}")
    print(f"\nthe state at version {then.version}, {timestamp(then.at)}:")
    print(msgspec.json.format(msgspec.json.encode(then.state)).decode())


@app.command("verify")
def verify(data_dir: DataDir = None) -> None:
    """Prove versions, chains, ends, states, replies and read model. Exit code 1 if anything is wrong.

    Example: `tunesmith-server log verify --data-dir .tunesmith`
    """
    from app.domain.streams import STREAMS
    from app.log.audit import audit
    from app.log.kafka import log_of
    from app.projections.copies import read_model_copies

    found = attached(data_dir)

    async def work() -> Audit:
        copies = await read_model_copies(found.database) if found.database else {}
        return await audit(log_of(found), STREAMS.values(), copies)

    audited = finished(work())
    print(f"{audited.events} events of {audited.aggregates} aggregates, {audited.replies} replies")
    for kind, sentence in audited.wrong.items():
        print(f"wrong ({kind}): {sentence}")
    if audited.wrong:
        raise typer.Exit(1)
    print("the log is whole" + (", and the read model is what it makes" if found.database else ""))
