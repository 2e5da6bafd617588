"""Work on files in processes of their own, in bounded memory and time."""

from __future__ import annotations

import asyncio
import resource
import sys

from msgspec import Struct

LARGEST_MEMORY = 4 * 1024**3


class Ended(Struct, frozen=True):
    """A process's exit status, what it wrote, and the end of what it said of its errors."""

    status: int
    written: bytes
    said: str


async def ran(module: str, *arguments: str, given: bytes = b"", within: float) -> Ended:
    """Run a module as a process that reads `given`. Raises `TimeoutError`; then it was killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=_bounded,
    )
    try:
        async with asyncio.timeout(within):
            out, err = await process.communicate(given)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    return Ended(process.returncode or 0, out, err.decode(errors="replace").strip()[-500:])


def _bounded() -> None:
    """No file makes the process eat the machine."""
    resource.setrlimit(resource.RLIMIT_AS, (LARGEST_MEMORY, LARGEST_MEMORY))
