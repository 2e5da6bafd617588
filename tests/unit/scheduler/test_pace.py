"""How long a tuning will take, by what was seen of others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from app.domain.hyperparameters import Hyperparameters, resolve
from app.domain.tunings import Attempt, Checkpoint, FileRef, ModelRef, Tuning
from app.scheduler.pace import Pace, work

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def tuning(id: str, *, model: str = "m", size: int = 1000, epochs: int = 1, **more: Any) -> Tuning:
    hyperparameters = resolve({"epochs": epochs}, rows=10, context_length=2048)
    assert isinstance(hyperparameters, Hyperparameters)
    file = FileRef("file-a", "00", "files/a", size, 10)
    return Tuning(
        id,
        "acct",
        ModelRef(model, "r"),
        file,
        None,
        hyperparameters,
        "supervised",
        None,
        {},
        0,
        0,
        0,
        "",
        NOW,
        **more,
    )


def ended(id: str, seconds: float, **more: Any) -> Tuning:
    of: dict[str, Any] = {"status": "succeeded", "attempts": 1, "started_at": NOW} | more
    return tuning(id, finished_at=NOW + timedelta(seconds=seconds), **of)


def test_one_twice_as_large_takes_twice_as_long_as_what_was_seen() -> None:
    pace = Pace()
    assert pace.seconds({"new": tuning("new")}) == {}
    pace.end(ended("old", 60))
    assert pace.seconds({"new": tuning("new", size=2000, epochs=3)}) == {"new": 360.0}


def test_the_same_model_counts_before_others_and_others_before_nothing() -> None:
    pace = Pace()
    pace.end(ended("other", 600, model="large"))
    assert pace.seconds({"new": tuning("new")}) == {"new": 600.0}
    pace.end(ended("own", 60))
    assert pace.seconds({"new": tuning("new")}) == {"new": 60.0}


def test_what_failed_or_was_begun_again_tells_nothing() -> None:
    pace = Pace()
    pace.end(ended("failed", 1, status="failed"))
    pace.end(ended("again", 9000, attempts=2))
    assert pace.seconds({"new": tuning("new")}) == {}


def test_a_running_one_tells_what_is_left_and_how_long_the_others_take() -> None:
    pace = Pace()
    running = tuning("running", status="running", attempts=1, started_at=NOW - timedelta(seconds=40))
    pace.run(running, 60, NOW)
    assert pace.seconds({"new": tuning("new", size=500)}) == {"new": 50.0}
    assert pace.left(running, 60, 100, NOW) == 60
    assert (
        pace.left(running, None, 100, NOW) == 60
    )  # before its first step: as long as the others, less what is over
    assert pace.left(running, None, 10, NOW) == 0
    assert pace.left(replace(running, attempts=2), None, 100, NOW) == 100  # since when, nobody tells
    assert pace.left(running, None, None, NOW) is None


def test_a_validation_file_and_a_number_of_steps_count() -> None:
    plain = tuning("job", epochs=2)
    assert work(plain) == 2000
    assert work(replace(plain, validation_file=replace(plain.training_file, bytes=300))) == 2200
    stepped = replace(plain.hyperparameters, max_steps=5, batch_size=10)
    assert work(replace(plain, hyperparameters=stepped)) == 5000  # ten rows are one step


def test_what_goes_on_from_a_checkpoint_has_less_to_do() -> None:
    pace = Pace()
    pace.end(ended("old", 60))
    kept = Checkpoint(5, 0, 5, "key", "ab", 9)
    whole = tuning("job", epochs=2)
    steps = replace(whole.hyperparameters, batch_size=1)  # 20 of them
    begun = replace(
        whole, hyperparameters=steps, checkpoint=kept, attempts=1, attempt=Attempt(1, "w", "s", 0)
    )
    found = pace.seconds({"begun": begun, "waiting": replace(begun, attempt=None)})
    assert found == {"begun": 120.0, "waiting": 90.0}
