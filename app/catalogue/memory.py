"""How much memory a run will need, by part, in bytes: a first estimate, on the safe side.

Counted as the trainer works: no checkpointing of activations, an adapter in fp32, and logits only of the
tokens that are trained, a tile at a time. A batch is taken to hold the file's longest row, as its check saw
it before any model was known; most files have none near `max_length`.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from app.catalogue.catalogue import Entry
from app.domain.hyperparameters import Hyperparameters, resolve

RUNTIME = 1024 * 1024**2  # the libraries themselves, and what the allocator keeps back
FP32 = 4
NF4_BYTES = 0.56  # half a byte a weight, its scales doubly quantised
USUAL_ROW = 256  # no row is counted as less, nor one of which nothing is known
TILE = 1024
USUAL_ROWS = 1000  # of a training file: what `auto` is resolved by


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
    method: str = "supervised",
    longest_row: int = 0,
    bytes_per_number: int = FP32,
) -> MemoryEstimate:
    """What a run with these hyperparameters needs; `longest_row` in tokens, 0 when it is not known.

    `bytes_per_number` is 2 where the device computes in bf16, 4 on a CPU without matrix units for it.
    """
    hyper = hyperparameters
    embeddings = entry.vocabulary * entry.hidden_size
    linear = entry.parameters - embeddings
    weights = embeddings * bytes_per_number + int(
        linear * (NF4_BYTES if hyper.use_quantization else bytes_per_number)
    )
    adapter = adapter_parameters(entry, hyper.rank, hyper.target_modules, dora=hyper.use_dora)
    row = row_length(hyper, longest_row)
    pair = 2 if method == "dpo" else 1  # the better answer and the worse one go through together
    tokens = hyper.batch_size // hyper.gradient_accumulation * row * pair
    return MemoryEstimate(
        weights=weights,
        adapter=adapter * FP32 * 2,
        optimizer=adapter * FP32 * 2,
        activations=tokens * entry.layers * _kept_per_layer(entry, dora=hyper.use_dora) * bytes_per_number,
        logits=min(tokens, TILE) * entry.vocabulary * FP32 * 2,
        runtime=RUNTIME,
    )


def usual(entry: Entry, **asked: Any) -> MemoryEstimate:
    """What a run with the default hyperparameters needs, but for those asked for."""
    resolved = resolve(asked, rows=USUAL_ROWS, context_length=entry.context_length)
    assert isinstance(resolved, Hyperparameters)
    return estimate(entry, resolved)


def row_length(hyperparameters: Hyperparameters, longest_row: int) -> int:
    """The tokens that a row is counted with."""
    longest = hyperparameters.max_length
    return longest if hyperparameters.packing else min(longest, max(USUAL_ROW, longest_row))


def adapter_parameters(
    entry: Entry, rank: int, modules: str | tuple[str, ...] = "all-linear", *, dora: bool = False
) -> int:
    """Numbers in a LoRA of this rank on these layers; DoRA has a magnitude for each output as well."""
    shapes = _linear_layers(entry)
    wanted = (
        shapes if isinstance(modules, str) else {name: shapes[name] for name in modules if name in shapes}
    )
    each = sum(rank * (into + out) + (out if dora else 0) for into, out in wanted.values())
    return entry.layers * each


def _linear_layers(entry: Entry) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of a layer's linear maps, by the names that models of this shape give them."""
    hidden, inner = entry.hidden_size, entry.intermediate_size
    narrow = hidden // entry.heads * entry.key_value_heads
    return {
        "q_proj": (hidden, hidden),
        "k_proj": (hidden, narrow),
        "v_proj": (hidden, narrow),
        "o_proj": (hidden, hidden),
        "gate_proj": (hidden, inner),
        "up_proj": (hidden, inner),
        "down_proj": (inner, hidden),
    }


def _kept_per_layer(entry: Entry, *, dora: bool) -> int:
    """Numbers that a layer keeps of a token for its backward pass: norms, projections, attention, the MLP.

    DoRA scales what base and adapter gave, and keeps both.
    """
    narrow = entry.hidden_size // entry.heads * entry.key_value_heads
    plain = 8 * entry.hidden_size + 4 * narrow + 4 * entry.intermediate_size
    return plain + (2 * sum(out for _, out in _linear_layers(entry).values()) if dora else 0)
