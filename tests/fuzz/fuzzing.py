"""Schemathesis as a process, with a service under its hands."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import httpx
from msgspec import Struct

from app.domain.accounts import IssueKey
from app.domain.ids import derive_id
from tests.fuzz.company import keep_company
from tests.integration.api.service import MODEL, Running, until, uploaded

HERE = Path(__file__).parent
ROWS = {
    "supervised": b'{"prompt": "%s?", "completion": "2"}\n',
    "dpo": b'{"prompt": "%s?", "chosen": "2", "rejected": "3"}\n',
}


class Fuzzed(Struct, frozen=True):
    """What came of it: requests made, whether all checks passed, what schemathesis said, and the answers.

    `answers` are their numbers by operation and status.
    """

    cases: int
    passed: bool
    told: str
    answers: dict[str, dict[str, int]]

    def taken(self, operation: str) -> int:
        """How many requests of an operation were accepted."""
        return sum(n for status, n in self.answers.get(operation, {}).items() if status.startswith("2"))


async def fuzz(service: Running, *options: str, on_line: Callable[[str], None] = lambda line: None) -> Fuzzed:
    """Try every operation of the service's OpenAPI document; `on_line` hears what schemathesis says."""
    key = await _admin_key(service)
    async with service.client(key) as client:
        files = {
            method: [await uploaded(client, row % word * 8) for word in (b"training", b"validation")]
            for method, row in ROWS.items()
        }
        parts = dict([await _upload(client) for _ in range(8)])
    given = {
        "model": MODEL,
        "account": service.account,
        "key": derive_id("key", key),
        "files": files,
        "parts": parts,
    }
    company = asyncio.create_task(keep_company(service))
    answers = service.folder / "answers.json"
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": "tests.fuzz.hooks",
        "FUZZ_GIVEN": json.dumps(given),
        "FUZZ_ANSWERS": str(answers),
        "PYTHONHASHSEED": "0",
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
        company.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()
    with suppress(asyncio.CancelledError):
        await company
    counted = re.search(r"(\d[\d,]*) generated", told)
    cases = int(counted[1].replace(",", "")) if counted else 0
    return Fuzzed(cases, status == 0, told, json.loads(answers.read_text()) if answers.exists() else {})


async def _upload(client: httpx.AsyncClient) -> tuple[str, list[str]]:
    """An upload with all of its parts, by its id."""
    content = ROWS["supervised"] % b"in parts"
    upload = await client.post("/v1/uploads", json={"filename": "a", "bytes": len(content)})
    part = await client.post(f"/v1/uploads/{upload.json()['id']}/parts", files={"data": content})
    return upload.json()["id"], [part.json()["id"]]


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
