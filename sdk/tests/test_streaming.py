"""A tuning's events as they happen, over connections that break."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from face import Face
from scripted_server import Answer, ScriptedServer

from tunesmith import APIError, AuthenticationError, NotFoundError, StepMetric, TuningEvent

EVENTS = "GET /v1/tunings.events/job-1"
GET = "GET /v1/tunings.get/job-1"
METRICS = "GET /v1/tunings.metrics/job-1"


def told(event: TuningEvent | StepMetric) -> Any:
    return event.version if isinstance(event, TuningEvent) else (event.attempt, event.step)


def test_events_come_typed_and_in_order_until_the_one_that_ends_the_tuning(
    face: Face, server: ScriptedServer, example: Any
) -> None:
    ends = example.event(3, "failed", level="error", data={"error": {"code": "oom"}})
    server.on(EVENTS, example.stream(example.event(1, "created"), example.event(2, "started"), ends))
    events = face.collect(lambda client: client.tunings.stream_events("job-1"))
    assert [(event.type, event.ends) for event in events] == [
        ("created", False),
        ("started", False),
        ("failed", True),
    ]
    assert (events[2].id, events[2].data["error"]["code"], events[2].level) == ("job-1:3", "oom", "error")
    asked = server.asked[0].headers
    assert asked["accept"] == "text/event-stream"
    assert "last-event-id" not in asked
    assert face.sleeps == []


def test_a_stream_that_breaks_off_goes_on_behind_its_last_event(
    face: Face, server: ScriptedServer, example: Any
) -> None:
    server.on(GET, Answer(example.job(status="running", version=3)))
    created, started = example.event(1, "created"), example.event(2, "started")
    server.on(
        EVENTS,
        example.stream(created, example.event(2, "started", message="x" * 4000), cut="middle"),
        Answer(cut="before"),
        Answer({}, 503, {"retry-after": "7"}),
        example.stream(created, started, retry=4000),  # told twice, and closed in the middle of things
        example.stream(example.event(3, "succeeded")),
    )
    events = face.collect(lambda client: client.tunings.stream_events("job-1"))
    assert [event.version for event in events] == [1, 2, 3]
    asked = [request.headers.get("last-event-id") for request in server.requests(EVENTS)]
    assert asked == [None, "job-1:1", "job-1:1", "job-1:1", "job-1:2"]
    assert face.sleeps == [1.0, 1.0, 7.0, 4.0]  # of the stream, of the call's own tries, and as it was told


def test_an_unknown_type_and_an_unknown_frame_break_nothing(
    face: Face, server: ScriptedServer, example: Any
) -> None:
    server.on(GET, Answer(example.job(status="retired", finished_at=9, version=2)))
    answer = example.stream(example.event(1, "created"), example.event(2, "retired"))
    content = answer.content + b"event: gossip\ndata: no json\n\n"
    server.on(EVENTS, Answer(content, 200, answer.headers))
    events = face.collect(lambda client: client.tunings.stream_events("job-1"))
    assert [event.type for event in events] == ["created", "retired"]
    assert len(server.requests(EVENTS)) == 1


def test_a_stream_of_what_has_ended_and_is_known_ends(
    face: Face, server: ScriptedServer, example: Any
) -> None:
    server.on(GET, Answer(example.job(status="succeeded", version=3)))
    server.on(EVENTS, example.stream())
    assert face.collect(lambda client: client.tunings.stream_events("job-1", after="job-1:3")) == []
    assert server.asked[0].headers["last-event-id"] == "job-1:3"


def test_steps_come_between_the_events_when_they_are_asked_for(
    face: Face, server: ScriptedServer, example: Any
) -> None:
    server.on(GET, Answer(example.job(status="running", version=3)))
    server.on(
        EVENTS,
        example.stream(example.event(1, "created"), example.step(1), example.step(2)),
        example.stream(example.step(4), example.step(2, attempt=2), example.event(2, "succeeded")),
    )
    server.on(METRICS, Answer(example.page(example.step(2), example.step(3), example.step(4))))
    steps = face.collect(lambda client: client.tunings.stream_events("job-1", include_metrics=True))
    assert [told(one) for one in steps] == [1, (1, 1), (1, 2), (1, 3), (1, 4), (2, 2), 2]
    assert server.requests(METRICS)[0].query["after_step"] == "1"  # for the evaluation of the last one
    assert steps[1].loss == 3.0
    server.on(EVENTS, example.stream(example.step(1), example.event(1, "cancelled")))
    events = face.collect(lambda client: client.tunings.stream_events("job-1"))
    assert [told(one) for one in events] == [1]


def test_a_step_comes_again_once_it_is_evaluated_be_it_while_no_stream_is_open(
    face: Face, server: ScriptedServer, example: Any
) -> None:
    evaluated = {number: example.step(number, eval_loss=0.5) for number in (1, 2, 3)}
    server.on(GET, Answer(example.job(status="running", version=3)))
    server.on(
        EVENTS,
        example.stream(example.step(1), evaluated[1], evaluated[1], example.step(2)),
        example.stream(evaluated[2], evaluated[3]),
        example.stream(example.step(4), example.event(2, "succeeded")),
    )
    server.on(METRICS, Answer(example.page(evaluated[2], example.step(3))), Answer(example.page()))
    steps = face.collect(lambda client: client.tunings.stream_events("job-1", include_metrics=True))
    assert [(one.step, one.eval_loss) for one in steps[:-1]] == [
        (1, None),
        (1, 0.5),
        (2, None),
        (2, 0.5),
        (3, None),
        (3, 0.5),
        (4, None),
    ]
    assert [request.query["after_step"] for request in server.requests(METRICS)] == ["1", "3"]


@pytest.mark.parametrize(
    ("status", "kind"), [(401, AuthenticationError), (404, NotFoundError)], ids=["revoked", "gone"]
)
def test_a_refusal_ends_the_stream_at_once_also_in_the_middle(
    face: Face, server: ScriptedServer, example: Any, status: int, kind: type[Exception]
) -> None:
    server.on(GET, Answer(example.job(status="running", version=2)))
    refused = example.error(status, "some_code", "no longer")
    server.on(EVENTS, example.stream(example.event(1, "created")), refused)
    events: list[Any] = []

    with pytest.raises(kind, match="no longer"):
        face.collect(lambda client: client.tunings.stream_events("job-1"), events)
    assert [event.version for event in events] == [1]


def test_a_service_that_was_never_there_is_told_and_one_that_does_not_stream_too(
    make_face: Callable[..., Face], server: ScriptedServer, example: Any
) -> None:
    server.on(EVENTS, Answer({}, 503), Answer(example.page(example.event(1, "created"))))
    face = make_face(max_retries=1)
    with pytest.raises(APIError, match="503"):
        face.collect(lambda client: client.tunings.stream_events("job-1"))
    with pytest.raises(APIError, match="not with a stream"):
        face.collect(lambda client: client.tunings.stream_events("job-1"))


def test_a_stream_may_be_silent_for_longer_than_the_clients_timeout(
    make_face: Callable[..., Face], server: ScriptedServer, example: Any
) -> None:
    face = make_face(timeout=0.5)
    heard: list[Any] = []
    face.client._transport.http.event_hooks["request"] = [_hearing(face, heard)]
    server.on(EVENTS, example.stream(example.event(1, "cancelled")))
    face.collect(lambda client: client.tunings.stream_events("job-1"))
    assert heard == [{"connect": 0.5, "read": 45.0, "write": 0.5, "pool": 0.5}]


def _hearing(face: Face, heard: list[Any]) -> Any:
    async def hear(request: Any) -> None:
        heard.append(request.extensions["timeout"])

    return hear if face.kind == "async" else lambda request: heard.append(request.extensions["timeout"])


def test_a_job_streams_its_own_events_and_then_knows_how_it_ended(
    face: Face, server: ScriptedServer, example: Any
) -> None:
    ended = example.job(status="succeeded", fine_tuned_model="ft:m::job-1", version=2)
    server.on(GET, Answer(example.job()), Answer(ended))
    server.on(EVENTS, example.stream(example.event(1, "created"), example.event(2, "succeeded")))
    job = face.call(lambda client: client.tunings.get("job-1"))
    assert len(face.collect(lambda _: job.stream_events())) == 2
    assert (job.status, job.fine_tuned_model) == ("succeeded", "ft:m::job-1")
