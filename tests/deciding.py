"""The command handler's decisions for tests that are not asynchronous."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.command_handler.batch import Batch, decide_batch
from app.domain.decider import Decider
from app.log.port import Received


def decided(decider: Decider, states: Mapping[str, bytes], commands: Sequence[Received]) -> Batch:
    """What these commands make, decided without a pause."""
    deciding = decide_batch(decider, states, commands, replies=1)
    try:
        while True:
            deciding.send(None)
    except StopIteration as end:
        batch: Batch = end.value
        return batch
