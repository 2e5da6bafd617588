"""The wheel: it installs alone, on every Python it names, and types a consumer's project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from importlib.metadata import distribution
from pathlib import Path

import pytest
from scripted_server import Answer, ScriptedServer
from test_public_surface import NOUNS

from tunesmith import AsyncTuningClient, TuningClient, TuningJob

SDK = Path(__file__).parents[1]
PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]

USE = """
import sys
sys.path[:0] = sys.argv[2:]
import asyncio, tunesmith

with tunesmith.TuningClient("sk-test", sys.argv[1]) as client:
    assert client.models.get("m").id == "m"

async def use():
    async with tunesmith.AsyncTuningClient("sk-test", sys.argv[1]) as client:
        return await client.models.get("m")

if sys.version_info >= (3, 11):  # before, anyio needs a backport that is not installed beside this test
    assert asyncio.run(use()).id == "m"
for name in ("app", "msgspec", "litestar", "aiokafka", "torch", "typer", "rich"):
    assert name not in sys.modules, name
print(tunesmith.__file__)
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=SDK, check=True, capture_output=True, timeout=100)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def dependencies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel asks for, and what that asks for, and nothing else."""
    folder = tmp_path_factory.mktemp("dependencies")
    taken = gathered(folder, "httpx", "typing-extensions")
    assert {"httpx", "httpcore", "anyio", "certifi", "idna", "h11"} <= taken
    return folder


def gathered(folder: Path, *wanted: str) -> set[str]:
    """Link these distributions, and what they ask for, into a folder; their names."""
    taken, waiting = set[str](), list(wanted)
    while waiting:
        found = distribution(waiting.pop())
        if found.name in taken:
            continue
        taken.add(found.name)
        for top in {file.parts[0] for file in found.files or []} - {"..", "__pycache__"}:
            if not (folder / top).exists():
                (folder / top).symlink_to(Path(str(found.locate_file(top))))
        asked = [line for line in found.requires or [] if ";" not in line]
        waiting += [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in asked]
    return taken


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {"tunesmith", "tunesmith-0.1.0.dist-info"}
    packaged = {name for name in names if name.startswith("tunesmith/")}
    there = {str(path.relative_to(SDK)) for path in (SDK / "tunesmith").rglob("*.py")}
    assert packaged == there | {"tunesmith/py.typed"}


def test_the_wheel_asks_for_httpx_alone(wheel: Path) -> None:
    metadata = zipfile.ZipFile(wheel).read("tunesmith-0.1.0.dist-info/METADATA").decode()
    asked = [line.split(": ")[1] for line in metadata.splitlines() if line.startswith("Requires-Dist")]
    unconditional = [line for line in asked if "extra ==" not in line]
    assert [line.split("<")[0] for line in unconditional] == [
        "httpx",
        "typing-extensions>=4.12; python_version ",
    ]


EXTRAS = {
    "cli": (["typer", "rich"], "from tunesmith.cli.app import run; sys.exit(run(['--version']))"),
    "kafka": (["aiokafka"], "from tunesmith.kafka import EventStream; EventStream('a:1', 'tunings')"),
}


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_needs_what_it_names_and_nothing_of_the_server(
    extra: str, wheel: Path, tmp_path: Path
) -> None:
    named, code = EXTRAS[extra]
    metadata = zipfile.ZipFile(wheel).read("tunesmith-0.1.0.dist-info/METADATA").decode()
    asked = re.findall(rf"Requires-Dist: ([\w-]+).*; extra == '{extra}'", metadata)
    assert sorted(asked) == sorted(named)
    zipfile.ZipFile(wheel).extractall(tmp_path / "wheel")
    (tmp_path / "site").mkdir()
    gathered(tmp_path / "site", "httpx", *named)
    none_of_the_server = "assert not {'app', 'msgspec', 'litestar', 'torch'} & set(sys.modules)"
    code = f"import sys; sys.path[:0] = sys.argv[1:]; {none_of_the_server}; {code}"
    command = [sys.executable, "-I", "-S", "-c", code, str(tmp_path / "wheel"), str(tmp_path / "site")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr


def interpreter(version: str) -> Sequence[str] | None:
    """The command of this Python, if there is one here that runs."""
    if sys.version_info[:2] == tuple(int(part) for part in version.split(".")):
        return [sys.executable]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = [shutil.which(f"python{version}"), *pyenv.glob(f"versions/{version}.*/bin/python")]
    for command in (str(command) for command in found if command):
        ran = subprocess.run([command, "-c", ""], capture_output=True, timeout=30, check=False)
        if ran.returncode == 0:  # a shim of a version that is not switched on is no interpreter
            return [command]
    return None


@pytest.mark.parametrize("version", PYTHONS)
def test_the_wheel_works_without_anything_but_its_dependencies(
    version: str, wheel: Path, dependencies: Path, server: ScriptedServer, tmp_path: Path
) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    server.on("GET /v1/models/m", Answer({"id": "m"}))
    zipfile.ZipFile(wheel).extractall(tmp_path)
    compiled = subprocess.run(
        [*python, "-m", "compileall", "-q", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert compiled.returncode == 0, compiled.stdout
    command = [*python, "-I", "-S", "-W", "error", "-c", USE, server.url, str(tmp_path), str(dependencies)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == str(tmp_path / "tunesmith" / "__init__.py")


CONSUMER = Path(__file__).parent / "consumer"
MISTAKES = """
from tunesmith import TuningClient, TuningJob, retry_with_exponential_backoff


@retry_with_exponential_backoff(max_retries=5)
def retried(client: TuningClient, name: str) -> TuningJob:
    return client.tunings.create(name, "file-1", {"rank": 8, "newer": 1})


with TuningClient("sk-1") as client:
    known: TuningJob = retried(client, "m")
    wrong: int = known.status  # one mistake
    retried(client, 7)  # another one
    known.statuss  # no field of it
    client.models.get("m").licence  # nor this
"""
FOUND = {12: "str", 13: "str", 14: "statuss", 15: "licence"}


def test_a_consumers_project_passes_the_strictest_checkers_and_its_mistakes_are_found(
    tmp_path: Path,
) -> None:
    project = tmp_path / "consumer"
    shutil.copytree(CONSUMER, project, ignore=shutil.ignore_patterns("__pycache__"))
    (project / "mistakes.py").write_text(MISTAKES)
    checkers = [
        [sys.executable, "-m", "mypy", "--no-error-summary", "--cache-dir", str(tmp_path / "cache"), "."],
        [str(Path(sys.executable).with_name("basedpyright")), "--pythonpath", sys.executable, "."],
    ]
    for command in checkers:
        ran = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=110, check=False)
        found = re.findall(r"(\w+)\.py:(\d+).*? error: (.*)", ran.stdout)
        assert {(name, int(line)) for name, line, _ in found} == {("mistakes", line) for line in FOUND}, (
            ran.stdout + ran.stderr
        )
        for number, named in FOUND.items():
            assert any(f'"{named}"' in words for _, line, words in found if int(line) == number)


def test_the_consumers_project_uses_everything_there_is() -> None:
    clients = {"synchronous": TuningClient("sk-1"), "asynchronous": AsyncTuningClient("sk-1")}
    for name, client in clients.items():
        text = (CONSUMER / f"{name}.py").read_text()
        for noun in NOUNS:
            methods = {each for each in dir(getattr(client, noun)) if not each.startswith("_")}
            used = set(re.findall(rf"client(?:\.with_options\([^)]*\))?\.{noun}\.(\w+)\(", text))
            assert methods <= used, f"{name}: {noun}"
        own = {each for each in vars(TuningJob) if not each.startswith("_")}
        assert own <= set(re.findall(r"\.(\w+)\(", text)), name
