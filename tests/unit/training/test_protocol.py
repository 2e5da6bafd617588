from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from app.domain.hyperparameters import Hyperparameters
from app.trainer_worker.training.frames import (
    Epoch,
    Evaluation,
    Failed,
    Frame,
    FrameError,
    Phase,
    Planned,
    Ready,
    Saved,
    Step,
    Verified,
    frame_line,
    read_frame,
    shown,
)
from app.trainer_worker.training.plan import Plan, PlanError, Train, Verify, read_plan, read_request

FRAMES: list[Frame] = [
    Ready("cpu", "a processor", 1, {"torch": "2"}),
    Phase("loading"),
    Planned(2, 8, 2, 100, 50, 0, "ab", 1, 4, 10),
    Step(1, 2, 0.5, 1.25, 1e-4, None, 50, 10.0, 5.0, 1),
    Evaluation(1, 1.5),
    Epoch(1, 2, 1.0, None),
    Saved("a", "r", 1.0, None, 50),
    Verified(0.0),
    Failed("bad_rows", "user", "line 3", "training_file"),
]


def plan(**changed: Any) -> Plan:
    hyperparameters = Hyperparameters(alpha=32.0, batch_size=8, max_length=128)
    values: dict[str, Any] = {
        "job_id": "job-1",
        "attempt": 1,
        "seed": 7,
        "model_id": "m",
        "model_revision": "r",
        "model_dir": "/m",
        "training_file": "/t",
        "hyperparameters": hyperparameters,
        "output_dir": "/o",
    }
    return Plan(**values | changed)


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__name__)
def test_a_frame_is_one_line_and_reads_back_the_same(frame: Frame) -> None:
    line = frame_line(frame)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert read_frame(line) == frame


@pytest.mark.parametrize("line", [b"", b"hello\n", b'{"type":"gossip"}\n', b'{"type":"verified"}\n'])
def test_a_line_that_is_no_frame_is_told(line: bytes) -> None:
    with pytest.raises(FrameError, match="not a frame"):
        read_frame(line)


def test_a_plan_reads_back_the_same() -> None:
    assert read_plan(msgspec.json.encode(plan())) == plan()
    assert read_request(msgspec.json.encode(Train(plan()))) == Train(plan())
    assert read_request(msgspec.json.encode(Verify("/a"))) == Verify("/a")


def test_quantisation_makes_the_kind_of_adapter() -> None:
    quantised = msgspec.structs.replace(plan().hyperparameters, use_quantization=True)
    assert (plan().adapter, plan(hyperparameters=quantised).adapter) == ("lora", "qlora")


def test_a_step_is_taken_in_equal_parts_or_not_at_all() -> None:
    halves, thirds = (
        msgspec.structs.replace(plan().hyperparameters, gradient_accumulation=parts) for parts in (2, 3)
    )
    assert plan(hyperparameters=halves).rows_at_a_time == 4
    with pytest.raises(ValueError, match="3 equal parts"):
        plan(hyperparameters=thirds)


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"device": "tpu"}, "device"),
        ({"attempt": 0}, "attempt"),
        ({"method": "guessing"}, "method"),
        ({"hyperparameters": {"rank": 0}}, "rank|alpha"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_says_why(changed: dict[str, Any], complaint: str) -> None:
    document = msgspec.to_builtins(plan()) | changed
    with pytest.raises(PlanError, match=complaint):
        read_plan(msgspec.json.encode(document))


def test_the_protocol_loads_no_model_library() -> None:
    modules = "environment, failures, frames, plan"
    loaded = f"import sys; from app.trainer_worker.training import {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_each_frame_is_a_line_of_the_attempts_log() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert shown(Epoch(1, 2, 1.0, None), at) == "03:04:05 epoch epoch=1 step=2 train_loss=1.0"
    assert all("\n" not in shown(frame, at) for frame in FRAMES)
