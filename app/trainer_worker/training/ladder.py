"""What follows when memory runs out: fewer rows at a time, then activations computed again; the batch stays.

A step's rows are the same whatever the number that goes through the model together, so the same is learned.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from app.trainer_worker.training.checkpoints import newest_first
from app.trainer_worker.training.failures import too_little_memory
from app.trainer_worker.training.frames import Frame, Reduced
from app.trainer_worker.training.memory import give_back
from app.trainer_worker.training.plan import Plan
from app.trainer_worker.training.points import checkpoints_of
from app.trainer_worker.training.run import OutOfMemory, never, train
from app.trainer_worker.training.verify import Answers

Tell = Callable[[Frame], None]


def carry_out(plan: Plan, tell: Tell, asked_to_rest: Callable[[], bool] = never) -> Answers:
    """Train, with less memory each time that it runs out. Raises whatever went wrong, and `AskedToRest`.

    A run that goes on does so from its newest checkpoint, or else from where it began.
    """
    while True:
        try:
            return train(plan, tell, asked_to_rest)
        except OutOfMemory as error:
            reduction = plan.reduced(error.step)
            if reduction is None:
                raise too_little_memory(plan.hyperparameters.max_length) from error
        # Here nothing holds what the failed run had: not even the exception, with its frames.
        give_back()
        tell(Reduced(*msgspec.structs.astuple(reduction)))
        written = checkpoints_of(plan)
        came = str(written) if next(newest_first(written), None) is not None else plan.resume_dir
        plan = msgspec.structs.replace(plan, reduction=reduction, resume_dir=came)
