"""`log`: tail."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.attached import DataDir, attached, finished

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
