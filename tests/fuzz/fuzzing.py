"""Schemathesis as a process, with a service under its hands."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from msgspec import Struct

from app.domain.accounts import IssueKey
from app.domain.ids import derive_id
from app.log.workers import Device, Heartbeat, Slot, heartbeat_record
from tests.integration.api.service import MODEL, Running, until, uploaded

HERE = Path(__file__).parent


class Fuzzed(Struct, frozen=True):
    """What came of it: requests made, whether all checks passed, and what schemathesis said."""

    cases: int
    passed: bool
    told: str


async def fuzz(service: Running, *options: str, on_line: Callable[[str], None] = lambda line: None) -> Fuzzed:
    """Try every operation of the service's OpenAPI document; `on_line` hears what schemathesis says."""
    key = await _admin_key(service)
    async with service.client(key) as client:
        file = await uploaded(client)
    living = asyncio.create_task(_a_worker_lives(service))
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": "tests.fuzz.hooks",
        "FUZZ_FILE": file,
        "FUZZ_MODEL": MODEL,
        "FUZZ_KEY_ID": derive_id("key", key),
        "FUZZ_ACCOUNT": service.account,
        "NO_COLOR": "1",
        "COLUMNS": "110",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml")),
        *("run", f"{service.url}/openapi.json", "--header", f"Authorization: Bearer {key}"),
        *("--checks", "all", "--continue-on-failure", "--request-timeout", "20", *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment,
        cwd=HERE.parents[1],
    )
    try:
        assert process.stdout is not None
        told = ""
        async for line in process.stdout:
            told += line.decode()
            on_line(line.decode())
        status = await process.wait()
    finally:
        living.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()
    counted = re.search(r"(\d[\d,]*) generated", told)
    return Fuzzed(int(counted[1].replace(",", "")) if counted else 0, status == 0, told)


async def _admin_key(service: Running) -> str:
    """A key that may do all, of the service's account."""
    key = f"sk-{uuid4().hex}"
    issue = IssueKey(
        derive_id("key", key), hashlib.sha256(key.encode()).hexdigest(), "fuzz", ("read", "write", "admin")
    )
    await service.send("accounts", service.account, issue)

    async def known() -> bool:
        return bool(await service.sql("SELECT 1 FROM api_keys WHERE id = $1", issue.key_id))

    await until(known)
    return key


async def _a_worker_lives(service: Running) -> None:
    """Else `/health` says 503, as it must, and schemathesis takes every 5xx for a fault."""
    writer = await service.log.writer()
    while True:
        await writer.send(heartbeat_record(Heartbeat("w", "s", 1, (Slot(0, Device("cpu", "cpu", 1)),))))
        await asyncio.sleep(5)
