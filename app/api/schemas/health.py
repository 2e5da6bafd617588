"""How the service tells of itself and of what it stands on."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Part = Annotated[str, Meta(description="`ok`, or `error: …`.")]


class Liveness(Struct, frozen=True):
    """This process answers."""

    api: Annotated[Literal["ok"], Meta(description="Always `ok`.")] = "ok"


class Health(Struct, frozen=True, kw_only=True):
    """Each part, as it answered a real request just now."""

    api: Annotated[Literal["ok"], Meta(description="Always `ok`: this process answers.")] = "ok"
    database: Part
    kafka: Part
    storage: Part
    gpu: Annotated[str, Meta(description="`ok` while any trainer worker lives, or `error: …`.")]
    devices: Annotated[list[str], Meta(description="Kinds of the devices of all living trainer workers.")]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return all(part == "ok" for part in (self.database, self.kafka, self.storage, self.gpu))
