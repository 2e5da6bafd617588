"""Commands that come twice, late, in another order, or against one another."""

from __future__ import annotations

import asyncio
import random

import msgspec
import pytest

from app.domain.tunings import (
    TUNINGS,
    AssignAttempt,
    Attempt,
    CancelTuning,
    ReportEpoch,
    ReportStarted,
    ReportSucceeded,
)
from app.log import topics
from app.log.codec import read_event
from app.log.kafka import KafkaLog
from app.log.port import read_all
from tests.faults.conftest import Oracle
from tests.faults.load import Load
from tests.faults.oracle import answered, replies
from tests.faults.rounds import rounds
from tests.faults.story import CREATE, EPOCH, STORY, Sent, outcomes, story
from tests.handling import handling

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


async def test_commands_repeated_and_out_of_order_have_one_outcome(
    log: KafkaLog, load: Load, true: Oracle
) -> None:
    chance = random.Random(7)
    expected: dict[str, list[Sent]] = {}
    async with handling(log, "tunings"):
        for number in range(rounds(30, 300)):
            told = story(f"job-{number}")
            for _ in range(chance.randrange(6)):
                told.insert(chance.randrange(len(told) + 1), chance.choice(told))
            if number % 3 == 0:
                chance.shuffle(told)
            expected[f"job-{number}"] = told
            load.repeated |= {one.id for one in told}
            await load.send(told)
    await true()
    assert any(len(commands) > len(STORY) for commands in expected.values())


async def test_the_same_request_again_is_the_same_job_and_another_one_under_its_key_a_conflict(
    log: KafkaLog, load: Load, true: Oracle
) -> None:
    again = Sent("cmd-again", "job", CREATE)
    other = Sent("cmd-other", "job", msgspec.structs.replace(CREATE, request_hash="another"))
    async with handling(log, "tunings"):
        await load.send([*story("job", [CREATE]), again, other])
        await answered(log, load.sent)
    told = {reply.command_id: reply for reply in await replies(log)}
    assert (told["cmd-again"].accepted, told["cmd-again"].version) == (True, 1)
    assert (told["cmd-other"].accepted, told["cmd-other"].code) == (False, "idempotency_conflict")
    await true()


async def test_of_a_cancel_and_a_success_one_ends_the_job_and_the_other_is_told_why(
    log: KafkaLog, load: Load, true: Oracle
) -> None:
    jobs = [f"job-{number}" for number in range(200)]
    success = ReportSucceeded(1, "s", 0.1, None, 9, ())
    begun = (CREATE, AssignAttempt(Attempt(1, "worker-1", "s", 0)), ReportStarted(1, "s"))
    racing = {
        id: (Sent(f"cancel-{id}", id, CancelTuning()), Sent(f"success-{id}", id, success)) for id in jobs
    }
    async with handling(log, "tunings"):
        for id in jobs:
            await load.send(story(id, begun))
        senders = Load(log), Load(log)
        chance = random.Random(7)
        for id in jobs:
            runners = list(zip(senders, racing[id], strict=True))
            chance.shuffle(runners)
            await asyncio.gather(*(sender.send([command]) for sender, command in runners))
        await answered(log, [*load.sent, *senders[0].sent, *senders[1].sent])
        for sender in senders:
            await sender.close()
    ends: dict[str, list[str]] = {}
    async for record in read_all(log, topics.events("tunings")):
        event = read_event(TUNINGS, record)
        if (kind := event.type.split(".")[2]) in ("succeeded", "cancelled"):
            ends.setdefault(event.aggregate_id, []).append(kind)
    assert all(len(kinds) == 1 for kinds in ends.values())
    assert ends.keys() == set(jobs)
    told = {reply.command_id: reply for reply in await replies(log)}
    for id, [kind] in ends.items():
        lost = told[f"cancel-{id}" if kind == "succeeded" else f"success-{id}"]
        wanted = "cancelled" if kind == "succeeded" else "succeeded"
        assert not lost.accepted
        assert f"is {kind} and cannot become {wanted}" in (lost.message or "")
    assert {kind for [kind] in ends.values()} == {"succeeded", "cancelled"}, "nothing raced"
    # For the oracle: in the order in which they were decided.
    for id in jobs:
        cancel, succeed = racing[id]
        load.sent += [cancel, succeed] if ends[id] == ["cancelled"] else [succeed, cancel]
    await true()


async def test_a_record_too_large_is_refused_alone_and_the_rest_of_its_batch_unharmed(
    log: KafkaLog, load: Load, true: Oracle
) -> None:
    large = msgspec.structs.replace(CREATE, metadata={"note": "x" * 850_000})
    await load.send(story("job-a"))
    refused = Sent("cmd-large", "job-large", large)
    await load.send([refused, Sent("cmd-after", "job-large", CREATE)])
    await load.send(story("job-b"))
    async with handling(log, "tunings"):  # all of them are there before it comes: they are one batch
        await answered(log, load.sent)
    told = {reply.command_id: reply for reply in await replies(log)}
    assert (told["cmd-large"].accepted, told["cmd-large"].code) == (False, "too_large")
    assert "larger than the log takes" in (told["cmd-large"].message or "")
    assert told["cmd-after"].accepted
    load.sent.remove(refused)
    await true()


async def test_an_aggregate_that_grows_too_large_refuses_what_would_make_it_so(
    log: KafkaLog, load: Load, true: Oracle
) -> None:
    """Each event by itself is small enough; the state that they make together would not be."""
    grown = msgspec.structs.replace(CREATE, metadata={"note": "x" * 400_000})
    begun = (grown, AssignAttempt(Attempt(1, "worker-1", "s", 0)), ReportStarted(1, "s"))
    failing = [
        Sent(
            f"cmd-fail-{number}",
            "job",
            msgspec.convert(
                {
                    "attempt": 1,
                    "session": "s",
                    "failure": {"code": "c", "blame": "user", "message": "y" * 401_000},
                },
                TUNINGS.commands["tunesmith.tuning.report_failed.v1"],
            ),
        )
        for number in range(2)
    ]
    async with handling(log, "tunings"):
        await load.send(story("job", begun))
        await load.send(failing)
        await load.send(story("job-b"))
        await answered(log, [*load.sent])
    told = {reply.command_id: reply for reply in await replies(log)}
    assert {told[one.id].code for one in failing} == {"too_large"}
    for one in failing:
        load.sent.remove(one)
    await true()


def test_the_story_holds_both_sides_of_every_promise() -> None:
    found = outcomes(story("job")).values()
    assert any(len(one.events) > 1 for one in found)
    assert any(one.refused for one in found)
    assert EPOCH in STORY
    assert isinstance(EPOCH, ReportEpoch)
