"""A packaged model's local folder: converted once into the cache, by a process of its own."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from app.catalogue.catalogue import Entry

LEAST_FREE_BYTES = 2 * 1024**3


class ModelError(Exception):
    """A model's files cannot be had; the sentence says why and what to do."""


def model_folder(cache: Path, entry: Entry) -> Path:
    """Where a model's files lie once they are there."""
    return cache / "models" / entry.id / entry.revision


def ensure_model(cache: Path, entry: Entry, on_progress: Callable[[str], None] = lambda _: None) -> Path:
    """The model's folder, made if it is not there yet. Blocks. Raises `ModelError`.

    Two processes that ask at once convert once: the second waits for the first.
    """
    folder = model_folder(cache, entry)
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{entry.revision}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            return folder
        if shutil.disk_usage(cache).free < LEAST_FREE_BYTES:
            raise ModelError(f"less than 2 GiB are free at {cache}; free some or set TUNESMITH_CACHE_DIR")
        on_progress(f"converting {entry.id} (once, about 40 s)")
        part = folder.with_name(f"{entry.revision}.part")
        shutil.rmtree(part, ignore_errors=True)
        done = subprocess.run(
            [sys.executable, "-m", "app.trainer_worker.training.convert", str(_weights(entry)), str(part)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise ModelError(f"{entry.id} could not be converted: {done.stderr.strip().splitlines()[-1:]}")
        part.rename(folder)
    return folder


def _weights(entry: Entry) -> Path:
    found = find_spec(entry.package)
    if found is None or found.origin is None:
        raise ModelError(f"the package {entry.package} is not installed, which carries {entry.id}")
    return Path(found.origin).parent / entry.file
