"""The smallest change of the hyperparameters that makes a run fit into the memory there is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

from msgspec.structs import replace

from app.catalogue.catalogue import Entry
from app.catalogue.memory import estimate, row_length
from app.domain.hyperparameters import SHAPE, Hyperparameters

SHORTEST = 64
LEAST_RANK = 4

# By how little they change what is learned: the last one cuts rows off.
CHANGEABLE = ("gradient_accumulation", "use_quantization", "rank", "max_length")


def smallest_change(
    entry: Entry,
    hyperparameters: Hyperparameters,
    memory: int,
    *,
    method: str,
    longest_row: int,
    shape_is_fixed: bool = False,
) -> dict[str, Any] | None:
    """What to set so that it fits into `memory` bytes, as few fields as possible; None if nothing helps.

    `{}` when it fits as it is. `shape_is_fixed`: the adapter is there already.
    """
    options = {name: list(_options(name, hyperparameters, longest_row)) for name in CHANGEABLE}
    if shape_is_fixed:
        options |= {name: options[name][:1] for name in CHANGEABLE if name in SHAPE}

    def fitting(chosen: tuple[int, ...]) -> dict[str, Any] | None:
        values = {name: options[name][at] for name, at in zip(CHANGEABLE, chosen, strict=True)}
        changed = {name: value for name, value in values.items() if value != getattr(hyperparameters, name)}
        if "rank" in changed:
            # The scale of the adapter stays as it is.
            share = changed["rank"] / hyperparameters.rank
            scale = math.sqrt(share) if hyperparameters.use_rslora else share
            changed["alpha"] = round(hyperparameters.alpha * scale, 4)
        candidate = replace(hyperparameters, **changed)
        needed = estimate(entry, candidate, method=method, longest_row=longest_row)
        return changed if needed.total <= memory else None

    counts = [len(options[name]) for name in CHANGEABLE]
    if fitting(tuple(count - 1 for count in counts)) is None:  # the least that is possible
        return None
    places = sorted(product(*map(range, counts)), key=_cost)
    return next(found for found in map(fitting, places) if found is not None)


def _cost(chosen: tuple[int, ...]) -> tuple[int, int, tuple[int, ...]]:
    """Nothing is cut off where anything else helps; few fields before many, and of as many the harmless."""
    return chosen[-1], sum(at > 0 for at in chosen), chosen[::-1]


def _options(name: str, hyperparameters: Hyperparameters, longest_row: int) -> Iterator[Any]:
    """What a field could be instead, its own value first, then less and less memory."""
    now = getattr(hyperparameters, name)
    yield now
    match name:
        case "gradient_accumulation":
            size = hyperparameters.batch_size
            yield from (parts for parts in range(now + 1, size + 1) if size % parts == 0)
        case "use_quantization" if not now:
            yield True
        case "rank":
            while (now := now // 2) >= LEAST_RANK:
                yield now
        case "max_length":
            now = row_length(hyperparameters, longest_row)
            while (now := now // 2) >= SHORTEST:
                yield now
