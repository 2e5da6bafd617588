"""What the trainer is told: whatever a tuning may be created with changes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from app.catalogue.files import ModelError
from app.domain.hyperparameters import TABLE, Hyperparameters, resolve
from app.domain.tunings import (
    TUNINGS,
    AssignAttempt,
    Attempt,
    CreateTuning,
    FileRef,
    ModelRef,
    Order,
    Reduction,
    ReportLost,
    ReportMemoryReduced,
    ReportStarted,
    ResultFile,
    RunAttempt,
    WarmStart,
)
from app.trainer_worker.attempt import failure_of, plan_of
from app.trainer_worker.child import Child
from app.trainer_worker.training.frames import Ready
from app.trainer_worker.training.plan import Plan, Train, processes_for, read_request
from tests.unit.domain.scenario import Scenario

JOB = "job-1"
ATTEMPT = Attempt(1, "worker-1", "session-1", 0)
FILE = FileRef("file-1", "ab" * 32, "files/a", 1000, 100)
ADAPTER = ResultFile("file-2", "adapter/adapter_model.safetensors", 10, "cd" * 32, "tunings/job-0/1/adapter")

# For each row of the table something that it can be instead, and what has to come with it.
OTHERWISE: dict[str, dict[str, Any]] = {
    "rank": {"rank": 8},
    "alpha": {"alpha": 64},
    "dropout": {"dropout": 0.1},
    "target_modules": {"target_modules": ["q_proj", "v_proj"]},
    "use_rslora": {"use_rslora": True},
    "use_dora": {"use_dora": True},
    "epochs": {"epochs": 5},
    "max_steps": {"max_steps": 7},
    "batch_size": {"batch_size": 8},
    "gradient_accumulation": {"batch_size": 4, "gradient_accumulation": 2},
    "learning_rate": {"learning_rate": 1e-3},
    "scheduler": {"scheduler": "linear"},
    "warmup_ratio": {"warmup_ratio": 0.1},
    "weight_decay": {"weight_decay": 0.01},
    "max_grad_norm": {"max_grad_norm": 0.5},
    "max_length": {"max_length": 512},
    "packing": {"packing": True},
    "train_on": {"train_on": "all"},
    "use_quantization": {"use_quantization": True},
    "early_stopping_patience": {"early_stopping_patience": 2},
    "early_stopping_min_delta": {"early_stopping_patience": 2, "early_stopping_min_delta": 0.01},
    "eval_every": {"eval_every": 10},
    "checkpoints_kept": {"checkpoints_kept": 5},
    "beta": {"beta": 0.3},
}


class Warm(Child):
    """A child that is ready; nothing of it runs."""

    def __init__(self) -> None:
        self.ready = Ready("cpu", "a processor", 1, {})


def told(given: dict[str, Any] | None = None, *, reduction: Reduction | None = None, **changed: Any) -> Plan:
    """The plan that the child reads for a tuning created with this, by way of log and work order.

    With a reduction, its second attempt's: the first one was out of memory, and then lost.
    """
    hyperparameters = resolve(
        given or {},
        rows=FILE.rows,
        context_length=8192,
        method=changed.get("method", "supervised"),
        validation=True,
    )
    assert isinstance(hyperparameters, Hyperparameters), hyperparameters
    values: dict[str, Any] = {
        "account_id": "acct-1",
        "model": ModelRef("m", "r1"),
        "training_file": FILE,
        "validation_file": FILE,
        "hyperparameters": hyperparameters,
        "seed": 7,
    }
    story = Scenario(TUNINGS, JOB)
    story.then(CreateTuning(**values | changed))
    attempt = ATTEMPT
    if reduction is not None:
        attempt = replace(ATTEMPT, number=2)
        for command in (
            AssignAttempt(ATTEMPT),
            ReportStarted(1, "session-1"),
            ReportMemoryReduced(1, "session-1", reduction),
            ReportLost(1, "session-1", "child_died"),
        ):
            story.then(command)
    decision = story.when(AssignAttempt(attempt))
    [order] = decision.orders
    read = msgspec.json.decode(msgspec.json.encode(order), type=Order)
    assert isinstance(read, RunAttempt)
    plan = plan_of(read, Path("/m"), Path("/f"), Warm())
    asked = read_request(msgspec.json.encode(Train(plan)))
    assert isinstance(asked, Train)
    return asked.plan


def test_every_row_of_the_table_is_tried_here() -> None:
    assert OTHERWISE.keys() == TABLE.keys()


@pytest.mark.parametrize("name", TABLE)
def test_a_hyperparameter_changes_what_the_trainer_is_told(name: str) -> None:
    method = "dpo" if name == "beta" else "supervised"
    before, after = told(method=method), told(OTHERWISE[name], method=method)
    was, now = (json.loads(msgspec.json.encode(plan.hyperparameters))[name] for plan in (before, after))
    assert now == OTHERWISE[name][name] != was


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"method": "dpo"}, "method"),
        ({"seed": 8}, "seed"),
        ({"warm_start": WarmStart("ft:m::job-0", "job-0", (ADAPTER,))}, "warm_start"),
        ({"labels_hash": "ef" * 32}, "labels_hash"),
        ({"model": ModelRef("m", "r2")}, "model_revision"),
        ({"validation_file": None}, "validation_file"),
        ({"example_losses": 5}, "examples"),
        ({"model": ModelRef("smollm2-135m-instruct", "r1")}, "memory"),
    ],
)
def test_so_does_everything_else_that_training_depends_on(changed: dict[str, Any], field: str) -> None:
    assert getattr(told(**changed), field) != getattr(told(), field)


def test_a_model_that_is_not_to_be_had_fails_the_tuning_without_a_word_on_where_things_lie() -> None:
    told = (
        "smollm2 cannot be kept at /srv/cache/tunesmith/models/x: no space; see https://hub.test/a/b of a/b"
    )
    failure = failure_of(ModelError(told))
    assert failure.message == ("smollm2 cannot be kept at …/x: no space; see https://hub.test/a/b of a/b")


def test_the_adapter_to_go_on_from_is_told_with_its_digests() -> None:
    start = WarmStart("ft:m::job-0", "job-0", (ADAPTER,))
    plan = told(warm_start=start)
    assert (plan.warm_start, plan.warm_start_dir) == (start, "/f/warm_start")


def test_out_of_memory_a_batch_is_taken_in_more_parts_and_then_less_is_kept() -> None:
    plan, forms = told({"batch_size": 12}), []
    while (reduction := plan.reduced(3)) is not None:
        plan = told({"batch_size": 12}, reduction=reduction)
        assert plan.rows_at_a_time * plan.gradient_accumulation == 12
        assert plan.hyperparameters == told({"batch_size": 12}).hyperparameters
        forms.append((plan.rows_at_a_time, plan.gradient_checkpointing))
    assert forms == [(6, False), (3, False), (1, False), (1, True)]


@pytest.mark.parametrize(
    ("batch", "accumulation", "devices", "processes", "rows", "parts"),
    [
        (8, 1, 2, 2, 4, 1),
        (8, 2, 2, 2, 4, 1),  # no more rows at a time than one alone would take, and so half as many parts
        (8, 8, 2, 2, 1, 4),
        (8, 2, 3, 2, 4, 1),  # one device is left without work: the batch is not made another
        (6, 2, 2, 2, 3, 1),
        (12, 3, 2, 2, 3, 2),  # one alone takes 4, of which a share has no equal parts
        (5, 1, 4, 1, 5, 1),
        (4, 2, 1, 1, 2, 2),
    ],
)
def test_a_batch_is_shared_by_as_many_devices_as_can_share_it_equally(
    batch: int, accumulation: int, devices: int, processes: int, rows: int, parts: int
) -> None:
    given = {"batch_size": batch, "gradient_accumulation": accumulation}
    plan = msgspec.structs.replace(told(given), processes=processes_for(batch, devices))
    assert (plan.processes, plan.rows_at_a_time, plan.gradient_accumulation) == (processes, rows, parts)
    assert plan.processes * plan.rows_at_a_time * plan.gradient_accumulation == batch
