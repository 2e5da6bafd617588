"""How long a run waits for a lower loss."""

from __future__ import annotations

import pytest

from app.trainer_worker.training.stopping import Patience


@pytest.mark.parametrize(
    ("evaluations", "min_delta", "losses", "ends_after", "best"),
    [
        (1, 0.0, [3.0, 2.0, 1.0], None, 1.0),
        (1, 0.0, [3.0, 2.0, 2.0], 3, 2.0),  # as low is not lower
        (2, 0.0, [3.0, 2.0, 4.0, 1.0, 4.0], None, 1.0),  # one in vain, and then not
        (2, 0.0, [3.0, 2.0, 4.0, 3.0], 4, 2.0),
        (2, 0.5, [3.0, 2.75, 2.625], 3, 2.625),  # lower, and the best, but not by enough
        (2, 0.5, [3.0, 2.75, 2.25, 2.0, 1.5], None, 1.5),  # small steps add up
    ],
)
def test_patience_ends_after_so_many_evaluations_in_vain(
    evaluations: int, min_delta: float, losses: list[float], ends_after: int | None, best: float
) -> None:
    patience = Patience(evaluations, min_delta)
    over: list[bool] = []
    lowest: list[float] = []
    for loss in losses:
        if patience.hear(loss):
            lowest.append(loss)
        over.append(patience.over)
    assert over == [number == ends_after for number in range(1, len(losses) + 1)]
    assert (patience.best, lowest[-1]) == (best, best)
    assert lowest == sorted(lowest, reverse=True)
