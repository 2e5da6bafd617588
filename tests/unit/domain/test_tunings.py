"""Every cell of state × command of the tunings."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from app.domain.hyperparameters import Hyperparameters
from app.domain.tunings import (
    TUNINGS,
    AssignAttempt,
    Attempt,
    AttemptLost,
    Cancelled,
    CancelTuning,
    Checkpoint,
    CheckpointSaved,
    Created,
    CreateTuning,
    Dispatched,
    EpochCompleted,
    EpochResult,
    Failed,
    Failure,
    FileRef,
    HandBackAttempt,
    MemoryReduced,
    ModelRef,
    PauseAttempt,
    Paused,
    PauseRequested,
    PauseTuning,
    PreemptAttempt,
    Reduction,
    ReportCheckpoint,
    ReportEpoch,
    ReportFailed,
    ReportLost,
    ReportMemoryReduced,
    ReportPaused,
    ReportStarted,
    ReportSucceeded,
    Resumed,
    ResumeTuning,
    RunAttempt,
    Started,
    StopAttempt,
    Succeeded,
    Updated,
    UpdateTuning,
)
from tests.unit.domain.scenario import Scenario

JOB = "job-a"
FIRST = Attempt(1, "worker-1", "session-1", 0)
SECOND = Attempt(2, "worker-1", "session-2", 0)
CREATE = CreateTuning(
    account_id="acct-a",
    model=ModelRef("smollm2", "r1"),
    training_file=FileRef("file-a", "aa", "files/a", 10, 100),
    validation_file=None,
    hyperparameters=Hyperparameters(alpha=32.0, batch_size=4, max_length=512, epochs=2),
    suffix="mails",
    seed=7,
    request_hash="hash-1",
)
EPOCH = EpochResult(1, 25, 0.5, 0.6)
CHECKPOINT = Checkpoint(10, 0, 40, "checkpoints/a/10", "bb", 1000)
REDUCTION = Reduction(10, 2, 4)
FAILURE = Failure("bad_rows", "user", "line 3 cannot be read")

CREATED = TUNINGS.decide(None, CREATE, None).events[0]  # type: ignore[union-attr,arg-type]
STORIES: dict[str, tuple[Any, ...]] = {
    "none": (),
    "queued": (CREATED,),
    "dispatched": (CREATED, Dispatched(FIRST)),
    "running": (CREATED, Dispatched(FIRST), Started(1)),
    "between attempts": (CREATED, Dispatched(FIRST), Started(1), AttemptLost(1, "worker_lost")),
    "pausing": (CREATED, Dispatched(FIRST), Started(1), PauseRequested(1)),
    "paused": (CREATED, Dispatched(FIRST), Started(1), PauseRequested(1), Paused(1)),
    "resumed": (CREATED, Dispatched(FIRST), Started(1), PauseRequested(1), Paused(1), Resumed()),
    "succeeded": (CREATED, Dispatched(FIRST), Started(1), Succeeded(1, "ft:x", 0.1, None, 9, ())),
    "failed": (CREATED, Dispatched(FIRST), Started(1), Failed(1, FAILURE)),
    "cancelled": (CREATED, Cancelled(None)),
}
COMMANDS: dict[str, Any] = {
    "create": CREATE,
    "assign": AssignAttempt(FIRST),
    "assign second": AssignAttempt(SECOND),
    "started": ReportStarted(1, "session-1"),
    "epoch": ReportEpoch(1, "session-1", EPOCH),
    "checkpoint": ReportCheckpoint(1, "session-1", CHECKPOINT),
    "paused": ReportPaused(1, "session-1"),
    "succeeded": ReportSucceeded(1, "session-1", 0.1, None, 9, ()),
    "failed": ReportFailed(1, "session-1", FAILURE),
    "lost": ReportLost(1, "session-1", "worker_lost"),
    "memory reduced": ReportMemoryReduced(1, "session-1", REDUCTION),
    "preempt": PreemptAttempt(1, "session-1"),
    "pause": PauseTuning(),
    "resume": ResumeTuning(),
    "cancel": CancelTuning(),
    "update": UpdateTuning(priority=5),
}
ILLEGAL, OVER, MISSING = "invalid_state_transition", "attempt_superseded", "not_found"
# What each command makes happen in each state: event types, or the code of the refusal.
TABLE: dict[str, dict[str, Any]] = {
    "none": {"create": [Created]} | {name: MISSING for name in COMMANDS if name != "create"},
    "queued": {
        "create": [],
        "assign": [Dispatched],
        "assign second": OVER,
        "started": OVER,
        "epoch": OVER,
        "succeeded": OVER,
        "failed": OVER,
        "lost": OVER,
        "checkpoint": OVER,
        "paused": OVER,
        "memory reduced": OVER,
        "preempt": OVER,
        "pause": ILLEGAL,
        "resume": ILLEGAL,
        "cancel": [Cancelled],
        "update": [Updated],
    },
    "dispatched": {
        "create": [],
        "assign": [],
        "assign second": "attempt_taken",
        "started": [Started],
        "epoch": ILLEGAL,
        "succeeded": ILLEGAL,
        "failed": ILLEGAL,
        "lost": [AttemptLost],
        "checkpoint": ILLEGAL,
        "paused": ILLEGAL,
        "memory reduced": ILLEGAL,
        "preempt": [],
        "pause": ILLEGAL,
        "resume": ILLEGAL,
        "cancel": [Cancelled],
        "update": [Updated],
    },
    "running": {
        "create": [],
        "assign": [],
        "assign second": "attempt_taken",
        "started": [],
        "epoch": [EpochCompleted],
        "succeeded": [Succeeded],
        "failed": [Failed],
        "lost": [AttemptLost],
        "checkpoint": [CheckpointSaved],
        "paused": ILLEGAL,
        "memory reduced": [MemoryReduced],
        "preempt": [],
        "pause": [PauseRequested],
        "resume": [],
        "cancel": [Cancelled],
        "update": [Updated],
    },
    "between attempts": {
        "create": [],
        "assign": OVER,
        "assign second": [Dispatched],
        "started": OVER,
        "epoch": OVER,
        "succeeded": OVER,
        "failed": OVER,
        "lost": OVER,
        "checkpoint": OVER,
        "paused": OVER,
        "memory reduced": OVER,
        "preempt": OVER,
        "pause": [PauseRequested, Paused],
        "resume": [],
        "cancel": [Cancelled],
        "update": [Updated],
    },
    "pausing": {
        "create": [],
        "assign": [],
        "assign second": "attempt_taken",
        "started": [],
        "epoch": [EpochCompleted],
        "checkpoint": [CheckpointSaved],
        "paused": [Paused],
        "succeeded": [Succeeded],
        "failed": [Failed],
        "lost": [AttemptLost, Paused],
        "memory reduced": [MemoryReduced],
        "preempt": [],
        "pause": [],
        "resume": ILLEGAL,
        "cancel": [Cancelled],
        "update": [Updated],
    },
    "paused": dict.fromkeys(COMMANDS, OVER)
    | {
        "create": [],
        "assign": ILLEGAL,
        "assign second": ILLEGAL,
        "pause": [],
        "resume": [Resumed],
        "cancel": [Cancelled],
        "update": [Updated],
    },
    "resumed": dict.fromkeys(COMMANDS, OVER)
    | {
        "create": [],
        "assign second": [Dispatched],
        "pause": [PauseRequested, Paused],
        "resume": [],
        "cancel": [Cancelled],
        "update": [Updated],
    },
    "succeeded": dict.fromkeys(COMMANDS, ILLEGAL) | {"create": []},
    "failed": dict.fromkeys(COMMANDS, ILLEGAL) | {"create": []},
    "cancelled": dict.fromkeys(COMMANDS, ILLEGAL) | {"create": [], "cancel": []},
}


def test_the_table_has_a_cell_for_every_state_and_command() -> None:
    assert set(TABLE) == set(STORIES)
    assert all(set(row) == set(COMMANDS) for row in TABLE.values())


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("state", STORIES)
def test_each_command_in_each_state_does_what_the_table_says(state: str, command: str) -> None:
    scenario = Scenario(TUNINGS, JOB, *STORIES[state])
    expected = TABLE[state][command]
    if isinstance(expected, str):
        assert scenario.refused(COMMANDS[command]).code == expected
    else:
        assert [type(event) for event in scenario.then(COMMANDS[command])] == expected


@pytest.mark.parametrize(
    ("state", "command", "target"),
    [
        ("succeeded", "cancel", "become cancelled"),
        ("failed", "succeeded", "become succeeded"),
        ("cancelled", "failed", "become failed"),
        ("failed", "update", "be updated"),
        ("cancelled", "resume", "be resumed"),
        ("dispatched", "succeeded", "become succeeded"),
    ],
)
def test_an_illegal_transition_names_both_states(state: str, command: str, target: str) -> None:
    scenario = Scenario(TUNINGS, JOB, *STORIES[state])
    status = scenario.state.status
    assert f"is {status} and cannot {target}" in scenario.refused(COMMANDS[command]).message


def test_the_same_request_again_is_the_same_tuning() -> None:
    assert Scenario(TUNINGS, JOB, CREATED).then(CREATE) == ()


def test_another_request_under_the_same_key_is_a_conflict() -> None:
    refused = Scenario(TUNINGS, JOB, CREATED).refused(replace(CREATE, request_hash="hash-2"))
    assert refused.code == "idempotency_conflict"


def test_the_work_order_leaves_with_the_dispatch_and_carries_the_tuning() -> None:
    decision = Scenario(TUNINGS, JOB, CREATED).when(AssignAttempt(FIRST))
    [order] = decision.orders
    assert isinstance(order, RunAttempt)
    assert (order.attempt, order.tuning.id, order.tuning.seed) == (FIRST, JOB, 7)


def test_cancelling_a_running_tuning_orders_its_worker_to_stop() -> None:
    decision = Scenario(TUNINGS, JOB, *STORIES["running"]).when(CancelTuning())
    assert decision.orders == (StopAttempt(JOB, 1, "worker-1", "session-1", "cancelled"),)


def test_cancelling_a_waiting_tuning_orders_nobody() -> None:
    assert Scenario(TUNINGS, JOB, CREATED).when(CancelTuning()).orders == ()


def test_a_worker_that_comes_back_late_changes_nothing_and_is_told_to_stop() -> None:
    late = Scenario(TUNINGS, JOB, *STORIES["between attempts"], Dispatched(SECOND))
    refused = late.refused(ReportSucceeded(1, "session-1", 0.1, None, 9, ()), actor="worker:worker-1")
    assert refused.code == "attempt_superseded"
    assert refused.orders == (StopAttempt(JOB, 1, "worker-1", "session-1", "superseded"),)
    assert late.state.status == "running"


def test_a_report_of_another_session_of_the_same_attempt_is_refused() -> None:
    running = Scenario(TUNINGS, JOB, *STORIES["running"])
    assert running.refused(ReportEpoch(1, "session-0", EPOCH)).code == "attempt_superseded"


def test_epochs_are_told_in_order_and_repeats_change_nothing() -> None:
    running = Scenario(TUNINGS, JOB, *STORIES["running"])
    assert running.refused(ReportEpoch(1, "session-1", replace(EPOCH, epoch=2))).code == "epoch_out_of_order"
    assert len(running.then(ReportEpoch(1, "session-1", EPOCH))) == 1
    assert running.then(ReportEpoch(1, "session-1", EPOCH)) == ()
    assert len(running.then(ReportEpoch(1, "session-1", replace(EPOCH, epoch=2)))) == 1
    assert running.refused(ReportEpoch(1, "session-1", replace(EPOCH, epoch=3))).code == "epoch_out_of_order"


def test_steps_over_packed_rows_may_take_more_epochs_than_could_be_known() -> None:
    hyper = replace(CREATE.hyperparameters, packing=True, max_steps=3)
    running = Scenario(TUNINGS, JOB)
    running.then(replace(CREATE, hyperparameters=hyper))
    running.then(AssignAttempt(FIRST))
    running.then(ReportStarted(1, "session-1"))
    for epoch in (1, 2, 3):
        assert len(running.then(ReportEpoch(1, "session-1", replace(EPOCH, epoch=epoch)))) == 1
    assert running.refused(ReportEpoch(1, "session-1", replace(EPOCH, epoch=5))).code == "epoch_out_of_order"


def test_a_tuning_that_started_stays_started_over_a_lost_attempt() -> None:
    tuning = Scenario(TUNINGS, JOB, *STORIES["between attempts"], Dispatched(SECOND))
    assert tuning.then(ReportStarted(2, "session-2")) == ()
    assert tuning.state.status == "running"


def test_the_fourth_loss_after_the_start_fails_the_tuning() -> None:
    tuning = Scenario(TUNINGS, JOB, *STORIES["running"])
    for number in range(1, 5):
        events = tuning.then(ReportLost(number, f"session-{number}", "worker_lost"))
        if number < 4:
            assert [type(event) for event in events] == [AttemptLost]
            tuning.then(AssignAttempt(Attempt(number + 1, "worker-1", f"session-{number + 1}", 0)))
    assert [type(event) for event in events] == [AttemptLost, Failed]
    assert (tuning.state.status, tuning.state.failure.code) == ("failed", "attempts_exhausted")


def test_losses_before_the_start_never_use_up_the_retries() -> None:
    tuning = Scenario(TUNINGS, JOB, CREATED)
    for number in range(1, 20):
        tuning.then(AssignAttempt(Attempt(number, "worker-1", "s", 0)))
        tuning.then(ReportLost(number, "s", "order_declined"))
    assert tuning.state.status == "pending"


def test_the_tuned_model_is_named_after_base_suffix_and_job() -> None:
    tuning = Scenario(TUNINGS, JOB, *STORIES["running"])
    tuning.then(ReportSucceeded(1, "session-1", 0.1, 0.2, 9, ()))
    assert tuning.state.fine_tuned_model == "ft:smollm2:mails:job-a"


def test_a_pause_orders_the_worker_to_bring_its_attempt_to_rest() -> None:
    decision = Scenario(TUNINGS, JOB, *STORIES["running"]).when(PauseTuning())
    assert decision.orders == (PauseAttempt(JOB, 1, "worker-1", "session-1"),)


def test_an_attempt_lost_while_a_pause_was_asked_for_leaves_the_tuning_paused_at_its_last_checkpoint() -> (
    None
):
    tuning = Scenario(TUNINGS, JOB, *STORIES["running"], CheckpointSaved(1, CHECKPOINT), PauseRequested(1))
    tuning.then(ReportLost(1, "session-1", "worker_lost"))
    assert (tuning.state.status, tuning.state.checkpoint, tuning.state.pausing) == (
        "paused",
        CHECKPOINT,
        False,
    )


def test_the_attempt_after_a_pause_is_told_the_checkpoint_to_go_on_from() -> None:
    tuning = Scenario(TUNINGS, JOB, *STORIES["running"])
    tuning.then(ReportCheckpoint(1, "session-1", CHECKPOINT))
    for command in (PauseTuning(), ReportPaused(1, "session-1"), ResumeTuning()):
        tuning.then(command)
    decision = tuning.when(AssignAttempt(SECOND))
    [order] = decision.orders
    assert isinstance(order, RunAttempt)
    assert order.tuning.checkpoint == CHECKPOINT


def test_checkpoints_only_go_forward() -> None:
    tuning = Scenario(TUNINGS, JOB, *STORIES["running"])
    tuning.then(ReportCheckpoint(1, "session-1", CHECKPOINT))
    assert tuning.then(ReportCheckpoint(1, "session-1", CHECKPOINT)) == ()
    assert tuning.then(ReportCheckpoint(1, "session-1", replace(CHECKPOINT, step=9))) == ()
    assert len(tuning.then(ReportCheckpoint(1, "session-1", replace(CHECKPOINT, step=20, key="20")))) == 1
    assert len(tuning.then(ReportCheckpoint(1, "session-1", replace(CHECKPOINT, step=20, key="20b")))) == 1


def test_what_a_later_attempt_saves_is_news_for_it_could_not_use_what_was_known() -> None:
    tuning = Scenario(TUNINGS, JOB, *STORIES["running"])
    tuning.then(ReportCheckpoint(1, "session-1", CHECKPOINT))
    tuning.then(ReportLost(1, "session-1", "child_died"))
    tuning.then(AssignAttempt(SECOND))
    earlier = replace(CHECKPOINT, step=5, key="checkpoints/b/5")
    for saved in (earlier, replace(CHECKPOINT, key="checkpoints/b/10")):
        tuning.then(ReportCheckpoint(2, SECOND.session, saved))
        assert tuning.state.checkpoint == saved


def test_an_update_tells_what_it_changes_and_nothing_else() -> None:
    tuning = Scenario(TUNINGS, JOB, CREATED)
    assert tuning.then(UpdateTuning(metadata={"team": "a"})) == (Updated(None, {"team": "a"}),)
    assert tuning.then(UpdateTuning(priority=5, metadata={"team": "a"})) == (Updated(5, None),)
    assert tuning.then(UpdateTuning(priority=5)) == ()
    assert tuning.then(UpdateTuning(priority=0, metadata={})) == (Updated(0, {}),)
    assert (tuning.state.priority, tuning.state.metadata) == (0, {})


def test_preempting_an_attempt_orders_its_worker_to_hand_it_back() -> None:
    decision = Scenario(TUNINGS, JOB, *STORIES["running"]).when(PreemptAttempt(1, "session-1"))
    assert decision.orders == (HandBackAttempt(JOB, 1, "worker-1", "session-1", "preempted"),)


def test_one_that_comes_to_rest_anyway_is_not_preempted_as_well() -> None:
    assert Scenario(TUNINGS, JOB, *STORIES["pausing"]).when(PreemptAttempt(1, "session-1")).orders == ()


def test_what_was_given_back_uses_up_no_retry_and_waits_for_nothing() -> None:
    tuning = Scenario(TUNINGS, JOB, *STORIES["running"])
    for number in range(1, 10):
        tuning.then(ReportLost(number, f"session-{number}", "preempted"))
        tuning.then(AssignAttempt(Attempt(number + 1, "worker-1", f"session-{number + 1}", 0)))
    assert (tuning.state.status, tuning.state.losses_after_start, tuning.state.lost_at) == (
        "running",
        0,
        None,
    )


def test_a_reduction_goes_with_the_next_attempt() -> None:
    tuning = Scenario(TUNINGS, JOB, *STORIES["running"])
    tuning.then(ReportMemoryReduced(1, "session-1", REDUCTION))
    tuning.then(ReportLost(1, "session-1", "child_died"))
    [order] = tuning.when(AssignAttempt(SECOND)).orders
    assert isinstance(order, RunAttempt)
    assert order.tuning.reduction == REDUCTION
