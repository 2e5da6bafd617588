"""The command `tunesmith`; it needs the extra `tunesmith[cli]`."""

import sys


def main() -> int:
    """Run the command line and return its exit code."""
    try:
        from tunesmith.cli.app import run
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "rich"}:
            raise
        print("tunesmith: the command line is not installed: pip install 'tunesmith[cli]'", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return run(sys.argv[1:])
