"""The fenced blocks of a page, and what the page says about them."""

from __future__ import annotations

import re
from pathlib import Path

from msgspec import Struct

ROOT = Path(__file__).parents[3]
PAGES = (
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "guide").glob("*.md")),
    ROOT / "README.md",
    ROOT / "sdk" / "README.md",
)
RUN = ("python", "console")
FENCE = re.compile(r"^```(\w*)$")
MARK = re.compile(r"^<!-- (not run|tested|file|until): (.+) -->$")
EXIT_CODE = re.compile(r"#.*\bexit code (\d+)")


class Block(Struct, frozen=True):
    """A fenced block: its language, its text from this 1-based line on, and the remark in front of it.

    `mark` is `not run` with a reason, `tested` with the test that does it, `file` with the name of the file
    that it is, `until` with what it shows before it is broken off, or none: then it is run.
    """

    page: Path
    line: int
    language: str
    text: str
    mark: str = ""
    told: str = ""

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def is_run(self) -> bool:
        return self.language in RUN and self.mark in ("", "until")


class Command(Struct, frozen=True):
    """A line that a console block has typed: what, and which exit code it says there to be."""

    line: int
    text: str
    exit_code: int


def blocks_of(page: Path) -> list[Block]:
    """Every fenced block, in order."""
    found: list[Block] = []
    lines = page.read_text().splitlines()
    opened: tuple[int, str] | None = None
    for number, line in enumerate(lines, 1):
        fence = FENCE.match(line)
        if fence and opened is None:
            opened = number + 1, fence[1]
        elif fence and opened is not None:
            start, language = opened
            before = next((each for each in reversed(lines[: start - 2]) if each), "")
            mark = MARK.match(before)
            text = "\n".join(lines[start - 1 : number - 1]) + "\n"
            found.append(Block(page, start, language, text, *(mark.groups() if mark else ())))
            opened = None
    assert opened is None, f"{page}: a block is not closed"
    return found


def commands_of(block: Block) -> list[Command]:
    """What a console block has typed; the other lines are what came back."""
    commands: list[Command] = []
    lines = enumerate(block.text.splitlines(), block.line)
    for number, line in lines:
        if not line.startswith("$ "):
            continue
        text = line.removeprefix("$ ")
        while text.endswith("\\"):
            text = text.removesuffix("\\") + next(lines)[1].strip()
        told = EXIT_CODE.search(text)
        commands.append(Command(number, text, int(told[1]) if told else 0))
    return commands
