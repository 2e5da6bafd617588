"""The wheel: it installs alone, on every Python it names, and types a consumer's program."""

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
    folder, taken, wanted = tmp_path_factory.mktemp("dependencies"), set(), ["httpx", "typing-extensions"]
    while wanted:
        found = distribution(wanted.pop())
        if found.name in taken:
            continue
        taken.add(found.name)
        for top in {file.parts[0] for file in found.files or []} - {"..", "__pycache__"}:
            (folder / top).symlink_to(Path(str(found.locate_file(top))))
        asked = [line for line in found.requires or [] if ";" not in line]
        wanted += [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in asked]
    assert {"httpx", "httpcore", "anyio", "certifi", "idna", "h11"} <= taken
    return folder


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


CONSUMER = """
from collections.abc import Sequence

from tunesmith import AsyncTuningClient, File, Page, StepMetric, TuningClient, TuningJob, TuningMetrics
from tunesmith import retry_with_exponential_backoff


def tune(client: TuningClient) -> str | None:
    file: File = client.files.upload("train.jsonl")
    job: TuningJob = client.tunings.create("m", file.id, {"rank": 8, "learning_rate": 1e-4})
    page: Page[TuningJob] = client.tunings.list(status="running")
    following: Page[TuningJob] | None = page.next_page()
    metrics: TuningMetrics | None = job.wait_for_completion(timeout=5).metrics
    loss: float | None = metrics.train_loss if metrics else None
    for update in client.tunings.watch(job.id):
        steps: Sequence[StepMetric] = update.steps
    return job.refresh().fine_tuned_model


@retry_with_exponential_backoff(max_retries=5)
def retried(client: TuningClient, name: str) -> TuningJob:
    return client.tunings.create(name, "file-1", {"rank": 8, "newer": 1})


async def tune_async() -> list[str]:
    async with AsyncTuningClient() as client:
        job = await client.tunings.create_and_wait("m", "file-1")
        await job.download_adapter("adapter")
        return [job.id async for job in client.tunings.iter()]


with TuningClient("sk-1") as client:
    known: TuningJob = retried(client, "m")
    wrong: int = known.status  # the one mistake
    retried(client, 7)  # the other one
"""


def test_a_consumers_program_is_typed_strictly_and_its_mistakes_are_found(tmp_path: Path) -> None:
    (tmp_path / "consumer.py").write_text(CONSUMER)
    (tmp_path / "mypy.ini").write_text("[mypy]\nstrict = true\n")
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--no-error-summary",
        "--cache-dir",
        str(tmp_path),
        "consumer.py",
    ]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False)
    mistakes = ran.stdout.splitlines()
    assert len(mistakes) == 2, ran.stdout + ran.stderr
    assert 'has type "str", variable has type "int"' in mistakes[0]
    assert 'incompatible type "int"; expected "str"' in mistakes[1]
