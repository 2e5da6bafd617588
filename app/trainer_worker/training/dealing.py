"""Rows dealt to several processes as one alone would take them: the same in every step, none twice.

Where a batch has fewer rows than there are places, fillers take them: rows with nothing to learn in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import BatchSampler, Dataset

from app.datasets.tokenise import IGNORED

FILLER_TOKENS = 2  # a row's first token is foretold by nothing


class Filled(Dataset[dict[str, list[int]]]):
    """Rows, and at the index behind the last a filler."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows
        self._filler = {
            name: [IGNORED] * FILLER_TOKENS if name.endswith("labels") else list(range(FILLER_TOKENS))
            for name in rows.column_names
        }

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        return self._filler if index == len(self._rows) else self._rows[index]


class WholeBatches(BatchSampler):
    """Batches of one size, and as many for each process, by way of fillers."""

    def __init__(self, batches: BatchSampler, processes: int, filler: int) -> None:
        super().__init__(batches.sampler, batches.batch_size, drop_last=False)
        self._batches, self._processes, self._filler = batches, processes, filler

    def __iter__(self) -> Iterator[list[int]]:
        count = 0
        for batch in self._batches:
            count += 1
            yield batch + [self._filler] * (self.batch_size - len(batch))
        for _ in range(count, len(self)):
            yield [self._filler] * self.batch_size

    def __len__(self) -> int:
        return -(-len(self._batches) // self._processes) * self._processes


def dealt(loader: Any, processes: int) -> Any:
    """Let accelerate deal whole batches to the processes, where it would repeat the first rows."""
    shard = loader.batch_sampler
    shard.batch_sampler = WholeBatches(shard.batch_sampler, processes, len(loader.dataset))
    shard.sampler = shard.batch_sampler.sampler  # whoever skips batches looks for it there
    return loader
