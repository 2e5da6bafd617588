"""Rows dealt to processes: in every step those that one alone would take, and never any twice."""

from __future__ import annotations

import pytest
from accelerate.data_loader import BatchSamplerShard
from datasets import Dataset
from torch.utils.data import BatchSampler, SequentialSampler

from app.trainer_worker.training.dealing import Filled, WholeBatches


@pytest.mark.parametrize("rows", range(1, 14))
@pytest.mark.parametrize(("size", "processes"), [(1, 2), (2, 2), (2, 3), (4, 2)])
def test_each_step_has_the_rows_that_one_process_would_take(rows: int, size: int, processes: int) -> None:
    batches = WholeBatches(BatchSampler(SequentialSampler(range(rows)), size, False), processes, rows)
    dealt = [list(BatchSamplerShard(batches, processes, rank)) for rank in range(processes)]
    assert len({len(batches) for batches in dealt}) == 1
    for number, step in enumerate(zip(*dealt, strict=True)):
        assert all(len(batch) == size for batch in step)
        first = number * size * processes
        assert sorted(row for batch in step for row in batch if row < rows) == list(
            range(first, min(first + size * processes, rows))
        )


def test_a_filler_has_nothing_to_learn() -> None:
    rows = Dataset.from_dict({"input_ids": [[5, 6, 7]], "labels": [[-100, 6, 7]], "rejected_labels": [[5]]})
    filled = Filled(rows)
    assert (len(filled), filled[0]["input_ids"]) == (1, [5, 6, 7])
    assert filled[1] == {"input_ids": [0, 1], "labels": [-100] * 2, "rejected_labels": [-100] * 2}
