"""Where a stream of a tuning's events stands: what to ask for next, and what has been told already."""

from __future__ import annotations

import json
from typing import Any

from tunesmith._call import Call, path_to
from tunesmith._exceptions import APIError
from tunesmith._models import StepMetric, TuningEvent
from tunesmith._sse import Frame

LONGEST_SILENCE = 45.0
"""Seconds without a byte after which a stream is dead: the service sends heartbeats far more often."""


class Position:
    """The last event and the last step that a stream has told."""

    def __init__(self, job_id: str, after: str | None = None) -> None:
        self.job_id = job_id
        self.last_id = after
        self._step = (0, 0, False)

    def call(self) -> Call:
        """The request for what comes behind it."""
        headers = {"accept": "text/event-stream", "cache-control": "no-store"}
        if self.last_id is not None:
            headers["last-event-id"] = self.last_id
        return Call(
            "GET",
            path_to("/v1/tunings.events", self.job_id),
            more_headers=headers,
            silence=LONGEST_SILENCE,
        )

    @property
    def version(self) -> int:
        """The version of the last event; 0 before the first."""
        version = (self.last_id or "").rpartition(":")[2]
        return int(version) if version.isascii() and version.isdigit() else 0

    @property
    def step(self) -> int:
        """The number of the last step; 0 before the first."""
        return self._step[1]

    @property
    def after_step(self) -> int:
        """Behind which step to look for what was missed: the last one's evaluation may be."""
        _, number, evaluated = self._step
        return number if evaluated else max(0, number - 1)

    def told(self, frame: Frame) -> TuningEvent | StepMetric | None:
        """What the frame tells, if it is something new; unknown kinds of frames tell nothing."""
        if frame.event == "metrics":
            return self.new_step(StepMetric(_object(frame)))
        if frame.id is None:
            return None
        event = TuningEvent(_object(frame))
        if isinstance(event.version, int) and event.version <= self.version:
            return None
        self.last_id = frame.id
        return event

    def new_step(self, step: StepMetric) -> StepMetric | None:
        """The step, if it was not told yet: a later attempt's steps are new, however low their numbers.

        So is the last one, once more, with its evaluation, which is made after it.
        """
        number = step.get("step")
        place = (step.attempt or 0, number if isinstance(number, int) else 0, step.eval_loss is not None)
        if place <= self._step:
            return None
        self._step = place
        return step


def _object(frame: Frame) -> dict[str, Any]:
    try:
        content = json.loads(frame.data)
    except ValueError as error:
        raise APIError(f"the stream holds a {frame.event!r} frame that is no JSON: {error}") from error
    return content if isinstance(content, dict) else {}
