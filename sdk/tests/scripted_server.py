"""A real HTTP server on the loopback that answers as a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

LARGEST_KEPT = 1024**2


@dataclass(frozen=True)
class Answer:
    """One answer: `content` is bytes or what becomes JSON; `cut` closes the connection early.

    `cut="before"` answers nothing, `cut="middle"` half of the content; `stall` holds the answer back until
    the server stops, `late` for so many seconds.
    """

    content: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: str | None = None
    stall: bool = False
    late: float = 0.0

    @property
    def body(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else json.dumps(self.content).encode()


@dataclass(frozen=True)
class Asked:
    """One request as it came; `body` is cut off at 1 MiB, `sha256` and `size` are of the whole."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    size: int
    sha256: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class ScriptedServer:
    """Answers each route with its answers in turn, the last one for ever; 501 for a route without any."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._script: dict[str, list[Answer]] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = False
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def on(self, route: str, *answers: Answer) -> None:
        """Script the route `METHOD /path`, without query, anew."""
        with self._lock:
            self._script[route] = list(answers)

    def requests(self, route: str) -> list[Asked]:
        """What was asked of the route."""
        return [asked for asked in self.asked if f"{asked.method} {asked.path}" == route]

    def stop(self) -> None:
        self._stopping.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(10)

    def _answer(self, asked: Asked) -> Answer:
        route = f"{asked.method} {asked.path}"
        with self._lock:
            self.asked.append(asked)
            answers = self._script.get(route, [])
            if not answers:
                return Answer({"error": {"message": f"the test has no answer to {route}"}}, 501)
            return answers.pop(0) if len(answers) > 1 else answers[0]


def _handler(server: ScriptedServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        timeout = 5  # an idle connection that a client keeps open does not hold up the end

        def _serve(self) -> None:
            split = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = server._answer(
                Asked(
                    self.command,
                    unquote(split.path),
                    dict(parse_qsl(split.query)),
                    headers,
                    *self._body(headers),
                )
            )
            server._stopping.wait(30 if answer.stall else answer.late)
            if answer.stall or answer.cut == "before":
                self.close_connection = True
                return
            body = answer.body
            self.send_response(answer.status)
            for name, value in {"content-type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if answer.cut == "middle" else body)
            self.close_connection = self.close_connection or answer.cut == "middle"

        def _body(self, headers: dict[str, str]) -> tuple[bytes, int, str]:
            kept, size, digest = bytearray(), 0, hashlib.sha256()
            for chunk in self._chunks(headers):
                size += len(chunk)
                digest.update(chunk)
                if len(kept) < LARGEST_KEPT:
                    kept += chunk
            return bytes(kept), size, digest.hexdigest()

        def _chunks(self, headers: dict[str, str]) -> Any:
            left = int(headers.get("content-length", 0))
            while left:
                chunk = self.rfile.read(min(left, 65536))
                if not chunk:
                    return
                left -= len(chunk)
                yield chunk

        do_GET = do_POST = do_DELETE = _serve

        def log_message(self, format: str, *args: Any) -> None:
            """Tests read what was asked, not a log."""

    return Handler
