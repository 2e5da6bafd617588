"""A tuning looked at before it is created, held to what was seen, gone on from and run again."""

from __future__ import annotations

import json
from typing import Any

import httpx
import msgspec
import pytest

from app.api import measuring
from app.domain.models import RegisterModel
from app.domain.tunings import (
    AssignAttempt,
    Attempt,
    ReportStarted,
    ReportSucceeded,
    ResultFile,
    Tuning,
)
from app.log.metrics import Step, metric_record
from app.log.port import Record
from app.log.workers import Device, Heartbeat, Occupant, Slot, heartbeat_record
from tests.integration.api.service import MODEL, ROW, Running, open_account, send, until, uploaded

GIB = 1024**3
OTHER = ROW.replace(b"1 + 1", b"2 + 2")
LONG = json.dumps(
    {"messages": [{"role": "user", "content": "so " * 300}, {"role": "assistant", "content": "yes"}]}
).encode()


async def put(service: Running, record: Record) -> None:
    writer = await service.log.writer()
    try:
        await writer.send(record)
    finally:
        await writer.close()


async def asked(client: httpx.AsyncClient, what: str, status: int = 200, **body: Any) -> dict[str, Any]:
    answer = await client.post(f"/v1/tunings.{what}", json={"model": MODEL} | body)
    assert answer.status_code == status, answer.text
    return dict(answer.json())


async def succeeded(service: Running, client: httpx.AsyncClient, job: str) -> dict[str, Any]:
    """Carry a tuning through to its end, with an adapter in the store."""
    stored = await service.store.put_bytes(f"tunings/{job}/1/adapter/weights", b"weights")
    files = tuple(
        ResultFile(f"file-{name}-{job}", f"{kind}/{name}", stored.bytes, stored.sha256, key)
        for kind, name, key in (
            ("adapter", "weights", f"tunings/{job}/1/adapter/weights"),
            ("results", "manifest.json", f"tunings/{job}/1/results/manifest.json"),
        )
    )
    for command in (
        AssignAttempt(Attempt(1, "worker-1", "session-1", 0)),
        ReportStarted(1, "session-1"),
        ReportSucceeded(1, "session-1", 0.5, None, 100, files),
    ):
        await service.send("tunings", job, command, actor="worker:worker-1")

    async def ended() -> Any:
        found = (await client.get(f"/v1/tunings.get/{job}")).json()
        return found if found["status"] == "succeeded" else None

    found: dict[str, Any] = await until(ended)
    return found


async def recorded(service: Running, job: str) -> Tuning:
    [row] = await service.sql("SELECT state FROM tunings WHERE id = $1", job)
    return msgspec.json.decode(row["state"], type=Tuning)


async def test_an_estimate_tells_what_a_tuning_needs_and_where_it_fits(
    service: Running, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = await uploaded(client, ROW * 99 + LONG + b"\n")
    body: dict[str, Any] = {
        "training_file": file,
        "validation_file": await uploaded(client, OTHER * 7 + ROW),
        "hyperparameters": {"batch_size": 4, "epochs": 2, "max_length": 256, "alpha": "auto"},
    }
    alone = await asked(client, "estimate", **body)
    assert (alone["workers"], alone["fits"], alone["suggestion"]) == ([], None, None)
    assert (alone["time"]["seconds"], alone["complete"], alone["rows_measured"]) == (None, True, 108)
    assert "no worker is alive" in alone["time"]["reason"]
    assert (alone["unseen"], alone["has_more"]) == ([], False)
    assert alone["hyperparameters"]["alpha"] == 32.0
    assert alone["steps"] == {"per_epoch": 25, "total": 50}
    counts = alone["training"]
    assert (counts["rows"], counts["rows_cut"], counts["longest_row"]) == (100, 1, 256)
    assert counts["trainable_tokens"] == 99 * 2
    assert alone["total_tokens"] == 2 * counts["tokens"]
    parts = dict(alone["memory"])
    assert parts.pop("total") == sum(parts.values())
    overlap, finding = alone["findings"]
    assert (overlap["line"], overlap["code"], overlap["warning"]) == (8, "validation_overlap", True)
    assert (overlap["pointer"], finding["pointer"]) == ("", "/messages")
    told = [await asked(client, "estimate", **body, findings_after=at, findings_limit=1) for at in (0, 1, 2)]
    assert [page["findings"] for page in told] == [[overlap], [finding], []]
    assert [page["has_more"] for page in told] == [True, False, False]
    assert told[2]["finding_counts"] == alone["finding_counts"]
    assert alone["finding_counts"] == {"no_trainable_tokens": 1, "validation_overlap": 1}
    assert (finding["line"], finding["code"], finding["warning"]) == (100, "no_trainable_tokens", False)
    assert "raise max_length" in finding["fix"]

    job = await asked(client, "create", 201, **body)
    small = Slot(0, Device("cpu", "a processor", alone["memory"]["total"] - 1), Occupant(job["id"], 1))
    large = Slot(1, Device("cuda", "a card", 80 * GIB))

    async def estimated(*slots: Slot) -> Any:
        await put(service, heartbeat_record(Heartbeat("worker-1", "session-1", 1, slots)))
        found = await asked(client, "estimate", **body)
        return found if len(found["workers"]) == len(slots) else None

    fitting = await until(lambda: estimated(small, large))
    assert [(slot["free"], slot["fits"]) for slot in fitting["workers"]] == [(False, False), (True, True)]
    assert (fitting["fits"], fitting["suggestion"]) == (True, None)
    assert "was seen at work on cuda yet" in fitting["time"]["reason"]
    tight = await until(lambda: estimated(small))
    assert tight["fits"] is False
    assert tight["suggestion"]["hyperparameters"] == {"gradient_accumulation": 2}
    assert tight["suggestion"]["memory"] < small.device.memory

    step = Step(1, 10, 0.5, 1.25, 1e-4, 0.75, 5120, 50.0, 60.0, 50, 2, 10**9, None, "cpu")
    await put(service, metric_record(job["id"], step, worker="worker-1"))

    async def timed() -> Any:
        found = await asked(client, "estimate", **body)
        return found["time"] if found["time"]["seconds"] is not None else None

    told = await until(timed)
    assert (told["tokens_per_second"], told["device"]) == (50.0, "cpu")
    assert told["seconds"] >= alone["total_tokens"] / 50
    both = await until(lambda: estimated(msgspec.structs.replace(large, index=0)))
    assert (both["time"]["seconds"], both["time"]["device"]) == (None, None)  # seen on another kind only

    monkeypatch.setattr(measuring, "LARGEST_COPY", 50 * len(ROW))
    part = await asked(client, "estimate", **body)
    assert (part["complete"], part["training"]["rows"]) == (False, 100)
    assert part["unseen"] == ["the training file is too large: it was not looked at behind line 50"]
    assert part["training"]["tokens"] == pytest.approx(100 * counts["row_lengths"]["p50"], rel=0.01)
    monkeypatch.undo()

    wrong = await client.post("/v1/tunings.estimate", json={"model": MODEL, "hyperparameters": {"rank": 0}})
    assert {fault["param"] for fault in wrong.json()["error"]["errors"]} == {
        "training_file",
        "hyperparameters.rank",
    }
    assert (await client.get("/v1/tunings.list")).json()["data"][0]["id"] == job["id"]  # and no other


async def test_a_preview_shows_the_tokens_and_holds_the_tuning_to_them(
    service: Running, client: httpx.AsyncClient
) -> None:
    yes = [{"role": "user", "content": "Sag ja"}, {"role": "assistant", "content": "ja 🎉"}]
    two = ROW + json.dumps({"messages": yes}).encode() + b"\n"
    body: dict[str, Any] = {
        "training_file": await uploaded(client, two * 4),
        "validation_file": await uploaded(client, OTHER * 7 + ROW),
    }
    seen = await asked(client, "preview", **body, lines=[2])
    [row] = seen["rows"]
    assert (row["line"], row["cut"], row["fault"]) == (2, None, None)
    assert "".join(token["text"] for token in row["tokens"] if token["trained"]) == "ja 🎉<|im_end|>"
    assert (seen["reason"], seen["complete"], seen["rows_measured"]) == (None, True, 16)
    short = {"max_length": len(row["tokens"]) - 1}
    first = await asked(client, "preview", **body, first=2, hyperparameters=short)
    assert [each["line"] for each in first["rows"]] == [1, 2]
    assert first["rows"][1]["cut"] == {"tokens": 1, "trainable_tokens": 1, "text": "<|im_end|>"}
    assert first["finding_counts"] == {"row_cut": 4, "validation_overlap": 1}
    assert [each["code"] for each in first["findings"]] == ["validation_overlap", *["row_cut"] * 4]
    assert [[each["code"] for each in row["findings"]] for row in first["rows"]] == [[], ["row_cut"]]
    assert first["preview_hash"] not in (None, seen["preview_hash"])
    gone = await client.post("/v1/tunings.preview", json={"model": MODEL, **body, "lines": [9]})
    assert (gone.status_code, gone.json()["error"]["param"]) == (400, "lines")
    bad = await asked(
        client,
        "preview",
        training_file=await uploaded(client, ROW + LONG + b"\n"),
        hyperparameters={"max_length": 64},
    )
    assert bad["preview_hash"] is None
    assert "mend or remove" in bad["reason"]

    pair = b'{"prompt": "1 + 1?", "chosen": "2", "rejected": "many"}\n'
    file = await uploaded(client, pair * 2 + pair.replace(b"many", b"many " * 300))
    pairs: dict[str, Any] = {"training_file": file, "method": "dpo"}
    both = await asked(client, "preview", **pairs, first=1)
    [row] = both["rows"]
    learned = [
        "".join(each["text"] for each in row[side] if each["trained"]) for side in ("tokens", "rejected")
    ]
    assert learned == ["2<|im_end|>", "many<|im_end|>"]
    assert (row["cut"], row["rejected_cut"], row["findings"]) == (None, None, [])
    long = b'{"prompt": "1 + 1?", "chosen": "2", "rejected": "it may be three or four"}\n'
    length = {"max_length": len(row["tokens"])}
    lost = await asked(
        client, "preview", training_file=await uploaded(client, long), method="dpo", hyperparameters=length
    )
    [row] = lost["rows"]
    assert row["cut"] is None
    assert row["rejected_cut"]["tokens"] == row["rejected_cut"]["trainable_tokens"] > 1
    assert row["rejected_cut"]["text"].endswith("four<|im_end|>")
    assert [(each["code"], each["pointer"]) for each in row["findings"]] == [("row_cut", "/rejected")]
    needed = await asked(client, "estimate", **pairs)
    assert (needed["training"]["rows"], needed["hyperparameters"]["beta"]) == (3, 0.1)
    taken = await asked(client, "create", 201, **pairs)
    assert taken["method"] == "dpo"
    # What is dispatched by is what was told.
    assert (await recorded(service, taken["id"])).memory == needed["memory"]["total"]

    job = await asked(client, "create", 201, **body, preview_hash=seen["preview_hash"])
    assert job["preview_hash"] == seen["preview_hash"]
    assert (await recorded(service, job["id"])).labels_hash == seen["preview_hash"]
    wrong = await client.post(
        "/v1/tunings.create", json={"model": MODEL, **body, "preview_hash": "AB", "method": "dpo"}
    )
    assert {fault["param"] for fault in wrong.json()["error"]["errors"]} == {
        "preview_hash",
        "training_file",  # has no pairs of answers
        "validation_file",
    }


async def test_a_tuning_goes_on_from_an_adapter_and_is_run_again(
    service: Running, client: httpx.AsyncClient
) -> None:
    file = await uploaded(client)
    options = {"rank": 4, "target_modules": ["q_proj", "v_proj"], "max_steps": 3, "train_on": "all"}
    first = await asked(
        client, "create", 201, training_file=file, hyperparameters=options, metadata={"a": "b"}
    )
    ended = await succeeded(service, client, first["id"])
    tuned = ended["fine_tuned_model"]

    later = await asked(client, "create", 201, model=tuned, training_file=file, suffix="more")
    assert (later["model"], later["warm_start"]) == (MODEL, tuned)
    assert (later["hyperparameters"]["rank"], later["hyperparameters"]["epochs"]) == (4, 3)
    start = (await recorded(service, later["id"])).warm_start
    assert start is not None
    assert (start.tuning_id, [each.name for each in start.files]) == (first["id"], ["adapter/weights"])
    assert (await asked(client, "estimate", model=tuned, training_file=file))["model"] == MODEL
    other = await client.post(
        "/v1/tunings.create", json={"model": tuned, "training_file": file, "hyperparameters": {"rank": 8}}
    )
    assert other.json()["error"]["param"] == "hyperparameters.rank"
    async with service.client(await open_account(service)) as stranger:
        theirs = await stranger.post("/v1/tunings.create", json={"model": tuned, "training_file": file})
        assert {each["code"] for each in theirs.json()["error"]["errors"]} == {
            "model_not_found",
            "file_not_found",
        }
        assert (await stranger.post(f"/v1/tunings.rerun/{first['id']}")).status_code == 404

    key = {"idempotency-key": "again"}
    again = await client.post(f"/v1/tunings.rerun/{first['id']}", headers=key)
    assert again.status_code == 201, again.text
    job = again.json()
    assert job["rerun_of"] == first["id"] != job["id"]
    for same in ("model", "training_file", "hyperparameters", "seed", "metadata", "method"):
        assert job[same] == first[same]
    assert (await client.post(f"/v1/tunings.rerun/{first['id']}", headers=key)).json() == job
    clash = await client.post(f"/v1/tunings.rerun/{later['id']}", headers=key)
    assert (clash.status_code, clash.json()["error"]["code"]) == (409, "idempotency_conflict")
    assert (await client.post("/v1/tunings.rerun/job-none")).status_code == 404

    weights = f"tunings/{first['id']}/1/adapter/weights"
    await service.store.delete(weights)
    await service.store.delete((await recorded(service, first["id"])).training_file.key)
    await send(service.log, "models", MODEL, RegisterModel("another", 8192, 1, "Apache-2.0"))

    async def refused() -> Any:
        answer = await client.post(f"/v1/tunings.rerun/{later['id']}")
        faults = {(each["param"], each["code"]) for each in answer.json().get("error", {}).get("errors", ())}
        return faults if len(faults) == 3 else None

    assert await until(refused) == {
        ("model", "model_revision_gone"),
        ("model", "adapter_gone"),
        ("training_file", "file_gone"),
    }
    stale = await client.post("/v1/tunings.create", json={"model": tuned, "training_file": file})
    assert stale.json()["error"]["code"] == "model_revision_gone"
    assert (await client.delete(f"/v1/models/{tuned}")).json()["deleted"] is True

    async def deleted() -> bool:
        answer = await client.post("/v1/tunings.create", json={"model": tuned, "training_file": file})
        return bool(answer.json()["error"]["code"] == "model_not_found")

    assert await until(deleted)
    lost = await client.post("/v1/tunings.estimate", json={"model": MODEL, "training_file": file})
    assert lost.status_code == 503  # nobody here has the files of that revision
