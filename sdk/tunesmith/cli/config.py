"""The login of this user: the service's address and key, kept in the user's config folder with mode 600."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import typer


@dataclass(frozen=True)
class Login:
    """Where the service is and with which key; None where nothing is stored."""

    base_url: str | None = None
    api_key: str | None = None


def login_path() -> Path:
    """Where the login is stored."""
    return Path(typer.get_app_dir("tunesmith")) / "login.json"


def read_login(path: Path) -> Login:
    """The stored login; an empty one when there is none. Raises ValueError when the file is broken."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Login()
    except ValueError as error:
        raise ValueError(f"{path} is broken ({error}); run `tunesmith login` again") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{path} is broken; run `tunesmith login` again")
    return Login(fields.get("base_url"), fields.get("api_key"))


def write_login(path: Path, login: Login) -> None:
    """Store a login so that only this user can read it, in one step. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # mkstemp makes the file with mode 600: at no moment can others read the key.
    descriptor, temporary = tempfile.mkstemp(prefix=".login-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"base_url": login.base_url, "api_key": login.api_key}, file, indent=2)
            file.write("\n")
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
