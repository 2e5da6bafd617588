"""How the service tells of itself and of what it stands on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from msgspec import Meta, Struct

from app.log.workers import Slot

Part = Annotated[str, Meta(description="`ok`, or `error: …`.")]


class Liveness(Struct, frozen=True):
    """This process answers."""

    api: Annotated[Literal["ok"], Meta(description="Always `ok`.")] = "ok"


class DeviceDetails(Struct, frozen=True, kw_only=True):
    """Slots of trainer workers that compute on the same kind of device."""

    kind: Annotated[str, Meta(description="`cuda` or `cpu`.")]
    name: Annotated[str, Meta(description="As its maker calls it.")]
    memory: Annotated[int, Meta(description="Bytes that each of these slots has of it.")]
    driver: Annotated[str | None, Meta(description="Version of its driver; null where it has none.")]
    cuda: Annotated[str | None, Meta(description="Version of CUDA that it is used by; null without.")]
    slots: Annotated[int, Meta(description="How many there are.")]
    free: Annotated[int, Meta(description="How many of them run nothing just now.")]


def device_details(slots: Iterable[Slot]) -> list[DeviceDetails]:
    """Slots counted by their devices, in the order of names."""
    alike: dict[tuple[str, str, int, str, str], list[Slot]] = {}
    for slot in slots:
        device = slot.device
        key = (device.kind, device.name, device.memory, device.driver, device.cuda)
        alike.setdefault(key, []).append(slot)
    return [
        DeviceDetails(
            kind=kind,
            name=name,
            memory=memory,
            driver=driver or None,
            cuda=cuda or None,
            slots=len(found),
            free=sum(slot.occupant is None for slot in found),
        )
        for (kind, name, memory, driver, cuda), found in sorted(alike.items(), key=lambda one: one[0])
    ]


class Health(Struct, frozen=True, kw_only=True):
    """Each part, as it answered a real request just now."""

    api: Annotated[Literal["ok"], Meta(description="Always `ok`: this process answers.")] = "ok"
    database: Part
    kafka: Part
    storage: Part
    gpu: Annotated[str, Meta(description="`ok` while any trainer worker lives, or `error: …`.")]
    devices: Annotated[list[str], Meta(description="Kinds of the devices of all living trainer workers.")]
    device_details: Annotated[
        list[DeviceDetails], Meta(description="What their slots compute on, those alike together.")
    ]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return all(part == "ok" for part in (self.database, self.kafka, self.storage, self.gpu))
