"""Where the files of `infra/kafka/` are: in the checkout, or inside the installed wheel."""

from __future__ import annotations

from pathlib import Path


def infra_kafka(name: str) -> Path:
    """Path of one of these files. Raises `FileNotFoundError`."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_infra" / "kafka", package.parent / "infra" / "kafka"):
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"infra/kafka/{name} is missing from this installation; install it again")
