"""Whatever is asked of an aggregate, in whatever order: its events tell a life that is allowed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from app.domain.accounts import (
    ACCOUNTS,
    IssueKey,
    OpenAccount,
    ReinstateAccount,
    RevokeKey,
    SuspendAccount,
)
from app.domain.decider import Decider, fold
from app.domain.files import FILES, DeleteFile, RecordCheck, RegisterFile
from app.domain.models import MODELS, ArchiveModel, RegisterModel
from app.domain.tunings import (
    RETRIES_AFTER_START,
    TUNINGS,
    AssignAttempt,
    Attempt,
    CancelTuning,
    Checkpoint,
    EpochResult,
    Failure,
    PauseTuning,
    ReportCheckpoint,
    ReportEpoch,
    ReportFailed,
    ReportLost,
    ReportPaused,
    ReportStarted,
    ReportSucceeded,
    ResumeTuning,
)
from app.log import topics
from app.log.aggregates import CURSOR_KEY, read_aggregate
from app.log.codec import FIRST_CHAIN, Event, Reply, chain_hash, command_record, read_event
from app.log.port import Partition, Received, Record
from tests.deciding import decided
from tests.faults.story import CREATE

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
NUMBERS = st.integers(1, 4)
SESSIONS = st.sampled_from(("s1", "s2"))
LOSSES = st.floats(0, 10)

TUNING_COMMANDS = st.one_of(
    st.just(CREATE),
    st.just(msgspec.structs.replace(CREATE, request_hash="another")),
    st.builds(AssignAttempt, st.builds(Attempt, NUMBERS, st.just("w"), SESSIONS, st.integers(0, 1))),
    st.builds(ReportStarted, NUMBERS, SESSIONS),
    st.builds(
        ReportEpoch, NUMBERS, SESSIONS, st.builds(EpochResult, NUMBERS, NUMBERS, LOSSES, st.none() | LOSSES)
    ),
    st.builds(
        ReportCheckpoint,
        NUMBERS,
        SESSIONS,
        st.builds(Checkpoint, NUMBERS, NUMBERS, st.just(0), st.just("k"), st.just("d"), st.just(1)),
    ),
    st.builds(ReportPaused, NUMBERS, SESSIONS),
    st.builds(ReportSucceeded, NUMBERS, SESSIONS, LOSSES, st.none(), st.just(1), st.just(())),
    st.builds(ReportFailed, NUMBERS, SESSIONS, st.just(Failure("c", "user", "m"))),
    st.builds(ReportLost, NUMBERS, SESSIONS, st.just("worker_lost")),
    st.just(PauseTuning()),
    st.just(ResumeTuning()),
    st.just(CancelTuning()),
)
FILE_COMMANDS = st.one_of(
    st.builds(
        RegisterFile, *map(st.just, ("acct", "a.jsonl", "fine-tune", 1, "d", "k")), st.sampled_from(("", "h"))
    ),
    st.builds(RecordCheck, st.none() | st.just("chat"), NUMBERS, st.integers(0, 1)),
    st.just(DeleteFile()),
)
MODEL_COMMANDS = st.one_of(
    st.builds(RegisterModel, st.sampled_from(("r1", "r2")), NUMBERS, NUMBERS, st.just("mit")),
    st.just(ArchiveModel()),
)
ACCOUNT_COMMANDS = st.one_of(
    st.builds(OpenAccount, st.sampled_from(("a", "b"))),
    st.builds(IssueKey, st.sampled_from(("key-1", "key-2")), st.sampled_from(("d1", "d2"))),
    st.builds(RevokeKey, st.sampled_from(("key-1", "key-2", "key-3"))),
    st.just(SuspendAccount()),
    st.just(ReinstateAccount()),
)
STREAMS: dict[str, tuple[Decider, st.SearchStrategy[Any]]] = {
    "tunings": (TUNINGS, TUNING_COMMANDS),
    "files": (FILES, FILE_COMMANDS),
    "models": (MODELS, MODEL_COMMANDS),
    "accounts": (ACCOUNTS, ACCOUNT_COMMANDS),
}
# The architecture's table of a tuning's life.
ALLOWED = {
    None: {"pending"},
    "pending": {"pending", "running", "cancelled"},
    "running": {"running", "paused", "succeeded", "failed", "cancelled"},
    "paused": {"paused", "running", "cancelled"},
    "succeeded": set(),
    "failed": set(),
    "cancelled": set(),
}


class Life(RuleBasedStateMachine):
    """One aggregate of any stream, decided by the command handler's own batches."""

    @initialize(stream=st.sampled_from(sorted(STREAMS)))
    def begin(self, stream: str) -> None:
        self.decider, _ = STREAMS[stream]
        self.stream = stream
        self.kept: dict[str, bytes] = {}
        self.events: list[Event] = []
        self.said: dict[str, Reply] = {}
        self.asked: dict[str, Any] = {}
        self.time = BEGAN
        self.chain = FIRST_CHAIN

    @rule(data=st.data(), seconds=st.integers(-5, 100))
    def ask(self, data: st.DataObject, seconds: int) -> None:
        """A new command; the log's clock may go back between two brokers."""
        body = data.draw(STREAMS[self.stream][1])
        id = f"cmd-{len(self.asked)}"
        self.asked[id] = body
        self._decide(id, body, seconds)

    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """A command that was sent before comes once more: what was accepted has no second effect."""
        if self.asked:
            id = data.draw(st.sampled_from(sorted(self.asked)))
            first, before = self.said[id], len(self.events)
            self._decide(id, self.asked[id], 0)
            if first.accepted and not self._forgotten(id):
                assert len(self.events) == before
                assert (self.said[id].accepted, self.said[id].version) == (True, first.version)

    def _forgotten(self, id: str) -> bool:
        kept = self.kept.get("it")
        return kept is None or read_aggregate(self.decider, kept).decided(id) is None

    def _decide(self, id: str, body: Any, seconds: int) -> None:
        self.time = max(BEGAN, self.time + timedelta(seconds=seconds))
        record = command_record(
            self.decider,
            id=id,
            aggregate_id="it",
            actor="worker:w",
            correlation_id="r",
            source="api",
            body=body,
        )
        there = Partition(record.topic, 0)
        received = Received(there, 0, self.time, record.key, record.value, record.headers)
        before = self.kept.get("it")
        batch = decided(self.decider, self.kept, [received])
        [reply] = [
            msgspec.json.decode(one.value or b"", type=Reply)
            for one in batch.records
            if one.topic == topics.REPLIES
        ]
        made = [self._read(one) for one in batch.records if one.topic == topics.events(self.stream)]
        if before is not None and hasattr(body, "session") and id not in self.said:
            attempt = read_aggregate(self.decider, before).state.attempt
            if attempt is None or (attempt.number, attempt.session) != (body.attempt, body.session):
                assert not reply.accepted, "a superseded attempt was heard"
        self.kept.update(batch.states)
        self.said.setdefault(id, reply)
        if reply.accepted and not self.said[id].accepted:
            self.said[id] = reply
        if not reply.accepted:
            assert made == []
            assert self.kept.get("it") == before, "a refusal changed something"
            assert reply.code
            assert len(reply.message or "") > 10
            assert reply.code != "internal_error", reply.message
        self.events += made
        assert reply.version == (self.events[-1].version if self.events else 0) or reply.repeated
        assert [one.key for one in batch.records if one.key == CURSOR_KEY] == [CURSOR_KEY]

    def _read(self, record: Record) -> Event:
        received = Received(
            Partition(record.topic, 0), 0, self.time, record.key, record.value, record.headers
        )
        event = read_event(self.decider, received)
        assert event.chain == chain_hash(self.chain, record.headers, record.value or b"")
        self.chain = event.chain
        return event

    @invariant()
    def versions_are_contiguous_and_time_never_goes_back(self) -> None:
        assert [event.version for event in self.events] == list(range(1, len(self.events) + 1))
        times = [event.at for event in self.events]
        assert times == sorted(times)

    @invariant()
    def the_state_is_the_fold_of_the_events(self) -> None:
        state = fold(self.decider, [(event.body, event.recorded) for event in self.events])
        kept = self.kept.get("it")
        if kept is None:
            assert state is None
        else:
            assert read_aggregate(self.decider, kept).state == state

    @invariant()
    def a_tunings_life_is_one_that_is_allowed(self) -> None:
        if self.stream != "tunings":
            return
        before, number = None, 0
        for count in range(1, len(self.events) + 1):
            event = self.events[count - 1]
            tuning = fold(TUNINGS, [(one.body, one.recorded) for one in self.events[:count]])
            assert tuning.status in ALLOWED[before], f"{before} became {tuning.status} by {event.type}"
            if event.type.endswith("dispatched.v1"):
                assert event.body.attempt.number == number + 1, "attempts only grow"
                number += 1
            assert tuning.attempt is None or tuning.attempt.number == number
            assert not (tuning.ended or tuning.status == "paused") or tuning.attempt is None
            assert tuning.losses_after_start <= RETRIES_AFTER_START + 1
            before = tuning.status


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=250,
    stateful_step_count=30,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
