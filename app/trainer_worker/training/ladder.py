"""What follows when memory runs out: fewer rows at a time, then activations computed again; the batch stays.

A step's rows are the same whatever the number that goes through the model together, so the same is learned.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from app.domain.tunings import Reduction
from app.trainer_worker.training.checkpoints import newest_first
from app.trainer_worker.training.failures import too_little_memory
from app.trainer_worker.training.frames import Frame, Reduced
from app.trainer_worker.training.memory import give_back
from app.trainer_worker.training.plan import Plan
from app.trainer_worker.training.points import checkpoints_of
from app.trainer_worker.training.run import OutOfMemory, never, train
from app.trainer_worker.training.together import ALONE, Together
from app.trainer_worker.training.verify import Answers

Tell = Callable[[Frame], None]


def carry_out(
    plan: Plan, tell: Tell, asked_to_rest: Callable[[], bool] = never, together: Together = ALONE
) -> Answers | None:
    """Train, with less memory each time that it runs out. Raises whatever went wrong, and `AskedToRest`.

    A run that goes on does so from its newest checkpoint, or else from where it began. One of several
    processes cannot, as the others wait for what one was at: it raises `OutOfMemory`.
    """
    while True:
        try:
            return train(plan, tell, asked_to_rest, together)
        except OutOfMemory as error:
            if together.size > 1:
                raise
            reduction = plan.reduced(error.step)
            if reduction is None:
                raise too_little_memory(plan.hyperparameters.max_length) from error
        # Here nothing holds what the failed run had: not even the exception, with its frames.
        give_back()
        tell(_told(reduction))
        written = checkpoints_of(plan)
        came = str(written) if next(newest_first(written), None) is not None else plan.resume_dir
        plan = msgspec.structs.replace(plan, reduction=reduction, resume_dir=came)


def to_need_less(error: Exception, plan: Plan | None) -> Reduced | None:
    """The last word of one of several processes that is out of memory: how the next attempt is to go on."""
    if not isinstance(error, OutOfMemory) or plan is None:
        return None
    reduction = plan.reduced(error.step)
    return _told(reduction) if reduction is not None else None


def _told(reduction: Reduction) -> Reduced:
    return Reduced(*msgspec.structs.astuple(reduction))
