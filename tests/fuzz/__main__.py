"""`python -m tests.fuzz [--examples 100] [--seed N]`: fuzz a service of its own, and tell what came of it."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from app import logs
from app.embedded.postgres import embedded_postgres
from tests.fuzz.company import fuzzed_service
from tests.fuzz.fuzzing import Fuzzed, fuzz

LEAST_CASES = 2_000


async def fuzzed(*options: str) -> Fuzzed:
    """Fuzz a service over the log in memory and the real PostgreSQL."""
    with tempfile.TemporaryDirectory(prefix="tunesmith-fuzz-") as folder:
        async with (
            embedded_postgres(Path(folder) / "postgres") as dsn,
            fuzzed_service(dsn, Path(folder)) as service,
        ):
            return await fuzz(service, *options, on_line=lambda line: print(line, end="", flush=True))


def main() -> int:
    """The exit status: 0 only after enough cases without a fault."""
    parser = argparse.ArgumentParser(description="Try out the whole OpenAPI document.")
    parser.add_argument("--examples", type=int, default=100, help="of each operation at most")
    parser.add_argument("--seed", type=int, default=random.getrandbits(32), help="as an earlier run told it")
    given = parser.parse_args()
    logs.configure("error")
    found = asyncio.run(fuzzed("--max-examples", str(given.examples), "--seed", str(given.seed)))
    for operation, answers in sorted(found.answers.items()):
        told = ", ".join(f"{number} × {status}" for status, number in sorted(answers.items()))
        print(f"{operation:<28}{told}")
    print(f"{found.cases} cases, seed {given.seed}")
    return 0 if found.passed and found.cases >= LEAST_CASES else 1


if __name__ == "__main__":
    sys.exit(main())
