"""A whole tuning by OpenAI's stock client: uploaded, created, followed, paused, resumed, fetched, cleaned up.

    pip install openai
    export OPENAI_BASE_URL=http://127.0.0.1:8000/v1 OPENAI_API_KEY=$(cat .tunesmith/admin.key)
    python -m examples.openai_client.tune --adapter adapter

Takes a few minutes on two cores.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from openai import OpenAI
from openai.types import FileObject
from openai.types.fine_tuning import FineTuningJob

MAILS = Path(__file__).parents[1] / "order_mails"
MODEL = "smollm2-135m-instruct"
ENDED = ("succeeded", "failed", "cancelled")
FEW_ROWS = 32

Say = Callable[[str], None]


def main() -> None:
    """Tune on a few of the example's order mails, and say what happens."""
    arguments = argparse.ArgumentParser(description="A whole tuning by OpenAI's stock client.")
    arguments.add_argument("--adapter", type=Path, default=Path("adapter"), help="where the adapter goes")
    with OpenAI() as client:
        tune(client, arguments.parse_args().adapter)


def tune(client: OpenAI, adapter: Path, *, say: Say = print, poll: float = 1.0) -> None:
    """Do everything that the client can ask of a tuning."""
    training, validation = (
        _uploaded(client, MAILS / f"{name}.jsonl", say) for name in ("train", "validation")
    )
    job = client.fine_tuning.jobs.create(
        model=MODEL,
        training_file=training.id,
        validation_file=validation.id,
        method={
            "type": "supervised",
            "supervised": {
                "hyperparameters": {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 5}
            },
        },
        suffix="order-mails",
        seed=7,
        metadata={"by": "stock client"},
    )
    say(f"fine_tuning.jobs.create → {job.id} {job.status}, {job.hyperparameters.to_json(indent=None)}")
    spare = client.fine_tuning.jobs.create(model=MODEL, training_file=training.id)
    say(f"fine_tuning.jobs.create → {spare.id} {spare.status}, with every default")
    for each in client.fine_tuning.jobs.list(limit=1):  # asks for page after page
        say(f"fine_tuning.jobs.list → {each.id} {each.status}")
    say(f"fine_tuning.jobs.cancel → {client.fine_tuning.jobs.cancel(spare.id).status}")

    told: set[str] = set()
    _followed(client, job.id, ("running",), told, say, poll)
    say(f"fine_tuning.jobs.pause → {client.fine_tuning.jobs.pause(job.id).status}")
    _followed(client, job.id, ("paused",), told, say, poll)
    say(f"fine_tuning.jobs.resume → {client.fine_tuning.jobs.resume(job.id).status}")
    job = _followed(client, job.id, ENDED, told, say, poll)
    if job.fine_tuned_model is None:
        raise SystemExit(f"the tuning ended {job.status}: {job.error}")
    say(f"fine_tuning.jobs.retrieve → {job.status}, {job.fine_tuned_model}, {job.trained_tokens} tokens")
    for checkpoint in client.fine_tuning.jobs.checkpoints.list(job.id):
        losses = checkpoint.metrics.to_json(indent=None)
        say(f"fine_tuning.jobs.checkpoints.list → step {checkpoint.step_number}: {losses}")

    model = client.models.retrieve(job.fine_tuned_model)
    say(f"models.retrieve → {model.id}, owned by {model.owned_by}")
    for id in job.result_files:
        _saved(client, id, adapter, say)
    say(f"models.delete → deleted: {client.models.delete(model.id).deleted}")
    say(f"models.list → {', '.join(each.id for each in client.models.list())}")
    for file in (training, validation):
        say(f"files.delete → {file.id} deleted: {client.files.delete(file.id).deleted}")


def _uploaded(client: OpenAI, path: Path, say: Say) -> FileObject:
    """The first rows of a file, uploaded and checked."""
    rows = b"".join(path.read_bytes().splitlines(keepends=True)[:FEW_ROWS])
    made = client.files.create(file=(path.name, rows), purpose="fine-tune")
    file = client.files.wait_for_processing(made.id)
    say(f"files.create → {file.id} {file.filename}, {file.bytes} bytes, {file.status}")
    return file


def _followed(
    client: OpenAI, id: str, until: tuple[str, ...], told: set[str], say: Say, poll: float
) -> FineTuningJob:
    """The job once it has one of these statuses; what happens till then is told."""
    while True:
        job = client.fine_tuning.jobs.retrieve(id)
        news = []
        for event in client.fine_tuning.jobs.list_events(id, limit=5):  # the newest first
            if event.id in told:
                break
            news.append(event)
        for event in reversed(news):
            told.add(event.id)
            say(f"  {event.level} {event.type}: {event.message}")
        if str(job.status) in until + ENDED:
            return job
        time.sleep(poll)


def _saved(client: OpenAI, id: str, folder: Path, say: Say) -> None:
    """A file that the tuning made, if it is one of the adapter's."""
    file = client.files.retrieve(id)
    if not file.filename.startswith("adapter/"):
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / Path(file.filename).name
    path.write_bytes(client.files.content(id).content)
    say(f"files.content → {path}, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
