"""The worked example of a receiver, told by a real service."""

from __future__ import annotations

import asyncio
import os
import sys
from ipaddress import ip_network
from pathlib import Path

import httpx

from app.embedded.ports import free_port
from app.reactors.deliveries import Sending
from tests.integration.api.service import INSTALLATION_KEY, memory_log, running
from tests.integration.api.test_history import lived


async def test_it_acts_once_on_what_the_service_sends_and_on_nothing_else(
    database: str, tmp_path: Path
) -> None:
    sending = Sending(installation_key=INSTALLATION_KEY, allowed=(ip_network("127.0.0.0/8"),))
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    async with (
        running(memory_log(), database, tmp_path, sending=sending) as service,
        service.client() as client,
    ):
        body = {"url": url, "types": ["tuning.succeeded", "tuning.started"]}
        webhook = (await client.post("/v1/webhooks.create", json=body)).json()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "examples.webhook_receiver.receive", str(port)),
            env=os.environ | {"TUNESMITH_WEBHOOK_SECRET": webhook["secret"]},
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        try:

            async def said() -> str:
                assert process.stdout is not None
                async with asyncio.timeout(30):
                    return (await process.stdout.readline()).decode().strip()

            assert await said() == f"listening on {url}"
            job = await lived(service, client)
            told = {await said(), await said()}
            model = (await client.get(f"/v1/tunings.get/{job}")).json()["fine_tuned_model"]
            assert told == {f"{job}:3: tuning.started", f"{job}:8: the model {model} is ready"}
            replayed = await client.post(f"/v1/webhooks.replay/{webhook['id']}", json={"since": 0})
            assert replayed.json()["queued"] == 2
            async with httpx.AsyncClient() as anybody:
                forged = await anybody.post(url, json={"type": "tuning.succeeded"})
            assert forged.status_code == 400
            assert (await said()).startswith("refused: ")
            tested = (await client.post(f"/v1/webhooks.test/{webhook['id']}")).json()
            assert tested["attempts"][0]["answer"]["status"] == 204
            assert await said() == f"{tested['event']}: webhook.test", "the replay was not acted on again"
        finally:
            process.kill()
            await process.wait()
