"""Base models as users and admins see them: what is known of one, and one that is taken out of use."""

from __future__ import annotations

import httpx

from app.domain.tunings import AssignAttempt, Attempt
from app.log.metrics import Phase, metric_record
from tests.integration.api.service import MODEL, Running, open_account, until, uploaded


async def test_a_model_tells_its_context_template_and_memory_and_how_far_its_files_are(
    service: Running, client: httpx.AsyncClient
) -> None:
    model = (await client.get(f"/v1/models/{MODEL}")).json()
    assert (model["context_length"], model["template"], model["archived"]) == (8192, "chatml", False)
    assert 10**9 < model["memory"]["qlora"] < model["memory"]["lora"]
    body = {"model": MODEL, "training_file": await uploaded(client)}
    job = (await client.post("/v1/tunings.create", json=body)).json()
    await service.send("tunings", job["id"], AssignAttempt(Attempt(1, "w", "s", 0)))
    writer = await service.log.writer()
    await writer.send(metric_record(job["id"], Phase(1, "loading", "1.20 GB of 2.40 GB fetched"), worker="w"))

    async def told() -> bool:
        seen = (await client.get(f"/v1/tunings.get/{job['id']}")).json()
        return (seen["phase"], seen["phase_detail"]) == ("loading", "1.20 GB of 2.40 GB fetched")

    await until(told)


async def test_an_admin_takes_a_base_model_out_of_use_and_back(
    service: Running, client: httpx.AsyncClient
) -> None:
    body = {"model": MODEL, "training_file": await uploaded(client)}
    assert (await client.post(f"/v1/models.archive/{MODEL}")).status_code == 403
    async with service.client(await open_account(service, "admin")) as admin:
        for _ in range(2):
            archived = await admin.post(f"/v1/models.archive/{MODEL}")
            assert (archived.status_code, archived.json()["archived"]) == (200, True)
        assert (await client.get(f"/v1/models/{MODEL}")).status_code == 404
        refused = await client.post("/v1/tunings.create", json=body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "model_not_found")
        restored = await admin.post(f"/v1/models.restore/{MODEL}")
        assert (restored.status_code, restored.json()["archived"]) == (200, False)
        assert (await client.post("/v1/tunings.create", json=body)).status_code == 201
        for route in ("archive", "restore"):
            assert (await admin.post(f"/v1/models.{route}/nothing")).status_code == 404
