"""What a tuning job tells about itself; the two clients add what can be done with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tunesmith._call import without_none
from tunesmith._models import ENDED, QueuePlace, RerunOutcome, TuningFailure, TuningMemory, TuningMetrics
from tunesmith._resource import plain


def tuning_request(
    model: str, training_file: str, hyperparameters: Mapping[str, Any] | None, **fields: Any
) -> dict[str, Any]:
    """The body of a request about a tuning to be; fields that are None are left out."""
    return {
        "model": model,
        "training_file": training_file,
        "hyperparameters": dict(hyperparameters or {}),
        **without_none(**fields),
    }


class TuningFields:
    """The fields of a tuning job, as of the last answer about it."""

    _data: dict[str, Any]

    def _take(self, fields: Mapping[str, Any]) -> None:
        self._data = dict(fields)

    @property
    def id(self) -> str:
        """The job's id, `job-…`."""
        return str(self._data["id"])

    @property
    def object(self) -> str:
        """What it is: `tuning.job`."""
        return str(self._data.get("object") or "tuning.job")

    @property
    def status(self) -> str:
        """`pending`, `running`, `paused`, `succeeded`, `failed` or `cancelled`; see `JobStatus`."""
        return str(self._data["status"])

    @property
    def phase(self) -> str | None:
        """What happens inside the status: `queued`, `loading`, `training` and such; None once it ended."""
        return self._data.get("phase")

    @property
    def phase_detail(self) -> str | None:
        """How far the phase is, in words, as of a base model that is fetched; else None."""
        return self._data.get("phase_detail")

    @property
    def model(self) -> str:
        """Id of the base model."""
        return str(self._data["model"])

    @property
    def metrics(self) -> TuningMetrics | None:
        """Losses and progress; None before the first report."""
        metrics = self._data.get("metrics")
        return TuningMetrics(metrics) if isinstance(metrics, Mapping) else None

    @property
    def queue(self) -> QueuePlace | None:
        """Its place among the waiting jobs; None unless it waits."""
        place = self._data.get("queue")
        return QueuePlace(place) if isinstance(place, Mapping) else None

    @property
    def error(self) -> TuningFailure | None:
        """Why it failed; None unless it did."""
        error = self._data.get("error")
        if isinstance(error, str):
            return TuningFailure({"message": error})
        return TuningFailure(error) if isinstance(error, Mapping) else None

    @property
    def created_at(self) -> int:
        """When it was created, in Unix seconds."""
        return int(self._data["created_at"])

    @property
    def started_at(self) -> int | None:
        """When its first attempt began to train; None before."""
        return self._data.get("started_at")

    @property
    def finished_at(self) -> int | None:
        """When it ended; None before."""
        return self._data.get("finished_at")

    @property
    def training_file(self) -> str | None:
        """Id of the file it trains on."""
        return self._data.get("training_file")

    @property
    def validation_file(self) -> str | None:
        """Id of the file it is evaluated on, if any."""
        return self._data.get("validation_file")

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """Every hyperparameter as it is used, `auto` resolved."""
        return dict(self._data.get("hyperparameters") or {})

    @property
    def method(self) -> str | None:
        """How it is trained, such as `supervised`."""
        return self._data.get("method")

    @property
    def suffix(self) -> str | None:
        """Its part of the tuned model's name."""
        return self._data.get("suffix")

    @property
    def metadata(self) -> dict[str, str]:
        """Pairs of your own."""
        return dict(self._data.get("metadata") or {})

    @property
    def seed(self) -> int | None:
        """The seed of the run."""
        return self._data.get("seed")

    @property
    def priority(self) -> int | None:
        """Higher starts first."""
        return self._data.get("priority")

    @property
    def attempt(self) -> int | None:
        """The number of the current or last attempt; None before the first."""
        return self._data.get("attempt")

    @property
    def version(self) -> int | None:
        """How many events made this state."""
        return self._data.get("version")

    @property
    def result_files(self) -> list[str]:
        """Ids of the files it made, for `files.content`."""
        return list(self._data.get("result_files") or [])

    @property
    def fine_tuned_model(self) -> str | None:
        """Id of the model it made, once it succeeded."""
        return self._data.get("fine_tuned_model")

    @property
    def warm_start(self) -> str | None:
        """Id of the tuned model that it went on from, if any."""
        return self._data.get("warm_start")

    @property
    def preview_hash(self) -> str | None:
        """The hash of the preview that it is held to, if any."""
        return self._data.get("preview_hash")

    @property
    def rerun_of(self) -> str | None:
        """Id of the job that it repeats, if any."""
        return self._data.get("rerun_of")

    @property
    def export(self) -> str | None:
        """What it makes: `adapter`, or `merged`, a model that needs no PEFT, beside it."""
        return self._data.get("export")

    @property
    def memory(self) -> TuningMemory | None:
        """What it was estimated to take, and took."""
        memory = self._data.get("memory")
        return TuningMemory(memory) if isinstance(memory, Mapping) else None

    @property
    def rerun_outcome(self) -> RerunOutcome | None:
        """Of a rerun that succeeded and was got by itself: whether it came out the same."""
        outcome = self._data.get("rerun_outcome")
        return RerunOutcome(outcome) if isinstance(outcome, Mapping) else None

    @property
    def ended(self) -> bool:
        """Whether it succeeded, failed or was cancelled."""
        return self.status in ENDED or self.finished_at is not None

    @property
    def succeeded(self) -> bool:
        """Whether it succeeded."""
        return self.status == "succeeded"

    def to_dict(self) -> dict[str, Any]:
        """The JSON object as it came, fields that this version does not know included."""
        copied: dict[str, Any] = plain(self._data)
        return copied

    if not TYPE_CHECKING:  # a checker knows the fields above, and finds what is none of them

        def __getattr__(self, name: str) -> Any:
            # Fields newer than this version; `_data` itself is missing while an object is being made.
            if not name.startswith("_") and name in self._data:
                return self._data[name]
            raise AttributeError(f"{type(self).__name__} has no field {name!r}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__.removeprefix('Async')} id={self.id} status={self.status}>"
