"""`log`: tail, verify."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.attached import DataDir, attached, finished

if TYPE_CHECKING:
    from app.log.audit import Audit

app = typer.Typer(help="The log itself.", no_args_is_help=True)


@app.command("tail")
def tail(
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


@app.command("verify")
def verify(data_dir: DataDir = None) -> None:
    """Prove versions, chains, ends, states, replies and read model. Exit code 1 if anything is wrong."""
    from app.domain.streams import STREAMS
    from app.log.audit import audit
    from app.log.kafka import KafkaLog
    from app.projections.copies import read_model_copies

    found = attached(data_dir)

    async def work() -> Audit:
        copies = await read_model_copies(found.database) if found.database else {}
        return await audit(KafkaLog(found.kafka or ""), STREAMS.values(), copies)

    audited = finished(work())
    print(f"{audited.events} events of {audited.aggregates} aggregates, {audited.replies} replies")
    for kind, sentence in audited.wrong.items():
        print(f"wrong ({kind}): {sentence}")
    if audited.wrong:
        raise typer.Exit(1)
    print("the log is whole" + (", and the read model is what it makes" if found.database else ""))
