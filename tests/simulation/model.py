"""A read model in memory beside the real one: checkpoints by compare-and-set, rows folded alike."""

from __future__ import annotations

from collections.abc import Sequence

from app.domain.tunings import TUNINGS
from app.log import topics
from app.log.audit import Copy, Kept
from app.log.codec import read_event
from app.log.port import Partition, Received
from app.projections.fold import Row, evolved
from app.projections.projector import TakenElsewhere
from tests.simulation.faults import Life


class MemoryModel:
    """Rows and checkpoints."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.checkpoints: dict[Partition, int] = {}

    def advance(self, partition: Partition, expected: int, moved: int) -> None:
        """Move a checkpoint from where it is expected to be. Raises `TakenElsewhere`."""
        if self.checkpoints.get(partition, 0) != expected:
            raise TakenElsewhere(f"{partition.topic}[{partition.number}]")
        self.checkpoints[partition] = moved

    def copy(self) -> Copy:
        """The rows as an audit wants them."""
        place = "the model in memory"
        kept = {row.id: Kept(row.id, row.version, row.state, place) for row in self.rows.values()}
        return Copy(place, kept, self.checkpoints)


class ModelOf:
    """The read model as one projector's process reaches it."""

    def __init__(self, model: MemoryModel, life: Life) -> None:
        self._model, self._life = model, life

    async def position(self, partition: Partition) -> int:
        await self._life.step("ask for the checkpoint")
        return self._model.checkpoints.get(partition, 0)

    async def apply(self, partition: Partition, expected: int, records: Sequence[Received]) -> int:
        """A transaction: what it reads is as of its beginning, the checkpoint decides at its end."""
        assert partition.topic == topics.events(TUNINGS.stream)
        before = {key: self._model.rows.get(key) for key in {record.key or "" for record in records}}
        await self._life.step(f"apply {len(records)} records")
        changed: dict[str, Row] = {}
        for record in records:
            event = read_event(TUNINGS, record)
            known = changed.get(event.aggregate_id) or before.get(event.aggregate_id)
            if (after := evolved(TUNINGS, known, event)) is not None:
                changed[event.aggregate_id] = after
        moved = records[-1].offset + 1
        self._model.advance(partition, expected, moved)
        self._model.rows |= changed
        await self._life.step("go on after applying")
        return moved
