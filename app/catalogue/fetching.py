"""The process that fetches a model: what is wanted on stdin, how far it is as lines of JSON on stdout.

The hub's own library finds the files, follows its redirects and names its refusals. It keeps nothing of a
file that broke off, so what has come lies here, under `<name>.partial`, until it is whole and its digest
right. Ends with its stdin.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from app.catalogue.files import ModelError, ModelFile, sha256_of

TELLS_EVERY = 0.5
FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 15.0
CHUNK = 1024**2
PARTIAL = ".partial"
TOKEN = "TUNESMITH_HUB_TOKEN"  # noqa: S105 – the setting's name


class Wanted(Struct, frozen=True):
    """Which files of a repository at a commit, and the folder for them; `patience` in seconds."""

    endpoint: str
    token: str | None
    repository: str
    revision: str
    folder: str
    patterns: tuple[str, ...]
    patience: float


class Fetched(Struct, frozen=True, tag="fetched"):
    """So many bytes are here."""

    done: int
    total: int


class Got(Struct, frozen=True, tag="got"):
    """All files are here and are what the hub says they are."""

    files: dict[str, ModelFile]


class Failed(Struct, frozen=True, tag="failed"):
    """It cannot be had: the code of a failed tuning, a sentence."""

    code: str
    message: str
    retryable: bool


Told = Fetched | Got | Failed


class RemoteFile(Struct, frozen=True):
    """A file of the repository; of large ones the hub knows the SHA-256, of small ones git's own digest."""

    name: str
    bytes: int
    sha256: str | None
    git: str | None


def fetch(wanted: Wanted, tell: Callable[[Told], None]) -> Got:
    """Fetch what is not there yet. Raises `ModelError`."""
    folder, files, over = Path(wanted.folder), list[RemoteFile](), Event()

    def keep_telling() -> None:
        while True:  # from the first: whoever hears nothing cannot say that he waits no more
            here, total = _sums(folder, files)
            tell(Fetched(here, total))
            if over.wait(TELLS_EVERY):
                return

    telling = Thread(target=keep_telling, daemon=True)
    telling.start()
    try:
        files.extend(_patiently(wanted, lambda: listed(wanted), lambda: 0))
        _there_is_room(folder, files)
        smallest_first = sorted(files, key=lambda file: file.bytes)
        got = {file.name: _one(wanted, folder, file) for file in smallest_first}
    finally:
        over.set()
        telling.join()
    _, total = _sums(folder, files)
    tell(Fetched(total, total))
    return Got(got)


def _there_is_room(folder: Path, files: list[RemoteFile]) -> None:
    here, total = _sums(folder, files)
    missing, free = total - here, shutil.disk_usage(folder).free
    if missing > free:
        raise ModelError(
            f"{missing >> 20} MiB are to be fetched, but {free >> 20} are free at {folder.parent}; free some "
            "or set TUNESMITH_CACHE_DIR",
            "disk_full",
            retryable=True,
        )


def _sums(folder: Path, files: list[RemoteFile]) -> tuple[int, int]:
    """How many bytes of the files are here, and how many they have."""
    return sum(_arrived(folder, file) for file in files), sum(file.bytes for file in files)


def commit_of(endpoint: str, token: str | None, repository: str, revision: str | None) -> str:
    """The commit that a branch, a tag or an abbreviation stands for now. Raises `ModelError`."""
    wanted = Wanted(endpoint, token, repository, revision or "main", "", (), 0.0)
    return str(_patiently(wanted, lambda: info_of(wanted), lambda: 0).sha)


def parameters_there(wanted: Wanted) -> int:
    """How many numbers the weights of a repository have, by their headers. Raises `ModelError`."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=wanted.endpoint, token=wanted.token or False)
    ask = partial(api.get_safetensors_metadata, wanted.repository, revision=wanted.revision)
    return int(sum(_patiently(wanted, ask, lambda: 0).parameter_count.values()))


def _one(wanted: Wanted, folder: Path, file: RemoteFile) -> ModelFile:
    """A file, fetched unless it is here; what came broken is fetched once more."""
    whole, partial = folder / file.name, folder / f"{file.name}{PARTIAL}"
    if whole.exists() and _is(whole, file):
        return ModelFile(file.bytes, sha256_of(whole))
    whole.unlink(missing_ok=True)
    for _ in range(2):
        _patiently(wanted, lambda: _download(wanted, partial, file), lambda: _size(partial))
        if _is(partial, file):
            partial.replace(whole)
            return ModelFile(file.bytes, sha256_of(whole))
        partial.unlink(missing_ok=True)
    raise ModelError(f"{file.name} came twice with other bytes than the hub says that it has")


def _patiently(wanted: Wanted, work: Callable[[], Any], progress: Callable[[], int]) -> Any:
    """Do it, again and again while only the way to the hub is broken; the patience is that without a byte.

    Raises `ModelError`.
    """
    began, reached, backoff = time.monotonic(), progress(), FIRST_BACKOFF
    while True:
        try:
            return work()
        except Exception as error:
            refused = _refusal(error, wanted)
            if not refused.retryable or refused.code != "hub_unreachable":
                raise refused from error
            if progress() != reached:
                began, reached, backoff = time.monotonic(), progress(), FIRST_BACKOFF
            if time.monotonic() - began + backoff > wanted.patience:
                raise refused from error
            time.sleep(backoff)
            backoff = min(LONGEST_BACKOFF, backoff * 2)


def listed(wanted: Wanted) -> list[RemoteFile]:
    """The files at the commit that match a pattern, none of them in a folder within.

    Raises what the hub's library does.
    """
    found = info_of(wanted)
    if found.sha != wanted.revision:
        raise ModelError(f"the hub has {found.sha} for the commit {wanted.revision}", "model_not_on_hub")
    return [
        RemoteFile(one.rfilename, one.size, one.lfs.sha256 if one.lfs else None, one.blob_id)
        for one in found.siblings or []
        if "/" not in one.rfilename and any(fnmatch(one.rfilename, pattern) for pattern in wanted.patterns)
    ]


def info_of(wanted: Wanted) -> Any:
    """What the hub says of the repository. Raises what its library does."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=wanted.endpoint, token=wanted.token or False)
    return api.model_info(wanted.repository, revision=wanted.revision, files_metadata=True, timeout=30)


def _download(wanted: Wanted, partial: Path, file: RemoteFile) -> None:
    """Append to `partial` what is missing of a file."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils._headers import build_hf_headers

    constants.DOWNLOAD_CHUNK_SIZE = CHUNK  # what has not filled one is lost when the connection breaks off
    url = hf_hub_url(
        wanted.repository, file.name, revision=wanted.revision, endpoint=wanted.endpoint.rstrip("/")
    )
    token = wanted.token or False
    there = get_hf_file_metadata(url, token=token, endpoint=wanted.endpoint)
    # What lies on another host is signed already, and no place for our token.
    elsewhere = urlsplit(there.location).netloc != urlsplit(wanted.endpoint).netloc
    if _size(partial) > file.bytes:
        partial.unlink()
    with partial.open("ab", buffering=0) as out:
        http_get(
            there.location,
            out,
            resume_size=out.tell(),
            headers=build_hf_headers(token=False if elsewhere else token),
            expected_size=file.bytes,
        )
        os.fsync(out.fileno())


def _refusal(error: Exception, wanted: Wanted) -> ModelError:
    """Why the hub does not give it, in our words."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        NotASafetensorsRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name, page = wanted.repository, f"{wanted.endpoint}/{wanted.repository}"
    has = f"{TOKEN} is set, but" if wanted.token else f"{TOKEN} is not set;"
    match error:
        case ModelError():
            return error
        case GatedRepoError():
            do = f"{has} its account must be granted access at {page}"
            return ModelError(f"{name} is gated: {do}", "model_forbidden")
        case RepositoryNotFoundError():  # 401 as well: the hub does not say whether it is private
            do = "check the name in models.toml" + (
                "" if wanted.token else f", or set {TOKEN} if it is private"
            )
            return ModelError(f"there is no {name} at {wanted.endpoint}; {do}", "model_not_on_hub")
        case RevisionNotFoundError():
            return ModelError(f"{name} has no revision {wanted.revision}", "model_not_on_hub")
        case NotASafetensorsRepoError():
            return ModelError(f"{name} has no safetensors; pickles are never read")
        case HfHubHTTPError() if error.response.status_code in (401, 403):
            return ModelError(
                f"the hub refuses {name}: {has} the token must be allowed to read it", "model_forbidden"
            )
        case HfHubHTTPError() if error.response.status_code == 404:
            return ModelError(f"{name} has lost a file at {wanted.revision}", "model_not_on_hub")
        case OSError() if error.errno is not None and not isinstance(error, ConnectionError | TimeoutError):
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            code = "disk_full" if full else "files_unreadable"
            return ModelError(f"it cannot be kept here: {error.strerror}", code, retryable=True)
        case TypeError() | AttributeError() | LookupError() | ValueError():  # ours, or the library's
            return ModelError(f"fetching broke with {type(error).__name__}: {error}", "internal_error")
    told = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return ModelError(f"{wanted.endpoint} cannot be reached: {told}", "hub_unreachable", retryable=True)


def _arrived(folder: Path, file: RemoteFile) -> int:
    return min(file.bytes, _size(folder / file.name) or _size(folder / f"{file.name}{PARTIAL}"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _is(path: Path, file: RemoteFile) -> bool:
    if _size(path) != file.bytes:
        return False
    if file.sha256 is not None:
        return sha256_of(path) == file.sha256
    content = path.read_bytes()
    digest = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    return file.git is None or digest.hexdigest() == file.git


def main() -> int:
    """Fetch what stdin asks for; the end of stdin ends the process."""
    wanted = msgspec.json.decode(sys.stdin.buffer.readline(), type=Wanted)

    def until_the_end() -> None:
        with suppress(OSError):
            sys.stdin.buffer.read()
        os._exit(1)

    Thread(target=until_the_end, daemon=True).start()

    telling = Lock()

    def tell(told: Told) -> None:
        with telling:
            sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
            sys.stdout.buffer.flush()

    try:
        tell(fetch(wanted, tell))
    except ModelError as error:
        tell(Failed(error.code, str(error), error.retryable))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
