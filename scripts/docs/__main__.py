"""Generate `docs/reference/`.

python -m scripts.docs           write it
python -m scripts.docs --check   fail when a page is stale
"""

from __future__ import annotations

import sys
from pathlib import Path

from scripts.docs import cli, errors, hyperparameters, rest, sdk, settings

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
PAGES = {
    "rest.md": rest.text,
    "sdk.md": sdk.text,
    "cli.md": cli.text,
    "hyperparameters.md": hyperparameters.text,
    "errors.md": errors.text,
    "settings.md": settings.text,
}


def main(arguments: list[str]) -> int:
    """Write or check; the exit status."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m scripts.docs [--check]", file=sys.stderr)
        return 2
    wanted = {FOLDER / name: text() for name, text in PAGES.items()}
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text() != text]
    if arguments and stale:
        names = ", ".join(path.name for path in stale)
        print(f"stale in docs/reference: {names}; run `make docs`, and commit what it writes")
        return 1
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path])
    print(
        f"docs/reference: {len(wanted)} pages, {len(stale)} written" if stale else "docs/reference is current"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
