"""Logs are JSON lines with what was bound around them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from app import logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure("info", stream)
    yield stream
    root.handlers[:], level = before
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_has_timestamp_level_event_and_what_is_bound(stream: io.StringIO) -> None:
    structlog.contextvars.bind_contextvars(request_id="req-1")
    structlog.get_logger("api").info("job_created", job_id="job-a")
    [line] = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"level": "info", "event": "job_created", "request_id": "req-1", "job_id": "job-a"}


def test_the_standard_librarys_logs_take_the_same_way(stream: io.StringIO) -> None:
    logging.getLogger("some.library").warning("it is %s", "so")
    [line] = lines(stream)
    assert (line["level"], line["event"]) == ("warning", "it is so")


def test_an_exception_is_one_line(stream: io.StringIO) -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        structlog.get_logger("api").exception("request_failed")
    [line] = lines(stream)
    assert "ValueError: broken" in line["exception"]


def test_what_is_below_the_level_is_not_written(stream: io.StringIO) -> None:
    structlog.get_logger("api").debug("request")
    logging.getLogger("some.library").debug("x")
    logging.getLogger("uvicorn.access").info("GET /")
    assert stream.getvalue() == ""
