"""The SDK's event stream against a real broker: typed, in order, no repeat, no gap unnoticed, resumable."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import msgspec
import pytest
from msgspec.structs import replace
from tunesmith.kafka import (
    ChainError,
    Event,
    EventStream,
    GapError,
    StreamError,
    TuningCancelled,
    TuningCreated,
    TuningEpochCompleted,
)
from tunesmith.kafka._events import KINDS

from app.domain.streams import STREAMS
from app.log.kafka import KafkaLog
from app.log.port import Received, Record, read_all
from app.log.topics import events
from app.log.upcasters import UPCASTERS
from tests.contract import examples
from tests.faults.load import loading
from tests.faults.oracle import answered
from tests.faults.story import story
from tests.handling import handling
from tests.servers import RemakeTopics

pytestmark = pytest.mark.timeout(120)
TYPES = [
    "created",
    "dispatched",
    "started",
    "epoch_completed",
    "attempt_lost",
    "pause_requested",
    "paused",
    "resumed",
    "cancelled",
]


async def told(bootstrap: str, jobs: int = 3) -> list[Received]:
    """Some jobs' stories, decided; the events."""
    log = KafkaLog(bootstrap)
    async with loading(log) as load, handling(log, "tunings"):
        await load.send([one for number in range(jobs) for one in story(f"job-{number}")])
        await answered(log, load.sent)
    return [one async for one in read_all(log, events("tunings"))]


async def written(bootstrap: str, records: list[Received]) -> None:
    """Append records as they are."""
    writer = await KafkaLog(bootstrap).writer()
    for one in records:
        await writer.send(Record(events("tunings"), one.key, one.value, one.headers, one.partition.number))
    await writer.close()


async def read(stream: EventStream) -> list[Event]:
    async with stream:
        return [event async for event in stream]


async def test_every_event_comes_once_typed_and_in_the_order_of_its_job(remake_topics: RemakeTopics) -> None:
    bootstrap = await remake_topics(3)
    records = await told(bootstrap, 6)
    found = await read(EventStream(bootstrap, follow=False, verify=True))
    assert len(found) == len(records) == 54
    for number in range(6):
        life = [event for event in found if event.aggregate_id == f"job-{number}"]
        assert [event.type for event in life] == TYPES
        assert [event.version for event in life] == list(range(1, 10))
        created, epoch, end = life[0], life[3], life[-1]
        assert isinstance(created.data, TuningCreated)
        assert (created.data.model.id, created.data.training_file.sha256) == ("base", "aa")
        assert isinstance(epoch.data, TuningEpochCompleted)
        assert (epoch.data.result.train_loss, epoch.data.result.eval_loss) == (0.5, None)
        assert isinstance(end.data, TuningCancelled)
        assert end.time >= created.time
        assert (end.id, end.actor) == (f"job-{number}:9", "system:test")


async def test_it_goes_on_from_any_position_and_follows_what_comes(topics: str) -> None:
    await told(topics, 2)
    whole = await read(EventStream(topics, follow=False))
    for at in (0, 5, 8, 12):
        rest = await read(EventStream(topics, position=whole[at].position, follow=False))
        assert [event.id for event in rest] == [event.id for event in whole[at + 1 :]]
    async with EventStream(topics, position=whole[-1].position) as stream:
        log = KafkaLog(topics)
        async with loading(log) as load, handling(log, "tunings"):
            await load.send(story("job-later"))
            later = []
            async for event in stream:
                later.append(event.type)
                if event.type == "cancelled":
                    break
    assert later == TYPES


async def test_a_repeat_is_dropped(topics: str) -> None:
    records = await told(topics, 1)
    await written(topics, [records[3], records[8]])
    assert [event.version for event in await read(EventStream(topics, follow=False))] == list(range(1, 10))
    # What the application has stored already is a repeat as well.
    stored = {"job-0": 7}
    found = await read(EventStream(topics, follow=False, last_version=stored.get))
    assert [event.version for event in found] == [8, 9]


async def test_a_gap_stops_it_and_is_named(remake_topics: RemakeTopics) -> None:
    records = await told(await remake_topics(), 1)
    bootstrap = await remake_topics()
    await written(bootstrap, records[:4] + records[5:])
    seen: list[Event] = []

    async def follow() -> None:
        async with EventStream(bootstrap) as stream:
            async for event in stream:
                seen.append(event)  # noqa: PERF401 – what came before the gap is wanted

    with pytest.raises(GapError, match=r"v1\[0\]@4: version 6 of job-0 follows version 4") as gap:
        await follow()
    assert [event.version for event in seen] == [1, 2, 3, 4]
    assert (gap.value.aggregate_id, gap.value.expected, gap.value.found) == ("job-0", 5, 6)
    with pytest.raises(GapError):  # across a restart too, when the application says what it has
        await read(
            EventStream(bootstrap, follow=False, position=seen[-1].position, last_version={"job-0": 4}.get)
        )


async def test_a_changed_event_is_found_when_asked_to_verify(remake_topics: RemakeTopics) -> None:
    records = await told(await remake_topics(), 1)
    bootstrap = await remake_topics()
    forged = replace(records[3], value=(records[3].value or b"").replace(b"0.5", b"0.1"))
    await written(bootstrap, [*records[:3], forged, *records[4:]])
    with pytest.raises(ChainError, match="the chain of job-0 is broken at version 4"):
        await read(EventStream(bootstrap, follow=False, verify=True))
    assert len(await read(EventStream(bootstrap, follow=False))) == 9


def of_a_later_version(record: Received) -> Received:
    """The same event under a type that this version does not know."""
    headers = tuple(
        (name, b"tunesmith.tuning.praised.v3" if name == "ce_type" else value)
        for name, value in record.headers
    )
    return replace(record, headers=headers)


async def test_a_type_of_a_later_version_is_passed_over_or_given_as_it_is(
    remake_topics: RemakeTopics,
) -> None:
    records = await told(await remake_topics(), 1)
    bootstrap = await remake_topics()
    strange = replace(of_a_later_version(records[4]), value=b'{"stars":5,"more":{"a":[1]}}')
    await written(bootstrap, [*records[:4], strange, *records[5:]])
    assert [event.version for event in await read(EventStream(bootstrap, follow=False))] == [
        1,
        2,
        3,
        4,
        6,
        7,
        8,
        9,
    ]
    found = await read(EventStream(bootstrap, follow=False, unknown=True))
    assert (found[4].type, found[4].data.stars) == ("praised", 5)  # type: ignore[attr-defined]


async def test_what_was_passed_over_is_no_gap_for_who_goes_on_behind_it(
    remake_topics: RemakeTopics,
) -> None:
    records = await told(await remake_topics(), 1)
    bootstrap = await remake_topics()
    await written(bootstrap, [*records[:8], of_a_later_version(records[8])])
    stored = {"job-0": 8}
    async with EventStream(bootstrap, follow=False, last_version=lambda _: None) as stream:
        assert [event.version async for event in stream] == list(range(1, 9))
        position = stream.position
    last = {key: value if key != "ce_sequence" else b"10" for key, value in records[8].headers}
    await written(bootstrap, [replace(records[8], headers=tuple(last.items()))])
    found = await read(EventStream(bootstrap, position=position, follow=False, last_version=stored.get))
    assert [event.version for event in found] == [10]


async def test_memory_is_bounded_and_what_was_forgotten_is_taken_as_it_comes(topics: str) -> None:
    await told(topics, 6)
    stream = EventStream(topics, follow=False, remembered=2)
    assert len(await read(stream)) == 54
    assert len(stream._histories._known) == 2


async def test_what_cannot_be_read_is_told_in_a_sentence(topics: str) -> None:
    with pytest.raises(
        ValueError, match="stream must be one of tunings, files, models, accounts, not 'jobs'"
    ):
        EventStream(topics, "jobs")
    with pytest.raises(StreamError, match="is no position of an event stream"):
        EventStream(topics, position="12")
    position = EventStream(topics, "files").position
    with pytest.raises(
        StreamError, match=r"belongs to tunesmith\.files\.events\.v1, not to tunesmith\.tunings"
    ):
        EventStream(topics, "tunings", position=position)


def test_without_aiokafka_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['aiokafka'] = None\nimport tunesmith\nimport tunesmith.kafka"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert 'tunesmith.kafka needs aiokafka: pip install "tunesmith[kafka]"' in ran.stderr


def wire_types() -> Iterator[tuple[str, type]]:
    for decider in STREAMS.values():
        yield from decider.events.items()
    for name, upcaster in UPCASTERS.items():
        yield name, upcaster.held


@pytest.mark.parametrize(("name", "kind"), list(wire_types()))
def test_every_event_of_the_service_is_typed_with_all_of_its_fields(name: str, kind: type) -> None:
    typed = KINDS[name]
    fields = {field.name for field in msgspec.structs.fields(kind)}
    assert set(vars(typed).get("__annotations__", ())) - {"_nested"} == fields
    made = examples.events().get(name)
    if made is not None:
        data = typed(msgspec.json.decode(made.value or b""))
        for field in fields:
            getattr(data, field)
