"""How much memory a run will need, by part, in bytes: a first estimate, on the safe side.

Counted as the trainer works: no checkpointing of activations, an adapter in fp32, and logits only of the
tokens that are trained, a tile at a time. Rows are taken to be of a usual length, since most are far shorter
than `max_length`; a file of longer rows needs more.
"""

from __future__ import annotations

from msgspec import Struct

from app.catalogue.catalogue import Entry
from app.domain.hyperparameters import Hyperparameters

RUNTIME = 1024 * 1024**2  # the libraries themselves, and what the allocator keeps back
FP32 = 4
NF4_BYTES = 0.56  # half a byte a weight, its scales doubly quantised
USUAL_ROW = 256
TILE = 1024


class MemoryEstimate(Struct, frozen=True):
    """Bytes by part; the adapter's gradient counts as adapter."""

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


def estimate(
    entry: Entry,
    hyperparameters: Hyperparameters,
    *,
    longest_row: int = USUAL_ROW,
    bytes_per_number: int = FP32,
) -> MemoryEstimate:
    """What a run with these hyperparameters needs; `longest_row` in tokens.

    `bytes_per_number` is 2 where the device computes in bf16, 4 on a CPU without matrix units for it.
    """
    embeddings = entry.vocabulary * entry.hidden_size
    linear = entry.parameters - embeddings
    quantized = hyperparameters.use_quantization
    weights = embeddings * bytes_per_number + int(linear * (NF4_BYTES if quantized else bytes_per_number))
    adapter = adapter_parameters(entry, hyperparameters.rank)
    tokens = hyperparameters.batch_size * min(hyperparameters.max_length, longest_row)
    return MemoryEstimate(
        weights=weights,
        adapter=adapter * FP32 * 2,
        optimizer=adapter * FP32 * 2,
        activations=tokens * entry.layers * _kept_per_layer(entry) * bytes_per_number,
        logits=min(tokens, TILE) * entry.vocabulary * FP32 * 2,
        runtime=RUNTIME,
    )


def adapter_parameters(entry: Entry, rank: int) -> int:
    """Numbers in a LoRA of this rank on all linear layers."""
    hidden, inner = entry.hidden_size, entry.intermediate_size
    narrow = hidden // entry.heads * entry.key_value_heads
    shapes = [
        (hidden, hidden),
        (hidden, narrow),
        (hidden, narrow),
        (hidden, hidden),
        (hidden, inner),
        (hidden, inner),
        (inner, hidden),
    ]
    return entry.layers * rank * sum(into + out for into, out in shapes)


def _kept_per_layer(entry: Entry) -> int:
    """Numbers that a layer keeps of a token for its backward pass: norms, projections, attention, the MLP."""
    narrow = entry.hidden_size // entry.heads * entry.key_value_heads
    return 8 * entry.hidden_size + 4 * narrow + 4 * entry.intermediate_size
