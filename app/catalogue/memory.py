"""How much memory a run will need, by part, in bytes: a first estimate, on the safe side."""

from __future__ import annotations

from msgspec import Struct

from app.catalogue.catalogue import Entry
from app.domain.hyperparameters import Hyperparameters

RUNTIME = 900 * 1024**2
BYTES_16, BYTES_32 = 2, 4
NF4_BYTES = 0.56  # half a byte a weight, its scales doubly quantised
ACTIVATIONS_PER_LAYER = 18  # tensors of hidden size that a layer keeps for its backward pass


class MemoryEstimate(Struct, frozen=True):
    """Bytes by part."""

    weights: int
    adapter: int
    optimizer: int
    activations: int
    logits: int
    runtime: int

    @property
    def total(self) -> int:
        """All parts together."""
        return self.weights + self.adapter + self.optimizer + self.activations + self.logits + self.runtime


def estimate(entry: Entry, hyperparameters: Hyperparameters) -> MemoryEstimate:
    """What a run with these hyperparameters needs at most, rows taken as long as `max_length` allows."""
    weights = entry.parameters * (NF4_BYTES if hyperparameters.use_quantization else BYTES_16)
    head = entry.hidden_size // entry.heads
    shapes = [
        (entry.hidden_size, entry.hidden_size),
        (entry.hidden_size, head * entry.key_value_heads),
        (entry.hidden_size, head * entry.key_value_heads),
        (entry.hidden_size, entry.hidden_size),
        (entry.hidden_size, entry.intermediate_size),
        (entry.hidden_size, entry.intermediate_size),
        (entry.intermediate_size, entry.hidden_size),
    ]
    adapter = entry.layers * hyperparameters.rank * sum(into + out for into, out in shapes)
    tokens = hyperparameters.batch_size * min(hyperparameters.max_length, 512)
    return MemoryEstimate(
        weights=int(weights),
        adapter=adapter * BYTES_32 * 2,  # and its gradient
        optimizer=adapter * BYTES_32 * 2,
        activations=tokens * entry.layers * entry.hidden_size * ACTIVATIONS_PER_LAYER * BYTES_16,
        logits=tokens * entry.vocabulary * BYTES_32 * 2,
        runtime=RUNTIME,
    )
