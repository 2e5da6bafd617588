"""How long a run waits for a lower loss, and how long it may be where no loss should be."""

from __future__ import annotations

import pytest

from app.trainer_worker.training.stopping import Patience, RunawayWatch


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


@pytest.mark.parametrize(
    ("losses", "ends_after"),
    [
        ([2.0, 1.9, 1.8, 1.8, 1.7, *[6.0] * 20], 15),  # four nats above the best of the first
        ([2.0, 1.9, 1.8, 1.8, 1.7, *[5.0] * 20], None),
        ([11.0, 10.9, *[20.0] * 40], None),  # a model with random weights is bad at all times
        ([0.1, *[3.9] * 40], None),  # one easy row, and then hard ones
        ([2.0, *[9.0] * 9, 2.0, *[9.0] * 9, 2.0], None),  # it came back
        ([0.69, *[40.0] * 40], 11),
    ],
)
def test_a_run_has_run_away_when_its_loss_stays_far_above_its_first(
    losses: list[float], ends_after: int | None
) -> None:
    watch = RunawayWatch()
    ended = next((step for step, loss in enumerate(losses, 1) if watch.hear(loss)), None)
    assert ended == ends_after
