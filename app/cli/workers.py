"""`workers`: list."""

from __future__ import annotations

import typer

from app.cli.attached import DataDir, attached, finished
from app.log.workers import Slot

app = typer.Typer(help="Trainer workers.", no_args_is_help=True)


@app.command("list")
def list_all(data_dir: DataDir = None) -> None:
    """The workers by their last heartbeats.

    Example: `tunesmith-server workers list --data-dir .tunesmith`
    """
    from app.log import topics
    from app.log.kafka import log_of
    from app.log.port import read_all
    from app.log.workers import read_heartbeat

    found = attached(data_dir)

    async def work() -> None:
        log = log_of(found)
        last = {record.key: record async for record in read_all(log, topics.WORKERS)}
        for record in last.values():
            if (beat := read_heartbeat(record)) is not None:
                slots = ", ".join(_told(slot) for slot in beat.slots)
                heard = f"{record.at:%H:%M:%S}"
                print(f"{beat.worker}  session {beat.session}  heard {heard}  {slots or 'warming up'}")

    finished(work())


def _told(slot: Slot) -> str:
    """A slot's device and what is on it."""
    device = slot.device
    versions = [f"driver {device.driver}"] if device.driver else []
    versions += [f"CUDA {device.cuda}"] if device.cuda else []
    about = ", ".join([device.name, f"{device.memory / 1024**3:.1f} GiB", *versions])
    return f"{device.kind} ({about}) {slot.occupant.tuning_id if slot.occupant else 'free'}"
