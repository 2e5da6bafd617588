"""Models of the Hugging Face hub, or of a mirror that speaks its protocol: fetched once for the machine.

A process of its own fetches, and can be ended at any moment: the next one goes on where it broke off.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import structlog
from msgspec import Struct

from app.catalogue.catalogue import Entry, Hub
from app.catalogue.fetching import Failed, Fetched, Got, Told, Wanted
from app.catalogue.files import (
    DESCRIPTION,
    MANIFEST,
    WEIGHTS,
    Abandoned,
    Manifest,
    ModelError,
    OnProgress,
    checked_of,
    damaged,
    digest_of,
    last_line,
    locked,
    read_manifest,
    write_manifest,
)
from app.catalogue.shape import check_description, check_weights
from app.settings import Settings

ENDPOINT = "https://huggingface.co"
PROGRAM = (sys.executable, "-m", "app.catalogue.fetching")
EVERYTHING = (*DESCRIPTION, WEIGHTS)

# What the fetching process sees of our environment: proxies and certificates, and no secrets of ours.
PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH", "SSL_CERT_FILE", "SSL_CERT_DIR")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
QUIET = {
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_XET": "1",
    "DO_NOT_TRACK": "1",
}

logger = structlog.get_logger("catalogue")
_told: msgspec.json.Decoder[Told] = msgspec.json.Decoder(Told)


class Access(Struct, frozen=True):
    """Where the hub is, and the token to it if there is one; `patience` in seconds without a byte."""

    endpoint: str = ENDPOINT
    token: str | None = None
    patience: float = 120.0

    def __repr__(self) -> str:
        return f"Access({self.endpoint!r}, {'a token' if self.token else 'no token'})"


def access_of(settings: Settings) -> Access:
    """The hub of an installation."""
    return Access(settings.hub_endpoint.rstrip("/"), settings.hub_token)


def fetched(
    folder: Path,
    entry: Entry,
    source: Hub,
    access: Access,
    on_progress: OnProgress,
    abandoned: Callable[[], bool],
) -> Path:
    """The model's folder, its missing or damaged files fetched. Raises `ModelError`, `Abandoned`."""
    checked = checked_of(folder)
    if _is_whole(folder, checked):
        return folder
    described = described_only(folder, entry, source, access, on_progress, abandoned)
    with _alone(folder, entry, on_progress, abandoned):
        manifest = read_manifest(folder / MANIFEST)
        bad = damaged(folder, manifest.files, checked) if manifest is not None else []
        if manifest is not None and not bad:
            return folder
        part = folder.with_name(f"{folder.name}.part")
        if folder.exists():
            logger.warning("model_damaged", model=entry.id, folder=str(folder), files=bad or [MANIFEST])
            shutil.rmtree(part, ignore_errors=True)
            folder.rename(part)  # what is good in it need not come again
            (part / MANIFEST).unlink(missing_ok=True)
        part.mkdir(exist_ok=True)
        for path in described.iterdir():
            if path.name != MANIFEST:
                shutil.copyfile(path, part / path.name)
        got = _fetch(part, entry, source, access, EVERYTHING, on_progress, abandoned)
        check_weights(part)
        _put(part, folder, entry, got)
    return folder


def described_only(
    folder: Path,
    entry: Entry,
    source: Hub,
    access: Access,
    on_progress: OnProgress,
    abandoned: Callable[[], bool],
) -> Path:
    """A folder with the model's configuration and tokenizer, which is soon fetched.

    Refused if it is not what the entry says. Raises `ModelError`, `Abandoned`.
    """
    described = folder.with_name(f"{folder.name}.description")
    checked = checked_of(described)
    if _is_whole(described, checked):
        return described
    with _alone(described, entry, on_progress, abandoned):
        if _is_whole(described, checked):
            return described
        shutil.rmtree(described, ignore_errors=True)
        part = described.with_name(f"{described.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        got = _fetch(part, entry, source, access, DESCRIPTION, on_progress, abandoned)
        check_description(part, entry)
        _put(part, described, entry, got)
    return described


def bytes_of(count: float) -> str:
    """Bytes as people read them."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _is_whole(folder: Path, checked: Path) -> bool:
    manifest = read_manifest(folder / MANIFEST)
    return manifest is not None and not damaged(folder, manifest.files, checked)


@contextmanager
def _alone(
    folder: Path, entry: Entry, on_progress: OnProgress, abandoned: Callable[[], bool]
) -> Iterator[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    waiting = f"{entry.id}: waiting for another process that fetches it"
    with locked(folder.with_name(f"{folder.name}.lock"), waiting, on_progress, abandoned):
        yield


def _put(part: Path, folder: Path, entry: Entry, got: Got) -> None:
    manifest = Manifest(entry.id, entry.revision, "", digest_of(got.files), got.files)
    write_manifest(part / MANIFEST, manifest)
    part.rename(folder)


def _fetch(
    part: Path,
    entry: Entry,
    source: Hub,
    access: Access,
    patterns: tuple[str, ...],
    on_progress: OnProgress,
    abandoned: Callable[[], bool],
) -> Got:
    """Have a process fetch into `part`; it is ended when nobody waits for it. Raises `ModelError`."""
    wanted = Wanted(
        access.endpoint,
        access.token,
        source.repository,
        source.revision,
        str(part),
        patterns,
        access.patience,
    )
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=_environment()
        ) as process,
    ):
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            with suppress(BrokenPipeError):
                process.stdin.write(msgspec.json.encode(wanted) + b"\n")
                process.stdin.flush()
            for line in process.stdout:
                if abandoned():
                    raise Abandoned
                match _told.decode(line):
                    case Fetched(done=done, total=total) if total:
                        share = f"{bytes_of(done)} of {bytes_of(total)} fetched ({done / total:.0%})"
                        on_progress(f"{entry.id}: {share}")
                    case Failed(message=message, code=code, retryable=retryable):
                        raise ModelError(f"{entry.id}: {message}", code, retryable=retryable)
                    case Got() as got:
                        return got
        except msgspec.DecodeError as error:
            raise ModelError(f"{entry.id}: the fetching process talks nonsense: {error}") from error
        finally:
            process.kill()
        died = f"{entry.id}: the fetching process died: {last_line(errors) or 'without a word'}"
        raise ModelError(died, "hub_unreachable", retryable=True)


def _environment() -> dict[str, str]:
    names = [*PASSED_ON, *PROXIES, *(name.lower() for name in PROXIES)]
    return {name: os.environ[name] for name in names if name in os.environ} | QUIET
