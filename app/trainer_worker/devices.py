"""What there is to compute on, and which slot gets which of it."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections import Counter
from collections.abc import Sequence

import structlog
from msgspec import Struct
from msgspec.structs import replace

from app.log.workers import Device
from app.trainer_worker.training.frames import Ready

ASKED_WITHIN = 30.0
MIB = 1024**2
QUERY = "--query-gpu=index,uuid,name,memory.total,driver_version"
DEVICE = re.compile(r"^GPU (?P<index>\d+): .*\(UUID: (?P<uuid>GPU-[^)]+)\)")
PART = re.compile(r"^\s+MIG (?P<profile>\S+)\s+Device\s+\d+: \(UUID: (?P<uuid>MIG-[^)]+)\)")
NONE = ("-1", "", "none", "void", "NoDevFiles")  # with these, CUDA stops looking at the list

logger = structlog.get_logger("trainer_worker")


class Gpu(Struct, frozen=True):
    """A GPU, or with MIG a part of one, as its driver tells it; memory in bytes, 0 where it does not say."""

    uuid: str
    index: int | None
    name: str
    memory: int = 0
    driver: str = ""


class Place(Struct, frozen=True):
    """What a slot computes on: its child's CUDA_VISIBLE_DEVICES, None for our own; so many slots share it.

    With several `devices` an attempt has a process on each; on a CPU it has so many processes.
    """

    visible: str | None = None
    driver: str = ""
    sharing: int = 1
    devices: int = 1


def places(
    gpus: Sequence[Gpu],
    visible: str | None,
    *,
    slots: int | None = None,
    per_device: int = 1,
    devices_per_slot: int = 1,
) -> list[Place]:
    """A place for each slot: `per_device` on each device, or `slots` in all, handed round.

    What is a device here are `devices_per_slot`; those at the end may be fewer.

    `visible` is our own CUDA_VISIBLE_DEVICES: what it leaves out is not ours to give.
    """
    devices = _grouped(_devices(gpus, visible), devices_per_slot)
    count = len(devices) * per_device if slots is None else slots
    chosen = [devices[number % len(devices)] for number in range(count)]
    shared = Counter(place.visible for place in chosen)
    return [replace(place, sharing=shared[place.visible]) for place in chosen]


def _grouped(devices: Sequence[Place], count: int) -> list[Place]:
    """So many devices at a time as one place; what is no list of GPUs is divided into processes instead."""
    if not devices[0].visible:
        return [replace(one, devices=count) for one in devices]
    groups = [devices[first : first + count] for first in range(0, len(devices), count)]
    return [
        Place(",".join(str(one.visible) for one in group), group[0].driver, devices=len(group))
        for group in groups
    ]


def _devices(gpus: Sequence[Gpu], visible: str | None) -> list[Place]:
    """A place for each device; without a GPU that is known the one that torch will find, or the CPU."""
    if visible is None:
        return [Place(gpu.uuid, gpu.driver) for gpu in gpus] or [Place()]
    found: list[Place] = []
    for token in (part.strip() for part in visible.split(",")):
        gpu = _named(gpus, token)
        if token in NONE or (gpus and gpu is None):
            break
        found.append(Place(token, gpu.driver if gpu else ""))
    return found or [Place("")]


def _named(gpus: Sequence[Gpu], token: str) -> Gpu | None:
    """The GPU that a token means: its index, or the beginning of its UUID."""
    for gpu in gpus:
        if token == str(gpu.index) or (not token.isdigit() and token and gpu.uuid.startswith(token)):
            return gpu
    return None


def read_gpus(listing: str, queried: str) -> list[Gpu]:
    """The GPUs in what `nvidia-smi -L` and its query say; one that is parted is its parts."""
    rows = [[part.strip() for part in line.split(",")] for line in queried.splitlines()]
    known = {row[1]: Gpu(row[1], int(row[0]), row[2], _mib(row[3]), row[4]) for row in rows if len(row) == 5}
    found: list[Gpu] = []
    whole: Gpu | None = None
    for line in listing.splitlines():
        if device := DEVICE.match(line):
            whole = known.get(device["uuid"]) or Gpu(device["uuid"], int(device["index"]), "GPU")
            found.append(whole)
        elif (part := PART.match(line)) and whole is not None:
            if found[-1] is whole:
                found.pop()
            found.append(Gpu(part["uuid"], None, f"{whole.name} MIG {part['profile']}", driver=whole.driver))
    return found


def device_of(ready: Ready, place: Place) -> Device:
    """What a slot computes on, as its child found it; slots that share a device have a part of its memory."""
    return Device(
        ready.device,
        ready.name,
        ready.memory // place.sharing,
        place.driver if ready.device == "cuda" else "",
        ready.versions.get("cuda", ""),
        (place.visible or "") if ready.device == "cuda" else "",
    )


async def inventory() -> list[Gpu]:
    """The GPUs of this machine, by their driver's own program; none where there is no such program."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        async with asyncio.timeout(ASKED_WITHIN):
            listing = await _said(program, "-L")
            queried = await _said(program, QUERY, "--format=csv,noheader,nounits")
    except (OSError, TimeoutError) as error:
        logger.warning("devices_unknown", error=str(error) or "nvidia-smi does not answer")
        return []
    return read_gpus(listing, queried)


async def _said(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        raise OSError(
            (errors or out).decode(errors="replace").strip()[:300] or f"status {process.returncode}"
        )
    return out.decode(errors="replace")


def _mib(text: str) -> int:
    return int(text) * MIB if text.isdigit() else 0
