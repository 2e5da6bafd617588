"""A hub on loopback: as much of the Hugging Face hub's protocol as fetching a model takes, and its failures.

Large files lie elsewhere, at another name of this host, as they do on a CDN.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from app.catalogue.catalogue import Entry, Folder
from app.catalogue.catalogue import Hub as Source

LARGE = 10_000
INFO = re.compile(r"/api/models/(?P<repository>[^/]+/[^/]+)/revision/(?P<revision>[^/?]+)")
FILE = re.compile(r"/(?P<repository>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<name>[^?]+)")
ELSEWHERE = re.compile(r"/elsewhere/(?P<repository>[^/]+/[^/]+)/(?P<name>.+)")


def commit_of(folder: Path) -> str:
    """A commit's name, made of the files' names and bytes."""
    digest = hashlib.sha1(usedforsecurity=False)
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


@dataclass
class Repository:
    """A folder at its one commit; `token` is what a request must carry if it is gated."""

    folder: Path
    commit: str
    token: str | None = None


@dataclass
class Hub:
    """Its repositories, what was asked of it, and how it is to misbehave.

    `cut_after` breaks a file's connection off after so many bytes, as often as `cuts` says; behind `ends_at`
    no byte of it is sent; `spoils` is how many files of that name come with a byte changed; `says` are sizes
    that it claims; `down` refuses all.
    """

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    cut_after: int = 0
    ends_at: int | None = None
    cuts: int = 0
    spoils: Counter[str] = field(default_factory=Counter)
    down: bool = False
    says: dict[str, int] = field(default_factory=dict)
    sent: Counter[str] = field(default_factory=Counter)
    gets: Counter[str] = field(default_factory=Counter)
    tokens_elsewhere: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, repository: str, folder: Path, token: str | None = None) -> str:
        """Have a repository; its commit."""
        self.repositories[repository] = Repository(folder, commit_of(folder), token)
        return self.repositories[repository].commit


@contextmanager
def hub() -> Iterator[Hub]:
    """A hub that serves until the context ends."""
    told = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Answering, told))
    server.daemon_threads = True
    told.url = f"http://127.0.0.1:{server.server_port}"
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    serving.start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
        serving.join()


def on_a_hub(there: Hub, tiny: Entry, token: str) -> Entry:
    """The tiny model, gated."""
    assert isinstance(tiny.source, Folder)
    commit = there.add("someone/tiny", Path(tiny.source.path), token)
    return replace(tiny, id="tiny-of-the-hub", source=Source("someone/tiny", commit), revision=commit)


def damage(folder: Path) -> None:
    """Let a model's weights end in what is no number."""
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-64, 2)
        file.write(b"\xff" * 64)


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, told: Hub, *arguments: object) -> None:
        self.hub = told
        super().__init__(*arguments)  # type: ignore[arg-type]

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        if self.hub.down:
            self._refuse(503, "")
        elif found := INFO.match(self.path):
            self._info(found["repository"], found["revision"])
        elif found := ELSEWHERE.match(self.path):
            if "authorization" in self.headers:
                self.hub.tokens_elsewhere.append(self.headers["authorization"])
            self._bytes(self.hub.repositories[found["repository"]], found["name"])
        elif found := FILE.match(self.path):
            self._file(found["repository"], found["revision"], found["name"], body=body)
        else:
            self._refuse(404, "")

    def _allowed(self, name: str, revision: str) -> Repository | None:
        repository = self.hub.repositories.get(name)
        given = (self.headers.get("authorization") or "").removeprefix("Bearer ")
        if repository is None:
            self._refuse(404 if given else 401, "RepoNotFound")
        elif repository.token is not None and given != repository.token:
            self._refuse(403 if given else 401, "GatedRepo")
        elif revision not in (repository.commit, "main"):
            self._refuse(404, "RevisionNotFound")
        else:
            return repository
        return None

    def _info(self, name: str, revision: str) -> None:
        if (repository := self._allowed(name, revision)) is None:
            return
        siblings = []
        for path in sorted(repository.folder.iterdir()):
            content = path.read_bytes()
            git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
            size = self.hub.says.get(path.name, len(content))
            one: dict[str, Any] = {"rfilename": path.name, "size": size, "blobId": git}
            if len(content) >= LARGE:
                sha256 = hashlib.sha256(content).hexdigest()
                one["lfs"] = {"sha256": sha256, "size": size, "pointerSize": 134}
            siblings.append(one)
        self._json({"id": name, "modelId": name, "sha": repository.commit, "siblings": siblings, "tags": []})

    def _file(self, name: str, revision: str, file: str, *, body: bool) -> None:
        if (repository := self._allowed(name, revision)) is None:
            return
        path = repository.folder / file
        if not path.is_file():
            self._refuse(404, "EntryNotFound")
            return
        content = path.read_bytes()
        headers = {"X-Repo-Commit": repository.commit}
        if len(content) >= LARGE:
            headers |= {
                "Location": f"{self.hub.url.replace('127.0.0.1', 'localhost')}/elsewhere/{name}/{file}",
                "X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"',
                "X-Linked-Size": str(len(content)),
            }
            self._head(302, {**headers, "Content-Length": "0"})
        elif body:
            self._bytes(repository, file, headers)
        else:
            headers["ETag"] = f'"{hashlib.sha1(content, usedforsecurity=False).hexdigest()}"'
            self._head(200, {**headers, "Content-Length": str(len(content))})

    def _bytes(self, repository: Repository, name: str, headers: dict[str, str] | None = None) -> None:
        content = (repository.folder / name).read_bytes()
        with self.hub.lock:
            self.hub.gets[name] += 1
            if self.hub.spoils[name] > 0:
                self.hub.spoils[name] -= 1
                content = content[:-1] + bytes([content[-1] ^ 1])
            begin = re.match(r"bytes=(\d+)-", self.headers.get("range") or "")
            at = int(begin[1]) if begin else 0
            left, end = content[at:], self.hub.ends_at
            cut = 0 < self.hub.cut_after < len(left) and self.hub.cuts > 0
            self.hub.cuts -= cut
            send = left[: self.hub.cut_after] if cut else content[at:end] if end is not None else left
        told = {"Content-Length": str(len(left)), "Accept-Ranges": "bytes", **(headers or {})}
        if begin:
            told["Content-Range"] = f"bytes {at}-{len(content) - 1}/{len(content)}"
        self._head(206 if begin else 200, told)
        self.hub.sent[name] += len(send)
        self.wfile.write(send)
        if len(send) < len(left):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

    def _json(self, document: object) -> None:
        content = json.dumps(document).encode()
        self._head(200, {"Content-Type": "application/json", "Content-Length": str(len(content))})
        self.wfile.write(content)

    def _refuse(self, status: int, code: str) -> None:
        headers = {"Content-Length": "0"} | ({"X-Error-Code": code} if code else {})
        self._head(status, headers)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
