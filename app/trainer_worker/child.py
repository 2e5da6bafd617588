"""One child process: started warm, given its plan, read frame by frame, stopped for good."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from app.trainer_worker import guard
from app.trainer_worker.training.frames import Frame, FrameError, Ready, read_frame
from app.trainer_worker.training.plan import Request, request_line

TERMINATES_WITHIN = 3.0
LONGEST_FRAME = 1024**2
KILLS_WITHIN = 5.0
GUARD = (sys.executable, "-I", "-S", guard.__file__)
PROGRAM = (sys.executable, "-m", "app.trainer_worker.training")

logger = structlog.get_logger("trainer_worker")


class ChildDied(Exception):
    """The child ended without a word; `status` is its exit status, negative for a signal."""

    def __init__(self, status: int) -> None:
        told = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        super().__init__(f"the child process ended with {told}")
        self.status = status


class Child:
    """A child process in a group of its own, under its guard; what it prints goes to the file `output`."""

    def __init__(
        self, process: asyncio.subprocess.Process, frames: asyncio.StreamReader, output: Path
    ) -> None:
        self._process, self._frames, self.output = process, frames, output
        self.ready: Ready | None = None

    @staticmethod
    async def start(
        output: Path,
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = PROGRAM,
        processes: int = 1,
    ) -> Child:
        """Start a child of so many processes; it imports what it needs while nobody waits for it."""
        reading, writing = os.pipe()
        command = [*program, "--frames-fd", str(writing)]
        if processes > 1:
            command += ["--processes", str(processes)]
        try:
            with output.open("wb") as out:
                process = await asyncio.create_subprocess_exec(
                    *GUARD,
                    str(os.getpid()),
                    json.dumps(command),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=out,
                    stderr=out,
                    pass_fds=(writing,),
                    start_new_session=True,
                    env=environment,
                )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        frames = asyncio.StreamReader(limit=LONGEST_FRAME)
        child = Child(process, frames, output)
        connecting = asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(frames), os.fdopen(reading, "rb")
        )
        try:
            await connecting
        except BaseException:
            await child.stop()
            raise
        return child

    @property
    def pid(self) -> int:
        """The guard's, which ends as the child does."""
        return self._process.pid

    async def wait(self) -> int:
        """Wait for the child's end; its exit status, negative for a signal."""
        return await self._process.wait()

    async def until_ready(self) -> Ready:
        """Wait until everything is imported. Raises `ChildDied`, `FrameError`."""
        if self.ready is None:
            frame = await self.next_frame()
            if not isinstance(frame, Ready):
                raise FrameError(f"the child's first word was {frame!r}")
            self.ready = frame
        return self.ready

    async def send(self, request: Request) -> None:
        """Hand the child a request. Raises `ChildDied`."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(request_line(request))
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise ChildDied(await self._process.wait()) from None

    async def next_frame(self) -> Frame:
        """The child's next word. Raises `ChildDied`, `FrameError`."""
        line = await self._frames.readline()
        if not line.endswith(b"\n"):
            raise ChildDied(await self._process.wait())
        return read_frame(line)

    async def stop(self) -> None:
        """End the child and all that it started: ask, and after 3 s have the guard kill them.

        When this returns or raises they are gone: a cancelled caller waits too, or it might leave an orphan.
        """
        ending = asyncio.create_task(self._end())
        cancelled: asyncio.CancelledError | None = None
        while not ending.done():
            try:
                await asyncio.shield(ending)
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    async def _end(self) -> None:
        self._signal(signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(TERMINATES_WITHIN):
                await self._process.wait()
        with suppress(TimeoutError, ProcessLookupError):
            os.kill(self._process.pid, signal.SIGHUP)
            async with asyncio.timeout(KILLS_WITHIN):
                await self._process.wait()
        self._signal(signal.SIGKILL)
        await self._process.wait()

    def _signal(self, sent: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, sent)
