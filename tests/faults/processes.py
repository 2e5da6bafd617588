"""Processes of ours under test: started ahead, let go, killed by real signals."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path


class Process:
    """A process that waits at its start until it is let go; what it logs is kept in `log`."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process, self.log = process, log
        self.pid = process.pid

    async def go(self) -> None:
        """Let it begin."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert await self._process.stdout.readline() == b"ready\n", self.log.read_text()
        self._process.stdin.write(b"go\n")
        await self._process.stdin.drain()

    async def killed_itself(self, within: float = 30.0) -> None:
        """Wait for the end that it was to bring upon itself."""
        async with asyncio.timeout(within):
            assert await self._process.wait() == -signal.SIGKILL, self.log.read_text()

    def send(self, sent: signal.Signals) -> None:
        self._process.send_signal(sent)

    async def end(self) -> None:
        """Kill it, if it is still there."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


@asynccontextmanager
async def process(module: str, *arguments: str, log: Path) -> AsyncIterator[Process]:
    """`python -m module`, dead when the context ends."""
    with log.open("ab") as out:
        started = Process(
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                module,
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=out,
            ),
            log,
        )
    try:
        yield started
    finally:
        await started.end()
