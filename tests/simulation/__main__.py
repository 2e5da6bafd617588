"""Run seeds alone: `python -m tests.simulation SEED [--trace]`, or `--first N --count M`."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.run import Wrong, run


def main() -> int:
    """Run, and tell; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", type=int, nargs="?")
    parser.add_argument("--trace", action="store_true", help="print every step")
    parser.add_argument("--partitions", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=100)
    given = parser.parse_args()
    seeds = [given.seed] if given.seed is not None else range(given.first, given.first + given.count)
    began = time.perf_counter()
    for seed in seeds:
        try:
            trace = run(seed, given.partitions).trace
        except Wrong as wrong:
            print("\n".join(wrong.trace if given.trace else wrong.trace[-20:]))
            print(f"wrong: {wrong}\nagain: python -m tests.simulation {seed} --trace")
            return 1
        if given.trace:
            print("\n".join(trace))
    print(f"{len(seeds)} seeds hold, in {time.perf_counter() - began:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
