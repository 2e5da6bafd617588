"""Calls over a real connection: keys, retries, timeouts, cut connections, errors."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest
from face import Face
from scripted_server import Answer, ScriptedServer

from tunesmith import (
    APIConnectionError,
    APIError,
    AuthenticationError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PermissionError,
    RateLimitError,
    ServerError,
    TimeoutError,
    TuningClient,
)

GET = "GET /v1/models/m"
MODEL = Answer({"id": "m", "object": "model"})


def get_model(client: Any) -> Any:
    return client.models.get("m")


def test_a_request_carries_the_key_and_says_who_asks(face: Face, server: ScriptedServer) -> None:
    server.on(GET, MODEL)
    assert face.call(get_model).id == "m"
    headers = server.asked[0].headers
    assert headers["authorization"] == "Bearer sk-test"
    assert headers["user-agent"].startswith("tunesmith-python/")
    assert "idempotency-key" not in headers


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_passing_failures_are_tried_again_with_growing_delays(
    face: Face, server: ScriptedServer, status: int
) -> None:
    server.on(GET, Answer({}, status), Answer({}, status), MODEL)
    assert face.call(get_model).id == "m"
    assert face.sleeps == [1.0, 2.0]
    assert len(server.asked) == 3


def test_max_retries_counts_all_tries(make_face: Callable[..., Face], server: ScriptedServer) -> None:
    server.on(GET, Answer({}, 503))
    face = make_face(max_retries=2)
    with pytest.raises(ServerError):
        face.call(get_model)
    assert (len(server.asked), face.sleeps) == (2, [1.0])
    with pytest.raises(ValueError, match="at least 1"):
        make_face(max_retries=0)


def test_a_retry_after_is_waited_out_be_it_seconds_or_a_date(face: Face, server: ScriptedServer) -> None:
    face.client._transport.now = lambda: 1_700_000_000.0
    date = formatdate(1_700_000_020, usegmt=True)
    server.on(GET, Answer({}, 429, {"retry-after": "13"}), Answer({}, 503, {"retry-after": date}), MODEL)
    face.call(get_model)
    assert face.sleeps == [13.0, 20.0]


def test_a_retry_after_beyond_reason_is_the_callers_to_decide(face: Face, server: ScriptedServer) -> None:
    server.on(GET, Answer({}, 429, {"retry-after": "3600"}))
    with pytest.raises(RateLimitError) as caught:
        face.call(get_model)
    assert caught.value.retry_after == 3600
    assert face.sleeps == []


def test_x_should_retry_is_obeyed_both_ways(face: Face, server: ScriptedServer) -> None:
    server.on(GET, Answer({}, 503, {"x-should-retry": "false"}))
    with pytest.raises(ServerError):
        face.call(get_model)
    assert len(server.asked) == 1
    server.on(GET, Answer({}, 409, {"x-should-retry": "true"}), MODEL)
    assert face.call(get_model).id == "m"


@pytest.mark.parametrize("cut", ["before", "middle"])
def test_a_cut_connection_is_tried_again(face: Face, server: ScriptedServer, cut: str) -> None:
    server.on(GET, Answer({"id": "m", "object": "model"}, cut=cut), MODEL)
    assert face.call(get_model).id == "m"
    assert face.sleeps == [1.0]


def test_a_connection_that_keeps_breaking_ends_as_a_connection_error(
    face: Face, server: ScriptedServer
) -> None:
    server.on(GET, Answer(cut="before"))
    with pytest.raises(APIConnectionError) as caught:
        face.call(get_model)
    assert len(server.asked) == 3
    assert caught.value.status_code is None
    assert server.url in str(caught.value)


def test_no_answer_in_time_ends_as_a_timeout(make_face: Callable[..., Face], server: ScriptedServer) -> None:
    server.on(GET, Answer(stall=True))
    face = make_face(timeout=0.2, max_retries=2)
    with pytest.raises(TimeoutError, match=r"Request timeout after 0\.2 s"):
        face.call(get_model)
    assert (len(server.asked), face.sleeps) == (2, [1.0])


def test_nobody_listening_is_a_connection_error_that_says_where(make_face: Callable[..., Face]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(APIConnectionError, match=url):
            make_face(url).call(get_model)


def test_a_key_for_idempotency_stays_over_retries_and_differs_between_calls(
    face: Face, server: ScriptedServer, example: Any
) -> None:
    created = Answer(example.job(), 201)
    server.on("POST /v1/tunings.create", Answer({}, 503), Answer(cut="before"), created)
    face.call(lambda client: client.tunings.create("m", "file-1"))
    face.call(lambda client: client.tunings.create("m", "file-1"))
    keys = [asked.headers["idempotency-key"] for asked in server.asked]
    assert keys[0] == keys[1] == keys[2] != keys[3]
    face.call(lambda client: client.tunings.create("m", "file-1", idempotency_key="my-own"))
    assert server.asked[-1].headers["idempotency-key"] == "my-own"


@pytest.mark.parametrize(
    ("route", "delete"),
    [
        ("DELETE /v1/files/x", lambda client: client.files.delete("x")),
        ("DELETE /v1/models/x", lambda client: client.models.delete("x")),
        ("DELETE /v1/webhooks.delete/x", lambda client: client.webhooks.delete("x")),
    ],
)
def test_what_is_gone_when_a_delete_is_repeated_was_deleted_by_a_try_that_was_not_heard_of(
    face: Face, server: ScriptedServer, example: Any, route: str, delete: Callable[[Any], Any]
) -> None:
    gone = example.error(404, "not_found", "there is none")
    for lost in (Answer(cut="before"), Answer({}, 503)):
        server.on(route, lost, gone)
        deleted = face.call(delete)
        assert (deleted.id, deleted.deleted) == ("x", True)
    # What was never there is told as ever, also when an earlier try was refused.
    for answers in ([gone], [Answer({}, 429), gone]):
        server.on(route, *answers)
        with pytest.raises(NotFoundError):
            face.call(delete)
    # A job is not gone when it is cancelled.
    server.on("DELETE /v1/tunings.cancel/x", Answer(cut="before"), gone)
    with pytest.raises(NotFoundError):
        face.call(lambda client: client.tunings.cancel("x"))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequestError),
        (401, AuthenticationError),
        (403, PermissionError),
        (404, NotFoundError),
        (405, InvalidRequestError),
        (409, ConflictError),
        (413, InvalidRequestError),
        (415, InvalidRequestError),
        (422, InvalidRequestError),
        (418, APIError),
        (429, RateLimitError),
        (500, ServerError),
        (503, ServerError),
    ],
)
def test_each_kind_of_answer_has_its_exception_with_all_that_was_told(
    make_face: Callable[..., Face], server: ScriptedServer, example: Any, status: int, kind: type[APIError]
) -> None:
    faults = [{"param": "hyperparameters.rank", "message": "rank is 0", "code": "invalid_value"}]
    server.on(
        GET,
        example.error(status, "some_code", "what is wrong", param="hyperparameters.rank", errors=faults),
    )
    with pytest.raises(kind) as caught:
        make_face(max_retries=1).call(get_model)
    error = caught.value
    assert type(error) is kind
    assert str(error) == "what is wrong"
    assert (error.status_code, error.code, error.param) == (status, "some_code", "hyperparameters.rank")
    assert (error.type, error.request_id) == ("invalid_request_error", "req-9")
    assert list(error.errors) == faults


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(b"<h1>Bad Gateway</h1>", 502, {"content-type": "text/html"}), "answered 502 .*Bad Gateway"),
        (Answer({"error": "just a sentence"}, 500), "just a sentence"),
        (Answer(b"", 500), r"answered 500 .*\(empty\)"),
        (Answer([1], 500), "answered 500"),
        (
            Answer(b"", 307, {"location": "https://elsewhere"}),
            "redirected to https://elsewhere: set base_url",
        ),
        (Answer(b"<html>a proxy's page</html>"), "no JSON object: <html>.*is base_url the address"),
        (Answer([1, 2]), "no JSON object"),
    ],
)
def test_answers_that_are_not_of_the_contract_are_still_explained(
    make_face: Callable[..., Face], server: ScriptedServer, answer: Answer, words: str
) -> None:
    server.on(GET, answer)
    with pytest.raises(APIError, match=words):
        make_face(max_retries=1).call(get_model)


def test_the_environment_says_where_and_with_which_key(
    monkeypatch: pytest.MonkeyPatch, server: ScriptedServer
) -> None:
    monkeypatch.setenv("TUNESMITH_API_KEY", "sk-from-env\n")
    monkeypatch.setenv("TUNESMITH_BASE_URL", server.url + "/v1/")
    server.on(GET, MODEL)
    with TuningClient() as client:
        client.models.get("m")
        assert "sk-from-env" not in repr(client)
    assert server.asked[0].headers["authorization"] == "Bearer sk-from-env"


@pytest.mark.parametrize(
    ("key", "url", "kind", "words"),
    [
        (None, None, AuthenticationError, "TUNESMITH_API_KEY"),
        ("sk-\nx", None, ValueError, "no key has"),
        ("sk-ключ", None, ValueError, "no key has"),
        ("sk-1", "localhost:8000", ValueError, "http://"),
        ("sk-1", "http://gpu-box:port", ValueError, "base_url"),
        ("sk-1", "https://", ValueError, "names no host"),
    ],
)
def test_what_cannot_work_is_refused_when_the_client_is_made(
    key: str | None, url: str | None, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        TuningClient(key, url)


@pytest.mark.parametrize("id", ["", ".", ".."])
def test_an_id_that_would_change_the_route_is_refused(face: Face, id: str) -> None:
    with pytest.raises(ValueError, match="cannot be an id"):
        face.call(lambda client: client.files.delete(id))


def test_odd_ids_reach_the_service_as_they_are(face: Face, server: ScriptedServer) -> None:
    server.on("GET /v1/models/ft:base:a/b c?d:job-1", Answer({"id": "odd"}))
    assert face.call(lambda client: client.models.get("ft:base:a/b c?d:job-1")).id == "odd"


def test_other_options_share_the_connections(make_face: Callable[..., Face], server: ScriptedServer) -> None:
    face = make_face(timeout=9)
    other = face.client.with_options(max_retries=1)
    assert (other.timeout, other.max_retries, other.base_url) == (9, 1, face.client.base_url)
    assert face.client.with_options(timeout=None).timeout is None
    server.on(GET, Answer({}, 503))
    with pytest.raises(ServerError):
        face.call(lambda _: other.models.get("m"))
    assert len(server.asked) == 1
    server.on(GET, MODEL)
    face.call(lambda _: other.close())
    assert face.call(get_model).id == "m"


def test_a_route_without_a_method_can_be_called_all_the_same(face: Face, server: ScriptedServer) -> None:
    server.on("POST /v1/tunings.pause/job-1", Answer({}, 503), Answer({"id": "job-1", "status": "paused"}))
    answer = face.call(lambda client: client.request("POST", "/v1/tunings.pause/job-1", json={}))
    assert answer["status"] == "paused"
    keys = {asked.headers["idempotency-key"] for asked in server.asked}
    assert len(server.asked) == 2
    assert len(keys) == 1


def test_health_is_an_answer_also_when_something_is_down(face: Face, server: ScriptedServer) -> None:
    well = {"api": "ok", "database": "ok", "kafka": "ok", "storage": "ok", "gpu": "ok", "devices": ["cpu"]}
    server.on("GET /health", Answer(well), Answer(well | {"kafka": "error: gone"}, 503))
    assert face.call(lambda client: client.health()).ok
    health = face.call(lambda client: client.health())
    assert (health.ok, health.kafka, health.devices) == (False, "error: gone", ["cpu"])
    assert face.sleeps == []


def test_both_clients_are_context_managers_that_close_their_connections(
    face: Face, server: ScriptedServer
) -> None:
    server.on(GET, MODEL)
    if face.kind == "sync":
        with face.client as client:
            client.models.get("m")
    else:

        async def use(client: Any) -> None:
            async with client as same:
                await same.models.get("m")

        face.call(use)
    assert face.client._transport.http.is_closed


def test_nothing_of_the_key_is_logged(
    face: Face, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.on(GET, Answer({}, 503), MODEL)
    with caplog.at_level(logging.DEBUG):
        face.call(get_model)
    assert "retry 1/3" in caplog.text
    assert "sk-test" not in caplog.text
