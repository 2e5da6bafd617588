"""`workers`: list, drain, undrain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.attached import DataDir, attached, finished
from app.cli.audited import audited

if TYPE_CHECKING:
    from app.log.port import Log
    from app.log.workers import Control, Drain, Heartbeat, Slot

app = typer.Typer(help="Trainer workers.", no_args_is_help=True)

Worker = Annotated[str, typer.Argument(help="The worker's name, as `workers list` has it.")]
Wait = Annotated[bool, typer.Option("--wait", help="Let the attempts on it finish.")]


@app.command("list")
def list_all(data_dir: DataDir = None) -> None:
    """The workers by their last heartbeats, what is on their slots, and why one gets no work.

    Example: `tunesmith-server workers list --data-dir .tunesmith`
    """
    from app.log.kafka import log_of

    found = attached(data_dir)

    async def work() -> None:
        beats, controls = await _known(log_of(found))
        for worker, (beat, heard) in sorted(beats.items()):
            slots = ", ".join(_told(slot) for slot in beat.slots)
            print(f"{worker}  session {beat.session}  heard {heard}  {slots or 'warming up'}", end="")
            print("".join(f"  {one}" for one in _out(beat, controls.get(worker))))

    finished(work())


@app.command("drain")
def drain(worker: Worker, wait: Wait = False, data_dir: DataDir = None) -> None:
    """Give a worker no more work; its attempts are handed back, and go on elsewhere from their checkpoints.

    It stands until `workers undrain`, over restarts of the worker too.

    Example: `tunesmith-server workers drain gpu-7 --wait`
    """
    _decide(worker, "finish" if wait else "hand_back", data_dir)
    print(f"{worker} gets no more work; {'what it has may finish' if wait else 'what it has is handed back'}")


@app.command("undrain")
def undrain(worker: Worker, data_dir: DataDir = None) -> None:
    """Let a worker have work again that was drained or set aside.

    Example: `tunesmith-server workers undrain gpu-7`
    """
    _decide(worker, None, data_dir)
    print(f"{worker} gets work again")


def _decide(worker: str, drain: Drain | None, data_dir: DataDir) -> None:
    from msgspec.structs import replace

    from app.keys import Refused
    from app.log.kafka import log_of
    from app.log.workers import Control, control_record

    found = attached(data_dir)
    log = log_of(found)

    async def work() -> None:
        beats, controls = await _known(log)
        if worker not in beats:
            raise Refused(f"no worker {worker} was heard of; `workers list` has their names")
        before = controls.get(worker, Control(worker))
        changed = replace(before, drain=drain) if drain is not None else Control(worker)
        writer = await log.writer()
        try:
            await writer.send(control_record(changed))
        finally:
            await writer.close()

    action = "undrainWorker" if drain is None else "drainWorker"
    finished(audited(found, action, work(), target=worker))


async def _known(log: Log) -> tuple[dict[str, tuple[Heartbeat, str]], dict[str, Control]]:
    """Each worker's last heartbeat and when it was heard, and what was decided about it."""
    from app.log import topics
    from app.log.port import read_all
    from app.log.workers import read_control, read_heartbeat

    beats: dict[str, tuple[Heartbeat, str]] = {}
    controls: dict[str, Control] = {}
    async for record in read_all(log, topics.WORKERS):
        if (beat := read_heartbeat(record)) is not None:
            beats[beat.worker] = beat, f"{record.at:%H:%M:%S}"
        elif (control := read_control(record)) is not None:
            controls[control.worker] = control
    return beats, controls


def _told(slot: Slot) -> str:
    """A slot's device and what is on it."""
    device = slot.device
    versions = [f"driver {device.driver}"] if device.driver else []
    versions += [f"CUDA {device.cuda}"] if device.cuda else []
    about = ", ".join([device.name, f"{device.memory / 1024**3:.1f} GiB", *versions])
    return f"{device.kind} ({about}) {slot.occupant.tuning_id if slot.occupant else 'free'}"


def _out(beat: Heartbeat, control: Control | None) -> list[str]:
    """Why a worker gets no work."""
    reasons = ["stopping"] if beat.draining else []
    if control is not None and control.drain is not None:
        reasons.append("drained" if control.drain == "hand_back" else "drained, what it has may finish")
    if control is not None and control.is_set_aside(beat.session):
        reasons.append(f"set aside: {control.set_aside}")
    return reasons
