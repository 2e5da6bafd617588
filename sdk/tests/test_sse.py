"""Server-sent events, put together from pieces."""

from __future__ import annotations

import pytest

from tunesmith import _sse
from tunesmith._sse import Frame, FrameDecoder

STREAM = (
    "\ufeffretry: 1500\n\n: a heartbeat\n\nid: job-1:1\nevent: created\ndata: {\ndata: }\n\n"
    "data:no space\r\n\r\nevent:metrics\rdata: ünïcode ✓\r\rid: job-1:2\n\nid: a\0b\ndata\n\n"
    "retry: soon\ncolour: blue\ndata: never ended"
)
FRAMES = [
    Frame("created", "{\n}", "job-1:1"),
    Frame("message", "no space", None),
    Frame("metrics", "ünïcode ✓", None),
    Frame("message", "", None),
]


def test_a_stream_is_read_as_the_standard_says() -> None:
    decoder = FrameDecoder()
    assert decoder.feed(STREAM.encode()) == FRAMES
    assert decoder.retry == 1.5


def test_it_does_not_matter_where_the_pieces_were_cut() -> None:
    content = STREAM.encode()
    for size in (1, 2, 3, 5, 7, 11):
        decoder, frames = FrameDecoder(), list[Frame]()
        for start in range(0, len(content), size):
            frames += decoder.feed(content[start : start + size])
        assert frames == FRAMES, size
        assert decoder.retry == 1.5


def test_a_line_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sse, "LONGEST_LINE", 100)
    decoder = FrameDecoder()
    decoder.feed(b"data: " + b"0" * 90)
    with pytest.raises(ValueError, match="longer than 100"):
        decoder.feed(b"0" * 90)
