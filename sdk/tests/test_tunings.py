"""The tunings: created, listed, waited for, watched, cancelled, and their adapters taken home."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from face import Face
from scripted_server import Answer, ScriptedServer

from tunesmith import APIError, InvalidRequestError, NotFoundError, TimeoutError
from tunesmith._waiting import Patience

CREATE = "POST /v1/tunings.create"
GET = "GET /v1/tunings.get/job-1"
LIST = "GET /v1/tunings.list"
METRICS = "GET /v1/tunings.metrics/job-1"
CANCEL = "DELETE /v1/tunings.cancel/job-1"
ADAPTER = "GET /v1/tunings.adapter/job-1"


def test_create_sends_what_was_given_and_nothing_else(
    face: Face, server: ScriptedServer, example: Any
) -> None:
    server.on(CREATE, Answer(example.job(), 201))
    job = face.call(lambda client: client.tunings.create("m", "file-1"))
    assert server.asked[0].json == {"model": "m", "training_file": "file-1", "hyperparameters": {}}
    assert (job.id, job.status, job.phase, job.metrics) == ("job-1", "pending", "queued", None)
    face.call(
        lambda client: client.tunings.create(
            model="m",
            training_file="file-1",
            hyperparameters={"rank": 8, "learning_rate": 1e-3},
            validation_file="file-2",
            suffix="mine",
            metadata={"team": "a"},
            seed=1,
            priority=-2,
            method="supervised",
        )
    )
    assert server.asked[1].json == {
        "model": "m",
        "training_file": "file-1",
        "hyperparameters": {"rank": 8, "learning_rate": 1e-3},
        "validation_file": "file-2",
        "suffix": "mine",
        "metadata": {"team": "a"},
        "seed": 1,
        "priority": -2,
        "method": "supervised",
    }


def test_an_accepted_job_is_a_job(face: Face, server: ScriptedServer, example: Any) -> None:
    server.on(CREATE, Answer(example.job(), 202))
    assert face.call(lambda client: client.tunings.create("m", "file-1")).id == "job-1"


def test_a_refusal_names_the_parameter(face: Face, server: ScriptedServer, example: Any) -> None:
    server.on(CREATE, example.error(400, "file_not_found", "no such file", param="training_file"))
    with pytest.raises(InvalidRequestError) as caught:
        face.call(lambda client: client.tunings.create("m", "file-x"))
    assert (caught.value.param, caught.value.code) == ("training_file", "file_not_found")
    assert len(server.asked) == 1


def test_a_job_shows_itself_as_the_source_document_has_it(
    face: Face, server: ScriptedServer, example: Any
) -> None:
    metrics = {"train_loss": 0.245, "eval_loss": None, "progress": 0.67}
    server.on(GET, Answer(example.job(status="running", phase="training", metrics=metrics, colour="blue")))
    job = face.call(lambda client: client.tunings.get("job-1"))
    assert repr(job) == "<TuningJob id=job-1 status=running>"
    assert job.metrics["progress"] == job.metrics.progress == 0.67
    assert job.metrics == metrics
    assert job.metrics.total_epochs is None
    assert job.colour == "blue"
    with pytest.raises(AttributeError, match="no field 'smell'"):
        _ = job.smell
    assert job.to_dict()["colour"] == "blue"


def test_a_status_newer_than_this_client_breaks_nothing(
    face: Face, server: ScriptedServer, example: Any
) -> None:
    server.on(
        GET, Answer(example.job(status="hibernating")), Answer(example.job(status="done", finished_at=9))
    )
    job = face.call(lambda client: client.tunings.get("job-1"))
    assert (job.status, job.ended) == ("hibernating", False)
    assert face.call(lambda client: client.tunings.wait_for_completion("job-1")).status == "done"


def test_refresh_takes_over_the_present_state(face: Face, server: ScriptedServer, example: Any) -> None:
    server.on(GET, Answer(example.job()), Answer(example.job(status="running")))
    job = face.call(lambda client: client.tunings.get("job-1"))
    assert face.call(lambda _: job.refresh()) is job
    assert job.status == "running"


def test_cancel_takes_over_what_is_told_and_keeps_the_rest(
    face: Face, server: ScriptedServer, example: Any
) -> None:
    server.on(GET, Answer(example.job(status="running")))
    server.on(CANCEL, Answer({"id": "job-1", "object": "tuning.job", "status": "cancelled"}))
    job = face.call(lambda client: client.tunings.get("job-1"))
    face.call(lambda _: job.cancel())
    assert (job.status, job.model, job.ended) == ("cancelled", "smollm2-135m-instruct", True)


def test_a_list_knows_its_next_page(face: Face, server: ScriptedServer, example: Any) -> None:
    first = example.page(example.job(id="job-3"), example.job(id="job-2"), more=True, last_id="job-2")
    server.on(LIST, Answer(first), Answer(example.page(example.job())))
    page = face.call(lambda client: client.tunings.list(limit=2, status="running", metadata={"team": "a"}))
    assert issubclass(type(page), list)
    assert [job.id for job in page] == ["job-3", "job-2"]
    assert (page.has_more, page.next_after) == (True, "job-2")
    following = face.call(lambda _: page.next_page())
    assert [job.id for job in following] == ["job-1"]
    assert not following.has_more
    assert face.call(lambda _: following.next_page()) is None
    asked = {"limit": "2", "status": "running", "metadata[team]": "a"}
    assert [request.query for request in server.asked] == [asked, asked | {"after": "job-2"}]


@pytest.mark.parametrize("cursor", [{"next_after": "here"}, {"last_id": "here"}, {}])
def test_iterating_goes_through_every_page(
    face: Face, server: ScriptedServer, example: Any, cursor: dict[str, str]
) -> None:
    pages = [
        example.page(example.job(id=f"job-{page}a"), example.job(id=f"job-{page}b"), more=page < 3, **cursor)
        for page in (1, 2, 3)
    ]
    server.on(LIST, *(Answer(page) for page in pages))
    jobs = face.collect(lambda client: client.tunings.iter())
    assert [job.id for job in jobs] == ["job-1a", "job-1b", "job-2a", "job-2b", "job-3a", "job-3b"]
    afters = [request.query.get("after") for request in server.asked]
    assert afters == ([None, "here", "here"] if cursor else [None, "job-1b", "job-2b"])
    assert server.asked[0].query["limit"] == "100"


def test_an_iteration_that_stops_early_asks_for_no_further_page(
    face: Face, server: ScriptedServer, example: Any
) -> None:
    server.on(LIST, Answer(example.page(example.job(), more=True)))

    async def first_async(client: Any) -> Any:
        jobs = client.tunings.iter()
        job = await anext(jobs)
        await jobs.aclose()
        return job

    first = first_async if face.kind == "async" else lambda client: next(client.tunings.iter())
    assert face.call(first).id == "job-1"
    assert len(server.asked) == 1


def test_metrics_come_by_pages_of_steps(face: Face, server: ScriptedServer, example: Any) -> None:
    server.on(
        METRICS,
        Answer(example.page(example.step(1), example.step(2), more=True)),
        Answer(example.page(example.step(3), last_id=None)),
    )
    page = face.call(lambda client: client.tunings.metrics("job-1", limit=2))
    assert [step.loss for step in page] == [3.0, 1.5]
    assert [step.step for step in face.collect(lambda _: page.iter())] == [1, 2, 3]
    assert [request.query["after_step"] for request in server.asked] == ["0", "2"]


@pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled"])
def test_waiting_ends_with_the_job_however_it_ends(
    face: Face, server: ScriptedServer, example: Any, end: str
) -> None:
    server.on(
        GET, Answer(example.job()), Answer(example.job(status="running")), Answer(example.job(status=end))
    )
    assert face.call(lambda client: client.tunings.wait_for_completion("job-1")).status == end
    assert face.sleeps == [10, 10]


def test_waiting_longer_than_the_timeout_raises_and_leaves_the_job_alone(
    face: Face, server: ScriptedServer, example: Any
) -> None:
    server.on(GET, Answer(example.job()))
    with pytest.raises(TimeoutError, match="Job did not complete within 0s"):
        face.call(lambda client: client.tunings.wait_for_completion("job-1", timeout=0))
    assert [request.method for request in server.asked] == ["GET"]


def test_waiting_outlasts_an_outage_but_not_a_job_that_never_was(
    face: Face, server: ScriptedServer, example: Any
) -> None:
    outage = [Answer(cut="before")] * 7
    server.on(GET, Answer(example.job()), *outage, Answer(example.job(status="succeeded")))
    assert face.call(lambda client: client.tunings.wait_for_completion("job-1")).succeeded
    server.on(GET, example.error(404, "not_found", "there is no tuning"))
    with pytest.raises(NotFoundError):
        face.call(lambda client: client.tunings.wait_for_completion("job-1"))


def test_patience_begins_with_the_first_answer_and_has_an_end() -> None:
    clock = [0.0]
    patience = Patience(120.0, now=lambda: clock[0])
    down = TimeoutError("late")
    assert not patience.bears(down)
    patience.answered()
    clock[0] = 119.0
    assert patience.bears(down)
    assert not patience.bears(NotFoundError("gone"))
    clock[0] = 120.0
    assert not patience.bears(down)


def test_create_and_wait_does_both(face: Face, server: ScriptedServer, example: Any) -> None:
    server.on(CREATE, Answer(example.job(), 201))
    server.on(GET, Answer(example.job(status="succeeded", fine_tuned_model="ft:m:s:job-1")))
    job = face.call(
        lambda client: client.tunings.create_and_wait("m", "file-1", {"rank": 4}, suffix="s", poll_interval=1)
    )
    assert job.fine_tuned_model == "ft:m:s:job-1"
    assert server.asked[0].json["suffix"] == "s"


def running(example: Any, **fields: Any) -> Answer:
    return Answer(example.job(status="running", phase="training", attempt=1) | fields)


def test_watching_tells_each_change_and_each_step_once(
    face: Face, server: ScriptedServer, example: Any
) -> None:
    ended = Answer(example.job(status="succeeded", attempt=1, finished_at=9))
    server.on(GET, Answer(example.job()), running(example), running(example), running(example), ended)
    server.on(
        METRICS,
        Answer(example.page()),
        Answer(example.page(example.step(1), example.step(2))),
        Answer(example.page(example.step(2))),
        Answer(example.page(example.step(2, eval_loss=0.5), example.step(3, eval_loss=0.4))),
        Answer(example.page(example.step(4))),
    )
    updates = face.collect(lambda client: client.tunings.watch("job-1", 0.25))
    told = [(job.status, [(step.step, step.eval_loss) for step in steps]) for job, steps in updates]
    assert told == [
        ("pending", []),
        ("running", [(1, None), (2, None)]),
        ("running", [(2, 0.5), (3, 0.4)]),  # a step comes again once it is evaluated
        ("succeeded", [(4, None)]),
    ]
    afters = [request.query["after_step"] for request in server.requests(METRICS)]
    assert afters == ["0", "0", "1", "1", "3"]
    assert set(face.sleeps) == {0.25}


def test_watching_tells_again_what_a_later_attempt_does_again(
    face: Face, server: ScriptedServer, example: Any
) -> None:
    ended = Answer(example.job(status="succeeded", attempt=2, finished_at=9))
    server.on(GET, running(example), running(example, attempt=2), ended)
    again = [example.step(number, attempt=2) for number in (2, 3)]
    server.on(
        METRICS,
        Answer(example.page(example.step(1), example.step(2), example.step(3))),
        Answer(example.page()),
        Answer(example.page(example.step(1), again[0], example.step(3))),
        Answer(example.page(again[1])),
    )
    updates = face.collect(lambda client: client.tunings.watch("job-1"))
    told = [[(step.step, step.attempt) for step in update.steps] for update in updates]
    assert told == [[(1, 1), (2, 1), (3, 1)], [(2, 2)], [(3, 2)]]


def test_watching_goes_on_behind_a_known_step_and_through_an_outage(
    face: Face, server: ScriptedServer, example: Any
) -> None:
    ended = Answer(example.job(status="succeeded", finished_at=9))
    server.on(GET, running(example), *[Answer({}, 503)] * 4, ended)
    server.on(METRICS, Answer(example.page(example.step(8))))
    updates = face.collect(lambda client: client.tunings.watch("job-1", after_step=7))
    assert [len(update.steps) for update in updates] == [1, 0]
    assert server.requests(METRICS)[0].query["after_step"] == "7"


def test_a_watched_job_follows_along(face: Face, server: ScriptedServer, example: Any) -> None:
    server.on(
        GET, running(example), Answer(example.job(status="failed", finished_at=9, error={"code": "oom"}))
    )
    server.on(METRICS, Answer(example.page()))
    job = face.call(lambda client: client.tunings.get("job-1"))
    face.collect(lambda _: job.watch())
    assert (job.status, job.error.code) == ("failed", "oom")


def archive(**files: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as writer:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            writer.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def test_an_adapter_is_unpacked_into_a_folder_and_a_cut_download_begun_again(
    face: Face, server: ScriptedServer, example: Any, tmp_path: Path
) -> None:
    content = archive(**{"adapter_config.json": b"{}", "adapter_model.safetensors": b"x" * 300_000})
    gzip = {"content-type": "application/gzip"}
    server.on(ADAPTER, Answer(content, 200, gzip, cut="middle"), Answer(content, 200, gzip))
    server.on(GET, Answer(example.job(status="succeeded")))
    job = face.call(lambda client: client.tunings.get("job-1"))
    folder = face.call(lambda _: job.download_adapter(tmp_path / "new" / "adapter"))
    assert folder == tmp_path / "new" / "adapter"
    assert sorted(path.name for path in folder.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert (folder / "adapter_model.safetensors").stat().st_size == 300_000
    assert list(folder.parent.iterdir()) == [folder]
    assert face.sleeps == [1.0]


def test_no_adapter_leaves_no_folder(
    face: Face, server: ScriptedServer, example: Any, tmp_path: Path
) -> None:
    server.on(ADAPTER, example.error(400, "adapter_not_ready", "it is running"))
    with pytest.raises(InvalidRequestError, match="it is running"):
        face.call(lambda client: client.tunings.download_adapter("job-1", tmp_path / "adapter"))
    server.on(ADAPTER, Answer(b"this is no archive"))
    with pytest.raises(APIError, match="archive is broken"):
        face.call(lambda client: client.tunings.download_adapter("job-1", tmp_path / "adapter"))
    assert list(tmp_path.iterdir()) == []
