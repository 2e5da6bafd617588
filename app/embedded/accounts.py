"""Whom PostgreSQL runs as when we are root, as in a container or on a build machine."""

from __future__ import annotations

import pwd
import stat
import subprocess
from pathlib import Path

from app.embedded.children import Account
from app.embedded.errors import StartError

NAMES = ("postgres", "tunesmith")


def unprivileged(owner_of: Path) -> Account:
    """The owner of what is there already, else a user kept for this, made if need be. Raises `StartError`."""
    if owner_of.exists() and (owner := owner_of.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    for name in NAMES:
        if found := _account(name):
            return found
    made = ("useradd", "--system", "--no-create-home", "--shell", "/bin/false", NAMES[-1])
    try:
        subprocess.run(made, check=True, capture_output=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        raise StartError(
            f"PostgreSQL does not run as root, and no user could be made for it ({error}); run as another "
            "user, or make a system user named `tunesmith`"
        ) from error
    if found := _account(NAMES[-1]):
        return found
    raise StartError("PostgreSQL does not run as root; run as another user")


def _account(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(entry.pw_uid, entry.pw_gid)


def may_reach(path: Path) -> None:
    """Let everybody pass through the folders above `path`: pass through, not read."""
    for folder in path.resolve().parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)
