"""Every link of the docs leads to a page that is there, and to a heading of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.docs.markdown import anchor

ROOT = Path(__file__).parents[3]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "sdk" / "README.md"]
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)]+))?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, heading in set(LINK.findall(page.read_text())):
        path = page.parent / target if target else page
        assert path.exists(), f"{page.name} links to {target}"
        if heading:
            there = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
            assert heading in {anchor(each) for each in there}, f"{page.name} links to {target}#{heading}"
