#!/bin/sh
# Set up build/bench-venv from requirements/bench.txt: the stack that the benchmarks compare with, apart from ours.
set -eu

cd "$(dirname "$0")/.."
venv=${TUNESMITH_BENCH_VENV:-build/bench-venv}
wanted=$(cksum <requirements/bench.txt)
[ "$(cat "$venv/installed" 2>/dev/null)" = "$wanted" ] && exit 0

printf '%s\n' "install: setting up $venv"
.venv/bin/python -m venv --clear "$venv"
.venv/bin/uv pip install --python "$venv/bin/python" --quiet --no-deps --require-hashes -r requirements/bench.txt
printf '%s\n' "$wanted" >"$venv/installed"
