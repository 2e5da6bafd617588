"""From `created` to the first step, and from a worker's death to the next attempt's first step.

    python -m benchmarks.first_step [--rounds 5] [--kills 2]

Two workers wait, each with a warm child. What a tuning spends before its first step beyond loading the model,
reading its rows and the step itself is the service's doing, and is to be at most 2 s. A killed worker is
missed once its lease of 30 s has run out; the other one then goes on from the last checkpoint.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from msgspec import Struct
from tunesmith import AsyncTuningClient

from app.domain.tunings import TUNINGS, AttemptLost, Created, Dispatched
from app.log import topics
from app.log.codec import read_event
from app.log.kafka import KafkaLog
from app.log.metrics import Phase, Step, read_metric
from app.log.port import read_all
from app.log.workers import read_heartbeat
from benchmarks.report import median, table, written
from benchmarks.service import SERVER, Service, running_service

ROWS = Path(__file__).parents[1] / "examples" / "order_mails" / "train.jsonl"
MODEL = "smollm2-135m-instruct"
OVERHEAD = 2.0
WORKERS = ("bench-1", "bench-2")
POLL, FRESH = 0.2, 6.0


class Story(Struct):
    """When what happened to a tuning, by attempt where it has them; steps with their numbers."""

    created: datetime | None = None
    dispatched: dict[int, tuple[datetime, str]] = {}
    lost: dict[int, datetime] = {}
    phases: dict[tuple[int, str], datetime] = {}
    steps: dict[int, list[tuple[datetime, int]]] = {}


def main() -> None:
    arguments = argparse.ArgumentParser(description="Time to the first step, and to the next attempt's.")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--kills", type=int, default=2)
    given = arguments.parse_args()
    with running_service(slots=0) as service, ExitStack() as stack:
        workers = {name: stack.enter_context(worker(service, name)) for name in WORKERS}
        begun, killed = asyncio.run(measured(service, workers, given.rounds, given.kills, stack))
    rows = [[name, f"{median([one[name] for one in begun]):.2f}"] for name in begun[0]]
    print(table(["s, median", "p50"], rows))
    if killed:
        print(
            table(
                ["s, median", "p50"],
                [[name, f"{median([one[name] for one in killed]):.2f}"] for name in killed[0]],
            )
        )
    overhead = median([one["overhead"] for one in begun])
    written(
        "first_step",
        {"begun": begun, "killed": killed},
        {f"overhead at most {OVERHEAD:g} s": overhead <= OVERHEAD},
    )


@contextmanager
def worker(service: Service, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A trainer worker as a process of its own."""
    environment = os.environ | {
        "TUNESMITH_KAFKA": service.kafka,
        "TUNESMITH_DATABASE": service.database,
        "TUNESMITH_DATA_DIR": str(service.folder),
        "TUNESMITH_WORKER": name,
        "TUNESMITH_LOG_LEVEL": "warning",
    }
    process = subprocess.Popen([*SERVER, "run", "trainer-worker"], env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def measured(
    service: Service, workers: dict[str, subprocess.Popen[bytes]], rounds: int, kills: int, stack: ExitStack
) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Seconds of each round and of each kill, by what was done in them."""
    log = KafkaLog(service.kafka)
    begun: list[dict[str, float]] = []
    killed: list[dict[str, float]] = []
    async with AsyncTuningClient(service.key, base_url=service.url) as client:
        file = await client.files.upload(ROWS)
        await until_warm(log)
        for round in range(rounds + kills):
            tuning = await client.tunings.create(MODEL, file.id, {"epochs": 9, "batch_size": 1}, seed=round)
            story = await until_at(log, tuning.id, attempt=1, step=3)
            begun.append(beginning(story))
            print(" ".join(f"{name} {seconds:.2f}" for name, seconds in begun[-1].items()), flush=True)
            if round >= rounds:
                victim = story.dispatched[1][1]
                workers[victim].send_signal(signal.SIGKILL)
                at = datetime.now().astimezone()
                story = await until_at(log, tuning.id, attempt=2, step=1)
                killed.append(going_on(story, at))
                print(" ".join(f"{name} {seconds:.2f}" for name, seconds in killed[-1].items()), flush=True)
                workers[victim] = stack.enter_context(worker(service, victim))
            await client.tunings.cancel(tuning.id)
            await until_warm(log)
    return begun, killed


async def until_at(log: KafkaLog, id: str, *, attempt: int, step: int) -> Story:
    """A tuning's story once an attempt has made so many steps."""
    while True:
        story = await told(log, id)
        if len(story.steps.get(attempt, ())) >= step:
            return story
        await asyncio.sleep(POLL)


async def told(log: KafkaLog, id: str) -> Story:
    """What the log has of a tuning."""
    story = Story()
    async for record in read_all(log, topics.events(TUNINGS.stream)):
        if record.key != id:
            continue
        event = read_event(TUNINGS, record)
        match event.body:
            case Created():
                story.created = event.at
            case Dispatched(attempt=attempt):
                story.dispatched[attempt.number] = event.at, attempt.worker
            case AttemptLost(attempt=number):
                story.lost[number] = event.at
    async for record in read_all(log, topics.METRICS):
        if record.key != id:
            continue
        match read_metric(record)[1]:
            case Phase(attempt=number, phase=phase):
                story.phases.setdefault((number, phase), record.at)
            case Step(attempt=number, step=step):
                story.steps.setdefault(number, []).append((record.at, step))
    return story


def beginning(story: Story) -> dict[str, float]:
    """Seconds between what happened before the first step."""
    assert story.created is not None
    loading, training = story.phases[1, "loading"], story.phases[1, "training"]
    first, second, third = (at for at, _ in story.steps[1][:3])
    step = min(second - first, third - second)
    taken = (loading - story.created).total_seconds()
    return {
        "created to dispatched": (story.dispatched[1][0] - story.created).total_seconds(),
        "created to the child at work": taken,
        "loading model and rows": (training - loading).total_seconds(),
        "the first step": (first - training).total_seconds(),
        "a usual step": step.total_seconds(),
        "overhead": taken + (first - training - step).total_seconds(),
    }


def going_on(story: Story, killed: datetime) -> dict[str, float]:
    """Seconds from a worker's death on, and the steps that were made in vain."""
    first, step = story.steps[2][0]
    return {
        "killed to lost": (story.lost[1] - killed).total_seconds(),
        "lost to the next child at work": (story.phases[2, "loading"] - story.lost[1]).total_seconds(),
        "killed to the next attempt's first step": (first - killed).total_seconds(),
        "steps made again": float(story.steps[1][-1][1] - (step - 1)),
    }


async def until_warm(log: KafkaLog) -> None:
    """Wait until every worker has a child at rest."""
    while True:
        beats = {record.key: record async for record in read_all(log, topics.WORKERS)}
        told = [(beats[name].at, read_heartbeat(beats[name])) for name in WORKERS if name in beats]
        fresh = datetime.now().astimezone() - timedelta(seconds=FRESH)
        warm = [
            beat
            for at, beat in told
            if beat is not None and at > fresh and beat.slots and beat.slots[0].occupant is None
        ]
        if len(warm) == len(WORKERS):
            return
        await asyncio.sleep(POLL)


if __name__ == "__main__":
    main()
