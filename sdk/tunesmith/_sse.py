"""Server-sent events: bytes in, frames out, as the HTML standard reads them; no I/O."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

LONGEST_LINE = 8 * 1024**2
"""Characters of a line at most: a peer that never ends one must not fill the memory."""


@dataclass(frozen=True)
class Frame:
    """One event of the stream; `id` is None when it carries none of its own."""

    event: str
    data: str
    id: str | None


class FrameDecoder:
    """Puts frames together from pieces of a stream, wherever these were cut.

    `retry` is how many seconds the server last asked to wait before a reconnect; None when it never did.
    """

    def __init__(self, retry: float | None = None) -> None:
        self.retry = retry
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._rest = ""
        self._after_return = False
        self._event = ""
        self._id: str | None = None
        self._lines: list[str] = []

    def feed(self, piece: bytes) -> list[Frame]:
        """The frames that this piece completes. Raises ValueError for a line without end."""
        frames = []
        for line in self._ended_lines(self._decoder.decode(piece)):
            if line:
                self._take(line)
            elif (frame := self._frame()) is not None:
                frames.append(frame)
        return frames

    def _ended_lines(self, text: str) -> list[str]:
        # A line ends with \r\n, \n or \r; that \n may come with the next piece.
        if self._after_return and text.startswith("\n"):
            text = text[1:]
        if text:
            self._after_return = text.endswith("\r")
        lines = (self._rest + text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self._rest = lines.pop()
        if len(self._rest) > LONGEST_LINE:
            raise ValueError(f"a line of the stream is longer than {LONGEST_LINE} characters")
        return lines

    def _take(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._lines.append(value)
            case "event":
                self._event = value
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit():
                self.retry = int(value) / 1000

    def _frame(self) -> Frame | None:
        event, id, lines = self._event, self._id, self._lines
        self._event, self._id, self._lines = "", None, []
        return Frame(event or "message", "\n".join(lines), id) if lines else None
