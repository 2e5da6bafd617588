"""What the SDK's tests share.

`server`     a real HTTP server that answers as the test tells it to
`face`       the client, once the synchronous and once the asynchronous one
`make_face`  makes one with other options
`example`    a job, a file and other objects as the contract has them
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the two modules beside this one, however pytest imports

from face import Face
from scripted_server import Answer, ScriptedServer


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (
        "TUNESMITH_API_KEY",
        "TUNESMITH_BASE_URL",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    running = ScriptedServer()
    yield running
    running.stop()


@pytest.fixture(params=["sync", "async"])
def make_face(request: pytest.FixtureRequest, server: ScriptedServer) -> Iterator[Callable[..., Face]]:
    made: list[Face] = []

    def make(base_url: str | None = None, **options: Any) -> Face:
        made.append(Face(request.param, base_url or server.url, **options))
        return made[-1]

    yield make
    for face in made:
        face.close()


@pytest.fixture
def face(make_face: Callable[..., Face]) -> Face:
    return make_face()


class Example:
    """Objects as the contract has them; keyword arguments change fields."""

    def job(self, **fields: Any) -> dict[str, Any]:
        return {
            "id": "job-1",
            "object": "tuning.job",
            "model": "smollm2-135m-instruct",
            "status": "pending",
            "phase": "queued",
            "created_at": 1_699_564_800,
            "started_at": None,
            "finished_at": None,
            "training_file": "file-1",
            "validation_file": None,
            "hyperparameters": {"rank": 16, "alpha": 32.0, "epochs": 3},
            "method": "supervised",
            "suffix": None,
            "metadata": {},
            "seed": 7,
            "priority": 0,
            "queue": {"position": 1, "estimated_start": None},
            "attempt": None,
            "version": 1,
            "metrics": None,
            "result_files": [],
            "fine_tuned_model": None,
            "error": None,
        } | fields

    def step(self, step: int, **fields: Any) -> dict[str, Any]:
        return {
            "step": step,
            "epoch": step / 10,
            "loss": 3.0 / step,
            "learning_rate": 2e-4,
            "grad_norm": 1.0,
            "tokens": 100 * step,
            "tokens_per_second": 165.0,
            "seconds_left": 30.0,
            "attempt": 1,
            "created_at": 1_699_564_800 + step,
        } | fields

    def file(self, **fields: Any) -> dict[str, Any]:
        return {
            "id": "file-1",
            "object": "file",
            "bytes": 12,
            "created_at": 1_699_564_800,
            "filename": "train.jsonl",
            "purpose": "fine-tune",
            "status": "processed",
            "status_details": None,
            "sha256": None,
        } | fields

    def event(self, version: int, type: str, **fields: Any) -> dict[str, Any]:
        return {
            "id": f"job-1:{version}",
            "object": "tuning.event",
            "type": type,
            "version": version,
            "attempt": 1,
            "created_at": 1_699_564_800 + version,
            "message": f"it {type}",
            "level": "info",
            "data": {},
        } | fields

    def stream(self, *told: dict[str, Any], retry: int | None = None, **options: Any) -> Answer:
        """A stream of these events and steps, which then is closed."""
        frames = [":\n\n"] + ([f"retry: {retry}\n\n"] if retry is not None else [])
        for one in told:
            id, kind = (f"id: {one['id']}\n", one["type"]) if "id" in one else ("", "metrics")
            frames.append(f"{id}event: {kind}\ndata: {json.dumps(one)}\n\n")
        headers = {"content-type": "text/event-stream; charset=utf-8"}
        return Answer("".join(frames).encode(), 200, headers, **options)

    def page(self, *rows: Any, more: bool = False, **fields: Any) -> dict[str, Any]:
        return {"object": "list", "data": list(rows), "has_more": more} | fields

    def error(self, status: int, code: str, message: str, **fields: Any) -> Answer:
        error = {"type": "invalid_request_error", "message": message, "code": code, "param": None}
        headers = fields.pop("headers", {}) | {"x-request-id": "req-9"}
        return Answer({"error": error | fields}, status, headers)


@pytest.fixture
def example() -> Example:
    return Example()
