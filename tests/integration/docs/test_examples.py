"""Every example of the docs is run as it is written, against the service; what cannot be says why."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from openai import OpenAI
from structlog.testing import capture_logs
from tunesmith import TuningClient
from tunesmith._async._transport import AsyncTransport
from tunesmith._sync._transport import Transport
from tunesmith.cli import watching
from tunesmith.cli.app import app as user_app
from tunesmith.cli.app import run
from tunesmith.cli.progress import show_progress

from app.cli.program import app as operator_app
from tests.integration.api.service import Running, memory_log, open_account, running
from tests.integration.api.test_webhooks import QUICK
from tests.integration.docs.blocks import PAGES, ROOT, Block, blocks_of, commands_of
from tests.integration.docs.trainer import Trainer

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
COMMANDS: dict[str, Any] = {
    "tunesmith": typer.main.get_command(user_app),
    "tunesmith-server": typer.main.get_command(operator_app),
}
SOON = 0.1
# What these pages tune goes on until they pause it.
PATIENT = ("docs/guide/run.md", "docs/guide/openai.md")


async def test_every_example_runs(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, folder = tmp_path / "data", tmp_path / "work"
    folder.mkdir()
    (folder / "examples").symlink_to(ROOT / "examples")
    for name in ("train.jsonl", "validation.jsonl"):
        shutil.copy(ROOT / "examples" / "order_mails" / name, folder)
    monkeypatch.chdir(folder)
    if shutil.which("curl") is None:
        monkeypatch.setenv("PATH", f"{stand_in(tmp_path)}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("COLUMNS", "120")
    impatient(monkeypatch)
    broken: list[str] = []
    async with running(memory_log(), database, data, sending=QUICK) as service:
        trainer = Trainer(service)
        training = asyncio.create_task(trainer.work())
        try:
            for page in PAGES:
                blocks = [block for block in BLOCKS if block.page == page]
                if any(block.is_run for block in blocks):
                    key = await open_account(service, "read", "write", "admin")
                    trainer.patient = str(page.relative_to(ROOT)) in PATIENT
                    environment(monkeypatch, service, key)
                    with (
                        capture_logs()
                    ):  # the service is in this process, and its logs are no example's output
                        broken += await asyncio.to_thread(page_run, blocks)
        finally:
            training.cancel()
            await asyncio.wait([training])
    assert not broken, "\n\n".join(broken)


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits looks again soon, not after the SDK's own seconds; commands are put together once."""
    asleep, asleep_too = time.sleep, asyncio.sleep
    brief: dict[Any, Callable[[float], Any]] = {
        Transport: lambda seconds: asleep(min(seconds, SOON)),
        AsyncTransport: lambda seconds: asleep_too(min(seconds, SOON)),
    }
    for kind, sleep in brief.items():
        monkeypatch.setitem(kind.__init__.__kwdefaults__, "sleep", sleep)
    monkeypatch.setattr(typer.main, "get_command", {user_app: COMMANDS["tunesmith"]}.__getitem__)
    monkeypatch.setattr(watching, "POLL_INTERVAL", SOON)
    monkeypatch.setitem(show_progress.__kwdefaults__, "poll_interval", SOON)  # type: ignore[arg-type]


def environment(monkeypatch: pytest.MonkeyPatch, service: Running, key: str) -> None:
    """What a user has set."""
    for product, url in (("TUNESMITH", service.url), ("OPENAI", f"{service.url}/v1")):
        monkeypatch.setenv(f"{product}_API_KEY", key)
        monkeypatch.setenv(f"{product}_BASE_URL", url)


def page_run(blocks: list[Block]) -> list[str]:
    """Run a page's blocks in order, its Python in one namespace; what broke, if something did."""
    namespace: dict[str, Any] = {"__name__": "example"}
    variables: dict[str, str] = {}
    try:
        for block in blocks:
            if block.mark == "file":
                Path(block.told).write_text(block.text)
            elif block.is_run:
                with printed() as shown:
                    try:
                        if block.language == "python":
                            in_python(block, namespace)
                            if (job := namespace.get("job")) is not None:  # as its reader would
                                variables["JOB"] = job.id
                        else:
                            in_console(block, variables)
                    except Exception:  # noqa: BLE001 – all that can break, of all pages, is told at once
                        return [f"{block.where}\n{traceback.format_exc()}\n{shown.getvalue()}"]
    finally:
        for value in namespace.values():
            if isinstance(value, (TuningClient, OpenAI)):
                value.close()
    return []


@contextlib.contextmanager
def printed() -> Iterator[io.StringIO]:
    """What is printed meanwhile."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
        yield shown


def in_python(block: Block, namespace: dict[str, Any]) -> None:
    """Run Python; a traceback has the page's own lines."""
    code = compile("\n" * (block.line - 1) + block.text, str(block.page), "exec")
    exec(code, namespace)


def in_console(block: Block, variables: dict[str, str]) -> None:
    """Type each line: `tunesmith` is called here, anything else is left to a shell."""
    for command in commands_of(block):
        name, _, inner = command.text.partition("=$(")
        called = inner.rstrip(")") if name.isidentifier() and inner else command.text
        if called.startswith("tunesmith "):
            code, out = tunesmith(called, variables)
        elif block.mark == "until":
            code, out = 0, shown_until(block.told, called, os.environ | variables)
        else:
            shell = subprocess.run(
                ["bash", "-c", called], env=os.environ | variables, capture_output=True, text=True
            )
            code, out = shell.returncode, shell.stdout
        assert code == command.exit_code, (
            f"{block.page.name}:{command.line}: {command.text}: exit code {code}"
        )
        if called != command.text:
            variables[name] = out.strip()


def shown_until(awaited: str, command: str, environment: dict[str, str]) -> str:
    """What a command shows up to the line that is awaited; then it is broken off, as its user would."""
    with subprocess.Popen(
        ["bash", "-c", f"exec {command}"], env=environment, stdout=subprocess.PIPE, text=True
    ) as shell:
        assert shell.stdout is not None
        shown = ""
        late = threading.Timer(60, shell.kill)
        late.start()
        try:
            for line in shell.stdout:
                shown += line
                if line.startswith(awaited):
                    return shown
        finally:
            late.cancel()
            shell.kill()
    raise AssertionError(f"{command} never showed {awaited!r}: {shown}")


def stand_in(folder: Path) -> Path:
    """A folder with a `curl`, for a machine that has none."""
    made = folder / "bin" / "curl"
    made.parent.mkdir()
    call = f'PYTHONPATH={ROOT} exec {sys.executable} -m tests.integration.docs.curl "$@"'
    made.write_text(f"#!/bin/sh\n{call}\n")
    made.chmod(0o755)
    return made.parent


def tunesmith(line: str, variables: dict[str, str]) -> tuple[int, str]:
    """Call the command line; its exit code and what it printed to stdout."""
    for name, value in variables.items():
        line = line.replace(f"${name}", value)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = run(shlex.split(line, comments=True)[1:])
    return code, out.getvalue()


def test_every_block_that_is_not_run_says_why() -> None:
    for block in BLOCKS:
        if block.language in ("python", "console"):
            assert block.is_run or block.mark == "file" or "tests/" in block.told, block.where
        for named in re.findall(r"tests/[\w./]*\w", block.told):
            assert (ROOT / named).exists(), f"{block.where}: there is no {named}"


def test_what_a_block_says_is_done_elsewhere_is_done_there() -> None:
    undone = [
        f"{block.where}: {' '.join(words)} is not in {', '.join(map(str, named_in(block.told)))}"
        for block in BLOCKS
        if block.mark in ("not run", "tested")
        for command in (commands_of(block) if block.language == "console" else ())
        for words in called_in(command.text)
        if not any(is_in(path.read_text(), words) for path in named_in(block.told))
    ]
    assert not undone, "\n".join(undone)


def named_in(told: str) -> list[Path]:
    """The files of tests that a remark names, those of a folder among them."""
    named = [ROOT / name for name in re.findall(r"tests/[\w./]*\w", told)]
    return [path for each in named for path in ([each] if each.is_file() else sorted(each.rglob("*.py")))]


def called_in(line: str) -> Iterator[list[str]]:
    """What a line calls: the words of a command down to its first option or value, a script, a make's aim."""
    words = shlex.split(line, comments=True)
    match [word.removeprefix(".venv/bin/") for word in words]:
        case ["tunesmith" | "tunesmith-server" as name, *rest]:
            command = COMMANDS[name]
            path = []
            for word in rest:
                if (command := getattr(command, "commands", {}).get(word)) is None:
                    break
                path.append(word)
            yield path
        case ["python", script, *_]:
            yield [Path(script).name]
        case ["make", aim, *_]:
            assert f"\n{aim}:" in (ROOT / "Makefile").read_text(), line
        case ["export" | "curl", *_]:
            return
        case other:
            yield other


def is_in(source: str, words: list[str]) -> bool:
    """Whether these words follow each other, in a call or in a line."""
    return re.search(r"\b" + r"[\"', ]+".join(map(re.escape, words)) + r"\b", source) is not None


def test_every_command_line_that_the_docs_have_is_one_that_there_is() -> None:
    seen = 0
    for block in BLOCKS:
        for command in commands_of(block) if block.language == "console" else ():
            seen += followed(command.text, f"{block.page.name}:{command.line}")
    for path, group in COMMANDS.items():
        for name, command in inner_commands(path, group):
            examples = re.findall(rf"`({name} .*?|{name})`", command.help)
            assert examples, f"{name} has no example"
            seen += sum(followed(example, name) for example in examples)
    assert seen > 100


def inner_commands(path: str, group: Any) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from inner_commands(f"{path} {name}", command)
        else:
            yield f"{path} {name}", command


def followed(line: str, where: str) -> int:
    """Follow the words of a line down to a command, and find each option there; how many it calls."""
    words = shlex.split(line.replace("$(", " ").replace(")", " "), comments=True)
    calls = [place for place, word in enumerate(words) if word.removeprefix(".venv/bin/") in COMMANDS]
    for place in calls:
        command = COMMANDS[words[place].removeprefix(".venv/bin/")]
        options = {"--help", "-h"}
        for word in words[place + 1 :]:
            options |= {name for each in command.params for name in [*each.opts, *each.secondary_opts]}
            if word.startswith("-"):
                assert word.partition("=")[0] in options, f"{where}: there is no option {word}"
            elif hasattr(command, "commands"):
                assert word in command.commands, f"{where}: there is no command {word}"
                command = command.commands[word]
    return len(calls)
