"""`make install` says in a sentence what it lacks."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NO_VENV = """#!/bin/sh
case "$2" in
    *ensurepip*) exit 1 ;;
    *) exec {python} "$@" ;;
esac
"""
NO_PIP = """#!/bin/sh
case "$2" in
    pip) exit 1 ;;
    *) exec {python} "$@" ;;
esac
"""
MADE_FROM = (
    "requirements/dev.txt",
    "requirements/uv.txt",
    "pyproject.toml",
    "sdk/pyproject.toml",
    "scripts/install.sh",
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    for name in ("Makefile", "pyproject.toml", "sdk/pyproject.toml", "scripts/install.sh"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    shutil.copytree(ROOT / "requirements", root / "requirements")
    return root


def install(checkout: Path, path: str = "/usr/bin:/bin", **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/usr/bin/make", "--no-print-directory", "install"],
        cwd=checkout,
        env={"PATH": path} | env,
        capture_output=True,
        text=True,
        timeout=60,
    )


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_a_python_that_is_none_is_named(checkout: Path) -> None:
    done = install(checkout, PYTHON="/no/such/python")
    assert done.returncode != 0
    assert "PYTHON=/no/such/python is no Python between 3.11 and 3.14; name another one" in done.stderr


def test_without_any_python_it_says_which_to_install(checkout: Path, tmp_path: Path) -> None:
    for name in ("sh", "dirname", "cat", "cksum", "make"):
        found = shutil.which(name)
        assert found
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).symlink_to(found)
    done = install(checkout, path=str(tmp_path / "bin"))
    assert done.returncode != 0
    assert "no Python between 3.11 and 3.14 is on the PATH" in done.stderr
    assert not (checkout / ".venv").exists()


def test_a_python_without_venv_is_told_by_the_package_to_install(checkout: Path, tmp_path: Path) -> None:
    bare = program(tmp_path / "bin" / "python3", NO_VENV.format(python=sys.executable))
    done = install(checkout, PYTHON=str(bare))
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert done.returncode != 0
    assert f"Python {version} is here but without venv: install it" in done.stderr
    assert f"apt install python{version}-venv" in done.stderr


def test_what_is_in_place_is_not_installed_again_until_a_lock_changes(checkout: Path) -> None:
    program(checkout / ".venv" / "bin" / "python", NO_PIP.format(python=sys.executable))
    stamp = checkout / ".venv" / "installed-dev"
    made_from = subprocess.run(
        f"cat {' '.join(MADE_FROM)} | cksum; pwd",
        shell=True,
        cwd=checkout,
        capture_output=True,
        text=True,
        check=True,
    )
    stamp.write_text(made_from.stdout)
    done = install(checkout)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with (checkout / "requirements" / "dev.txt").open("a") as lock:
        lock.write("# changed\n")
    done = install(checkout)
    assert done.returncode != 0
    assert "install: installing uv" in done.stdout
    assert "uv could not be installed; the lines above say why" in done.stderr
    assert not stamp.exists()
