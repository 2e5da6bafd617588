"""What trainer workers tell beside the events: steps and phases, on the metrics topic, keyed by job."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from app.log import topics
from app.log.codec import Undecodable, attributes, encode, headers, where
from app.log.port import Received, Record

STEP = "tunesmith.tuning.step.v1"
PHASE = "tunesmith.tuning.phase.v1"


class Step(Struct, frozen=True):
    """One optimizer step. Loss in nats per token, memory in bytes, `epoch` a fraction, times in seconds.

    `device` is the kind that it was taken on, empty where an older worker did not tell.
    """

    attempt: int
    step: int
    epoch: float
    loss: float
    learning_rate: float
    grad_norm: float | None
    tokens: int
    tokens_per_second: float
    seconds_left: float
    total_steps: int
    total_epochs: int
    memory_peak: int
    eval_loss: float | None = None
    device: str = ""


class Phase(Struct, frozen=True):
    """What an attempt is at: `loading`, `training`, `evaluating`, `saving`, `verifying`; details in words."""

    attempt: int
    phase: str
    detail: str = ""


def metric_record(tuning_id: str, metric: Step | Phase, *, worker: str) -> Record:
    """A metric, ready to be sent."""
    kind, what = (STEP, f"{metric.step}") if isinstance(metric, Step) else (PHASE, metric.phase)
    attributes = headers(
        id=f"{tuning_id}:{metric.attempt}:{what}",
        type=kind,
        source="/tunesmith/trainer-worker",
        subject=tuning_id,
        actor=f"worker:{worker}",
    )
    return Record(topics.METRICS, tuning_id, encode(metric), attributes)


def read_metric(received: Received) -> tuple[str, Step | Phase]:
    """The job and the metric. Raises `Undecodable`."""
    found = attributes(received, "ce_type", "ce_subject")
    kinds: dict[str, type[Step | Phase]] = {STEP: Step, PHASE: Phase}
    kind = kinds.get(found["ce_type"])
    if kind is None:
        raise Undecodable(
            f"{where(received)} is of type {found['ce_type']}, which this version does not know"
        )
    try:
        return found["ce_subject"], msgspec.json.decode(received.value or b"", type=kind)
    except msgspec.DecodeError as error:
        raise Undecodable(f"{where(received)} is no {kind.__name__}: {error}") from error
