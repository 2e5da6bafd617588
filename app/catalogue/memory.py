"""How much memory a run will need, by part, in bytes: what `benchmarks/memory.py` holds against the peak.

Counted as the trainer works: no checkpointing of activations, an adapter in fp32, and logits only of the
tokens that are trained, a tile at a time. A batch is taken to hold the file's longest row, as its check saw
it before any model was known; most files have none near `max_length`.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from app.catalogue.catalogue import Entry
from app.domain.hyperparameters import Hyperparameters, resolve

RUNTIME = 900 * 1024**2  # the libraries themselves
FP32 = 4
NF4_BYTES = 0.56  # half a byte a weight, its scales doubly quantised
USUAL_ROW = 256  # where nobody counted
LEAST_ROW = 64  # what a template writes around a short row
TILE = 1024
USUAL_ROWS = 1000  # of a training file: what `auto` is resolved by

# What the C library cannot give out again among activations: a tensor must begin at a multiple of 64 bytes,
# and so does not fit into the hole that one of its size has left.
KEPT_BACK = 0.75
KEPT_BACK_BELOW = 512  # tokens that go through together: the holes among small tensors are filled


class MemoryEstimate(Struct, frozen=True):
    """Bytes by part; the adapter's gradient counts as adapter, and so does how it began."""

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
    linear = entry.layers * sum(into * out for into, out in _linear_layers(entry).values())
    others = entry.parameters - linear  # embeddings, the head, norms: never quantised
    weights = others * bytes_per_number + int(
        linear * (NF4_BYTES if hyper.use_quantization else bytes_per_number)
    )
    adapter = adapter_parameters(entry, hyper.rank, hyper.target_modules, dora=hyper.use_dora)
    row = row_length(hyper, longest_row)
    pair = 2 if method == "dpo" else 1  # the better answer and the worse one go through together
    tokens = hyper.batch_size // hyper.gradient_accumulation * row * pair
    activations = tokens * entry.layers * _kept_per_layer(entry, hyper) * bytes_per_number
    kept_back = KEPT_BACK * activations * min(1.0, tokens / KEPT_BACK_BELOW)
    return MemoryEstimate(
        weights=weights,
        adapter=adapter * FP32 * 3,
        optimizer=adapter * FP32 * 2,
        activations=activations + _passing(entry, hyper, tokens) * bytes_per_number,
        logits=min(tokens, TILE) * entry.vocabulary * FP32,
        runtime=RUNTIME + int(kept_back),
    )


def usual(entry: Entry, **asked: Any) -> MemoryEstimate:
    """What a run with the default hyperparameters needs, but for those asked for."""
    resolved = resolve(asked, rows=USUAL_ROWS, context_length=entry.context_length)
    assert isinstance(resolved, Hyperparameters)
    return estimate(entry, resolved)


def row_length(hyperparameters: Hyperparameters, longest_row: int) -> int:
    """The tokens that a row is counted with."""
    longest = hyperparameters.max_length
    if hyperparameters.packing:
        return longest
    return min(longest, max(LEAST_ROW, longest_row) if longest_row else USUAL_ROW)


def adapter_parameters(
    entry: Entry, rank: int, modules: str | tuple[str, ...] = "all-linear", *, dora: bool = False
) -> int:
    """Numbers in a LoRA of this rank on these layers; DoRA has a magnitude for each output as well."""
    wanted = _adapted(entry, modules)
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


def _adapted(entry: Entry, modules: str | tuple[str, ...]) -> dict[str, tuple[int, int]]:
    """The linear maps of a layer that get an adapter; all where the names say nothing here."""
    shapes = _linear_layers(entry)
    if isinstance(modules, str):
        return shapes
    return {name: shapes[name] for name in modules if name in shapes} or shapes


def _kept_per_layer(entry: Entry, hyper: Hyperparameters) -> int:
    """Numbers that a layer keeps of a token for its backward pass.

    Both inputs of its residual sums, what attention took and gave, three of the MLP; the inputs of what has
    an adapter, with dropout once more each and a mask of bytes; and of DoRA what base and adapter gave.
    """
    hidden, inner = entry.hidden_size, entry.intermediate_size
    narrow = hidden // entry.heads * entry.key_value_heads
    adapted = _adapted(entry, hyper.target_modules)
    plain = 4 * hidden + 2 * narrow + 3 * inner
    sharing = ({"q_proj", "k_proj", "v_proj"}, {"gate_proj", "up_proj"})
    normed = sum(hidden for names in sharing if names & adapted.keys())
    into = sum(into for into, _ in adapted.values())
    return (
        plain
        + normed
        + (inner if "down_proj" in adapted else 0)
        + hyper.rank * len(adapted)
        + (into + into // 4 if hyper.dropout else 0)
        + (2 * sum(out for _, out in adapted.values()) if hyper.use_dora else 0)
    )


def _passing(entry: Entry, hyper: Hyperparameters, tokens: int) -> int:
    """Numbers that come and go in one layer: gradients, weights out of 4 bits, what DoRA adds to one."""
    passing = tokens * (2 * entry.hidden_size + 2 * entry.intermediate_size)
    if hyper.use_quantization:
        passing += sum(into * out for into, out in _linear_layers(entry).values())
    if hyper.use_dora:
        adapted = _adapted(entry, hyper.target_modules).values()
        passing += max(into * into + 3 * into * out for into, out in adapted)
    return passing
